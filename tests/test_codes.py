"""The key ring and the codes it signs, against an independent reading (tests/qr_vectors.py) and against attacks."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import codes
from gateway.codes import (
    REASONS,
    BadCode,
    CardCode,
    VenueCode,
    Verifier,
    card_text,
    next_step_ms,
    sign_card,
    sign_rotating,
    sign_static,
    token_in,
    venue_text,
    verify,
)
from gateway.keyring import Keyring, KeyringError, RingKey, key_id
from lacak.main import cli
from tests import qr_vectors
from tests.qr_vectors import GRACE_SECONDS, JWKS, NOW_MS, PERSON, SECRETS, VENUE, b64, read

VECTORS = json.loads(qr_vectors.FILE.read_text("utf-8"))
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\x7f"), min_size=1, max_size=200)


def fixed_ring(folder: Path) -> Keyring:
    """The ring of the vectors: the first key signs, the second verifies."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, made_ms in (("verifies", 1), ("signs", 2)):
        x, d = qr_vectors.jwk(qr_vectors.KEYS[name])["x"], b64(bytes.fromhex(SECRETS[name]))
        key = RingKey(kid=key_id(x), x=x, d=d if name == "signs" else None, made_ms=made_ms)
        file = folder / f"{key.kid}.json"
        file.touch(0o600)
        file.write_bytes(msgspec.json.encode(key))
    return Keyring.load(folder)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return fixed_ring(tmp_path_factory.mktemp("ring"))


def test_the_key_id_is_the_thumbprint_of_the_standard() -> None:
    """RFC 8037, appendix A.3, gives a key with its thumbprint."""
    thumbprint = qr_vectors.unb64("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
    assert key_id("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") == thumbprint.hex()[:8]


def test_the_vectors_are_those_that_are_made() -> None:
    """The published file is what the fixed keys give: Ed25519 is deterministic."""
    assert json.loads(json.dumps(qr_vectors.made())) == VECTORS


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: str(vector["about"]))
def test_vectors(vector: dict[str, Any]) -> None:
    """Each vector is accepted or refused by the gateway and by the independent reading alike, for the stated reason."""
    text, now_ms = vector["token"], vector["now_ms"]
    if "says" in vector:
        assert read(JWKS, text, now_ms) == vector["says"]
        code, said = verify(JWKS, text, now_ms, GRACE_SECONDS), vector["says"]
        if isinstance(code, CardCode):
            assert (code.person, code.serial, code.until_ms) == (said["sub"], said["jti"], said["exp"] * 1000)
        else:
            end = said.get("exp")
            until = None if end is None else (end + GRACE_SECONDS) * 1000
            assert code == VenueCode(said["sub"], said["t"] == "r", code.kid, until)
        return
    with pytest.raises(ValueError):
        read(JWKS, text, now_ms)
    with pytest.raises(BadCode) as refused:
        verify(JWKS, text, now_ms, GRACE_SECONDS)
    assert refused.value.reason == vector["refused"]


def test_the_ring_signs_what_the_vectors_say(ring: Keyring) -> None:
    """Byte for byte: the three kinds of code."""
    told = {vector["about"]: vector["token"] for vector in VECTORS["vectors"]}
    assert sign_static(ring, VENUE) == told["a venue's static code"]
    assert sign_rotating(ring, VENUE, NOW_MS, 180) == told["a rotating code in its step"]
    assert sign_card(ring, PERSON, "k3v9q2m4", NOW_MS, 365) == told["a person's card"]


def test_another_library_reads_our_codes(ring: Keyring) -> None:
    """PyJWT, with the key set as any JWT library takes it, checks signature and times by itself."""
    keys = jwt.PyJWKSet.from_dict(ring.jwks())
    for text in (sign_static(ring, VENUE), sign_card(ring, PERSON, "k", 4_000_000_000_000)):
        key = keys[jwt.get_unverified_header(text)["kid"]]
        assert jwt.decode(text, key, ["EdDSA"]) == read(JWKS, text, NOW_MS)
    with pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(sign_rotating(ring, VENUE, NOW_MS), keys[ring.signer.kid], ["EdDSA"])


@given(st.data())
def test_no_other_text_than_a_signed_one_is_accepted(data: st.DataObject) -> None:
    """Change, drop or add any one character of a good token: it is refused, by the gateway and by the reading."""
    good = [vector["token"] for vector in VECTORS["vectors"] if "says" in vector]
    text = data.draw(st.sampled_from(good))
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\x00é"))
    how = data.draw(st.sampled_from(("change", "drop", "add", "append")))
    changed = {
        "change": text[:place] + letter + text[place + 1 :],
        "drop": text[:place] + text[place + 1 :],
        "add": text[:place] + letter + text[place:],
        "append": text + letter,
    }[how]
    if changed in good:
        return
    with pytest.raises(BadCode):
        verify(JWKS, changed, NOW_MS)


@given(st.text(max_size=300) | st.binary(max_size=300).map(b64))
def test_whatever_a_camera_reads_is_refused_in_a_sentence(text: str) -> None:
    """No text makes anything but a BadCode, and each reason has its sentence in both languages."""
    for candidate in (text, f"{text}.{text}.{text}", f"LACAK:{text}", f"https://x.id/v/{text}", f"https://[{text}"):
        with pytest.raises(BadCode) as refused:
            Verifier(JWKS).verify(token_in(candidate), NOW_MS)
        assert refused.value.sentence("en") != refused.value.sentence("id")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, NAMES, st.integers(0, 4_000_000_000_000), st.integers(1, 3600), st.integers(-(10**7), 10**7))
def test_a_code_says_what_was_signed(
    ring: Keyring, name: str, serial: str, at_ms: int, step: int, later_ms: int
) -> None:
    """Whatever the venue's or person's name, and however the steps are set: a code verifies to what was signed, in its
    step and a grace around it and never beyond; the reading agrees at every moment."""
    assert Verifier(JWKS).venue(sign_static(ring, name), at_ms) == VenueCode(name, False, ring.signer.kid)
    card = Verifier(JWKS).card(sign_card(ring, name, serial, at_ms, 1), at_ms)
    assert (card.person, card.serial) == (name, serial)
    token, now_ms = sign_rotating(ring, name, at_ms, step), at_ms + later_ms
    assert sign_rotating(ring, name, next_step_ms(at_ms, step) - 1, step) == token
    assert sign_rotating(ring, name, next_step_ms(at_ms, step), step) != token
    begin_ms = at_ms // 1000 // step * step * 1000
    fits = begin_ms - 60_000 <= now_ms < begin_ms + step * 1000 + 60_000
    if fits:
        assert Verifier(JWKS, 60).venue(token, now_ms).venue == read(JWKS, token, now_ms)["sub"] == name
        return
    with pytest.raises(BadCode) as refused:
        Verifier(JWKS, 60).venue(token, now_ms)
    assert refused.value.reason == ("early" if later_ms < 0 else "old")
    with pytest.raises(ValueError):
        read(JWKS, token, now_ms)


def test_a_kind_never_passes_for_another(ring: Keyring) -> None:
    """A card is no venue and a venue is no card, even where the names are the same."""
    verifier = Verifier(ring.jwks())
    card = sign_card(ring, "same", "1", NOW_MS)
    for venue in (sign_static(ring, "same"), sign_rotating(ring, "same", NOW_MS)):
        assert verifier.venue(venue, NOW_MS).venue == "same"
        with pytest.raises(BadCode, match="another kind"):
            verifier.card(venue, NOW_MS)
    assert verifier.card(card, NOW_MS).person == "same"
    with pytest.raises(BadCode, match="another kind"):
        verifier.venue(card, NOW_MS)


def test_what_is_remembered_still_grows_old(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code verified before is judged by the time anew, and what is remembered is bounded."""
    monkeypatch.setattr(codes, "_REMEMBERED", 3)
    verifier, token = Verifier(ring.jwks()), sign_rotating(ring, VENUE, NOW_MS)
    assert verifier.venue(token, NOW_MS) == verifier.venue(token, NOW_MS)
    with pytest.raises(BadCode, match="changed since"):
        verifier.venue(token, NOW_MS + 600_000)
    for number in range(10):
        verifier.venue(sign_static(ring, f"v{number}"), NOW_MS)
    assert len(verifier._known) == 3


def test_what_a_scanner_reads(ring: Keyring) -> None:
    """An address of a venue's page, a card, or a token; an address that leads elsewhere is none."""
    token = sign_static(ring, VENUE)
    for text in (venue_text("https://x.id", token), venue_text("http://x.id:8080/lacak/", token), card_text(token)):
        assert token_in(f" {text}\n") == token
    assert token_in(venue_text("https://x.id", token) + "?from=poster#top") == token
    for text in (f"https://x.id/w/{token}", f"https://x.id/{token}", "https://x.id/v/", "x" * 9000, f"lacak:{token}"):
        with pytest.raises(BadCode):
            token_in(text)


def test_rotation_and_retirement(tmp_path: Path) -> None:
    """After a rotation the new key signs and the old one verifies, without its private half; retired, it does not."""
    ring = Keyring.make(tmp_path / "ring", 1000)
    first, old = ring.signer.kid, sign_static(ring, VENUE)
    rotated = ring.rotate(2000)
    new = sign_static(rotated, VENUE)
    assert rotated.signer.kid != first and old != new
    verifier = Verifier(rotated.jwks())
    assert verifier.venue(old, 0).kid == first and verifier.venue(new, 0).kid == rotated.signer.kid
    assert '"d"' not in (tmp_path / "ring" / f"{first}.json").read_text()
    with pytest.raises(KeyringError, match="rotate"):
        rotated.retire(rotated.signer.kid, 3000)
    with pytest.raises(KeyringError, match="keys list"):
        rotated.retire("nobody", 3000)
    retired = rotated.retire(first, 3000).retire(first, 4000)
    assert [retired.state(key) for key in retired.keys] == ["retired", "signs"]
    assert next(key.retired_ms for key in retired.keys if key.kid == first) == 3000
    with pytest.raises(BadCode, match="no longer in use"):
        Verifier(retired.jwks()).venue(old, 0)
    assert Verifier(retired.jwks()).venue(new, 0).venue == VENUE
    assert ring.refreshed().signer == retired.signer and retired.refreshed() is retired


def test_a_rotation_cut_in_the_middle_still_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before, between or after its writes, a ring loads, signs, and verifies what it signed before."""
    from gateway import keyring

    write = keyring._write
    for writes in range(3):
        ring = Keyring.make(tmp_path / f"ring{writes}", 1000)
        old, left = sign_static(ring, VENUE), [writes]

        def cut(folder: Path, key: RingKey, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write(folder, key)

        monkeypatch.setattr(keyring, "_write", cut)
        try:
            ring.rotate(0)
        except KeyboardInterrupt:
            assert writes < 2
        monkeypatch.setattr(keyring, "_write", write)
        found = Keyring.load(ring.folder)
        assert len(found.keys) == 1 + (writes > 0) and found.signer is found.keys[-1]
        for token in (old, sign_static(found, VENUE)):
            assert Verifier(found.jwks()).venue(token, 0).venue == VENUE
        assert sum(key.d is not None for key in found.rotate(5000).keys) == 1  # a later rotation tidies up


def test_who_may_read_a_ring(tmp_path: Path) -> None:
    """Folder and files are their owner's alone; a file that others may read is refused, and so is anything else."""
    ring = Keyring.make(tmp_path / "deep" / "ring", 1000).rotate(2000)
    assert stat.S_IMODE(ring.folder.stat().st_mode) == 0o700
    files = sorted(ring.folder.iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert (ring.signer.d or "") not in f"{ring!r} {ring.signer!r}" and "d" not in ring.jwks()["keys"][0]
    with pytest.raises(KeyringError, match="already"):
        Keyring.make(ring.folder, 3000)
    files[0].chmod(0o640)
    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.load(ring.folder)
    files[0].chmod(0o600)
    whole = msgspec.json.decode(files[0].read_bytes())
    for damage in (
        b"", b"{}", b"\xff", msgspec.json.encode({**whole, "kid": "../../x"}),
        msgspec.json.encode({**whole, "x": "AAAA"}), msgspec.json.encode({**whole, "d": b64(bytes(32))}),
    ):  # fmt: skip
        files[0].write_bytes(damage)
        with pytest.raises(KeyringError, match="no key of a ring"):
            Keyring.load(ring.folder)
    with pytest.raises(KeyringError, match="keys make"):
        Keyring.load(tmp_path / "nowhere")


def test_key_sets_that_are_none() -> None:
    """A wrong key set is an error of its own; keys of other kinds in it are passed over."""
    for wrong in ({}, {"keys": 1}, [], {"keys": [{**JWKS["keys"][0], "x": "AAAA"}]}):
        with pytest.raises(ValueError):
            Verifier(wrong)  # type: ignore[arg-type]
    rsa: dict[str, Any] = {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}
    encrypts = {**JWKS["keys"][0], "use": "enc"}
    with pytest.raises(BadCode, match="no longer in use"):
        Verifier({"keys": [rsa, 7, encrypts]}).verify(VECTORS["vectors"][0]["token"], NOW_MS)


def test_names_that_cannot_be_signed(ring: Keyring) -> None:
    """What is no name of a venue or person is refused before it is signed."""
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(ValueError, match="1 to 200"):
            sign_static(ring, name)
    assert set(REASONS) == {"no_code", "not_ours", "unknown_key", "wrong_kind", "old", "early", "expired", "revoked"}


def test_the_commands(tmp_path: Path) -> None:
    """`lacak keys`: make, rotate, list, jwks, retire; the private half is never printed."""

    def run(*words: str, keys: str) -> Result:
        return CliRunner().invoke(cli, ["keys", *words], input=keys, env={"LACAK_GATEWAY_DATA_DIR": str(tmp_path)})

    assert run("list", keys="").exit_code == 1
    made = run("make", keys="")
    assert made.exit_code == 0, made.output
    first = Keyring.load(tmp_path / "keys").signer
    assert run("rotate", keys="").exit_code == 0
    assert first.kid in run("list", keys="").output
    published = run("jwks", keys="")
    assert len(json.loads(published.output)["keys"]) == 2
    assert run("retire", first.kid, keys="n\n").exit_code == 1
    assert run("retire", first.kid, keys="y\n").exit_code == 0
    assert len(json.loads(run("jwks", keys="").output)["keys"]) == 1
    assert (first.d or "-") not in made.output + published.output
