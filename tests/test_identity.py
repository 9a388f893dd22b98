"""The identity register and the bindings: once, in time, by few guesses, by one browser, and through a crash."""

from __future__ import annotations

import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pypdfium2
import pytest
import zxingcpp
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gateway.bindings import Bindings, BindingsError, browser_of
from gateway.cards import card as card_sheet
from gateway.codes import BadCode, Verifier, sign_card, sign_static, token_in
from gateway.identity import REFUSALS, BadBinding, IdentitySettings, make_code, read_code
from gateway.keyring import Keyring
from gateway.pseudonyms import Key
from gateway.register import By, Register, RegisterError
from lacak.main import cli

NIK = "3271046504930002"
OTHER_NIK = "1803012304780001"
BY = By("dr. Sari", "papers seen", 1000)
MINUTE = 60_000
DRIVER = Path(__file__).with_name("binding_crash_driver.py")


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key.make(tmp_path / "pseudonym.key", "p1")


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    with Register(tmp_path / "register") as register:
        yield register


@pytest.fixture
def bindings(tmp_path: Path) -> Iterator[Bindings]:
    with Bindings(tmp_path / "bindings.sqlite") as bindings:
        yield bindings


def refusal(
    register: Register, bindings: Bindings, code: str, token: str, source: str = "s", now_ms: int = 2000
) -> str:
    """Why a code is refused."""
    with pytest.raises(BadBinding) as refused:
        bindings.redeem(register, code, token, source, now_ms)
    assert refused.value.sentence("en") == REFUSALS[refused.value.reason]["en"] == str(refused.value)
    return refused.value.reason


def test_a_code_binds_one_browser_once(register: Register, bindings: Bindings, key: Key) -> None:
    """The browser stands for the person from then on; another with the same code does not; the same may ask again."""
    person = register.register(NIK, key, BY)
    assert person == key.pseudonym(NIK) == register.register(f" {NIK} ", key, BY)
    code = register.code(person, BY).code
    mine, another = Bindings.new_token(), Bindings.new_token()
    before = bindings.visitor(mine)
    assert not before.verified and before.person.startswith("web:") and before == bindings.visitor(mine)
    assert bindings.redeem(register, f" {code.lower().replace('-', ' ')}", mine, "s", 2000) == person
    assert bindings.redeem(register, code, mine, "s", 10**12) == person
    assert refusal(register, bindings, code, another) == "used"
    assert bindings.visitor(mine) == (person, True) and not bindings.visitor(another).verified
    assert bindings.browsers(person) == 1


def test_a_code_expires_and_a_new_one_voids_it(register: Register, bindings: Bindings, key: Key) -> None:
    """Good before its end, not at it; and only the newest of a person's unused codes works."""
    person = register.register(NIK, key, BY)
    first, token = register.code(person, BY), Bindings.new_token()
    assert first.until_ms == BY.at_ms + 60 * MINUTE
    assert refusal(register, bindings, first.code, token, now_ms=first.until_ms) == "expired"
    second = register.code(person, BY)
    assert refusal(register, bindings, first.code, token) == "wrong"
    assert bindings.redeem(register, second.code, token, "s", second.until_ms - 1) == person
    with pytest.raises(RegisterError, match="not registered"):
        register.code("p1:nobody", BY)


def test_wrong_guesses_are_limited(tmp_path: Path, key: Key, bindings: Bindings) -> None:
    """After so many from one place not even the right code is taken from there until the time is over; from elsewhere
    it is; and all places together have a limit too. It outlives a restart."""
    settings = IdentitySettings(guesses_most=3, guesses_most_of_all=5)
    register = Register(tmp_path / "register", settings=settings)
    people = [register.register(f"passport {number}", key, BY) for number in range(3)]
    codes = [register.code(person, BY).code for person in people]
    wrong = ("00000-00000", "", "x" * 5000)
    for code in wrong:
        assert refusal(register, bindings, code, Bindings.new_token()) == "wrong"
    register.close()
    register = Register(tmp_path / "register", settings=settings)
    token = Bindings.new_token()
    assert refusal(register, bindings, codes[0], token) == "too_many"
    assert refusal(register, bindings, codes[0], token, now_ms=2000 + 15 * MINUTE - 1) == "too_many"
    assert bindings.redeem(register, codes[1], Bindings.new_token(), "elsewhere", 2000) == people[1]
    for _ in range(2):
        assert refusal(register, bindings, "00000-00000", token, "third") == "wrong"
    assert refusal(register, bindings, codes[2], token, "fourth") == "too_many"
    assert bindings.redeem(register, codes[0], token, "s", 2000 + 15 * MINUTE) == people[0]
    register.close()


def test_a_bound_browser_is_not_bound_again(register: Register, bindings: Bindings, key: Key) -> None:
    """Another's code is refused, and not used up by it; unbound, the token is spent, and a new one takes a new code."""
    mine, theirs = (register.register(nik, key, BY) for nik in (NIK, OTHER_NIK))
    token = Bindings.new_token()
    first = register.code(mine, BY).code
    bindings.redeem(register, first, token, "s", 2000)
    second = register.code(theirs, BY).code
    assert refusal(register, bindings, second, token) == "bound"
    assert bindings.redeem(register, second, Bindings.new_token(), "s", 2000) == theirs
    assert bindings.unbind(token, 3000) == mine and bindings.unbind(token, 3000) is None
    assert not bindings.visitor(token).verified
    assert refusal(register, bindings, first, token) == "spent"
    assert refusal(register, bindings, register.code(mine, BY).code, token) == "spent"
    fresh = Bindings.new_token()
    assert bindings.redeem(register, register.code(mine, BY).code, fresh, "s", 2000) == mine


def test_an_officer_unbinds(register: Register, bindings: Bindings, key: Key) -> None:
    """All browsers of the person, here and at every gateway that follows, whatever their clocks say; codes are void;
    what is bound by a later code stays bound."""
    person, other = (register.register(nik, key, BY) for nik in (NIK, OTHER_NIK))
    tokens = [Bindings.new_token() for _ in range(3)]
    ahead_ms = 3_000_000  # this gateway's clock is ahead
    for token in tokens[:2]:
        bindings.redeem(register, register.code(person, BY).code, token, "s", ahead_ms)
    bindings.redeem(register, register.code(other, BY).code, tokens[2], "s", ahead_ms)
    waiting = register.code(person, BY).code
    register.unbind(person, BY)
    assert bindings.person(tokens[0]) == person
    assert bindings.follow(register) == 1 and bindings.follow(register) == 0
    assert [bindings.person(token) for token in tokens] == [None, None, other]
    assert refusal(register, bindings, waiting, Bindings.new_token()) == "wrong"
    again = Bindings.new_token()
    bindings.redeem(register, register.code(person, BY).code, again, "s", 0)
    bindings.follow(register)
    assert bindings.person(again) == person


def test_a_binding_that_is_withdrawn_while_it_is_made(register: Register, bindings: Bindings, key: Key) -> None:
    """The officer unbinds between the service's answer and the gateway's binding, and the gateway takes that in before
    it binds: the browser is unbound all the same, at the next look; one bound since by a new code is not."""
    person = register.register(NIK, key, BY)
    token, newer = Bindings.new_token(), Bindings.new_token()

    class Slow:
        """The service, but while its answer is under way somebody unbinds, the gateway follows, and another binds."""

        card, withdrawn = register.card, register.withdrawn

        def redeem(self, code: str, browser: str, source: str, now_ms: int) -> str:
            found = register.redeem(code, browser, source, now_ms)
            register.unbind(person, BY)
            assert bindings.follow(register) == 1
            bindings.redeem(register, register.code(person, BY).code, newer, "s", 2000)
            return found

    bindings.redeem(Slow(), register.code(person, BY).code, token, "s", 2000)
    bindings.follow(register)
    assert [bindings.person(each) for each in (token, newer)] == [None, person]


def test_killed_between_redeeming_and_binding(tmp_path: Path, key: Key) -> None:
    """kill -9 after the service's answer, before the binding: nobody else gets the code, and the same browser does."""
    with Register(tmp_path / "register") as register:
        person = register.register(NIK, key, BY)
        code, token = register.code(person, BY).code, Bindings.new_token()
        command = [sys.executable, str(DRIVER), str(tmp_path), "between"]
        ended = subprocess.run(
            command, input=f"{code} {token}\n", capture_output=True, text=True, cwd=DRIVER.parents[1]
        )
        assert ended.returncode == -signal.SIGKILL and ended.stdout == "", ended.stderr
        with Bindings(tmp_path / "bindings.sqlite") as bindings:
            assert bindings.person(token) is None
            assert refusal(register, bindings, code, Bindings.new_token()) == "used"
            assert bindings.redeem(register, code, token, "s", 10**12) == person
            assert bindings.visitor(token) == (person, True)


def test_killed_at_any_moment(tmp_path: Path, key: Key) -> None:
    """However often the gateway is killed, browsers that ask again are each bound to the person of their code, once,
    and what was answered before a kill still holds after it."""
    chance = random.Random(7)
    with Register(tmp_path / "register") as register, Bindings(tmp_path / "bindings.sqlite") as bindings:
        people = [register.register(f"paper {number}", key, BY) for number in range(60)]
        asked = {Bindings.new_token(): (register.code(person, BY).code, person) for person in people}
        lines = "".join(f"{code} {token}\n" for token, (code, _) in asked.items())
        answered: dict[str, str] = {}
        cut = 0
        for _ in range(4):
            command = [sys.executable, str(DRIVER), str(tmp_path)]
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=DRIVER.parents[1]
            )
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(lines)
            child.stdin.close()
            first = child.stdout.readline()
            time.sleep(chance.random() * 0.02)
            child.kill()
            rest = child.stdout.read()
            child.stdout.close()
            child.wait()
            whole = (first + rest).split("\n")[:-1]
            cut += len(whole) < len(lines.splitlines())
            answered.update(line.split() for line in whole)  # type: ignore[misc]
            for token, person in answered.items():
                assert bindings.visitor(token) == (person, True) and asked[token][1] == person
        assert cut, "no kill came in the middle"
        for token, (code, person) in asked.items():
            assert bindings.redeem(register, code, token, "s", 2000) == person
            assert bindings.browsers(person) == 1
        for code, _ in asked.values():
            assert refusal(register, bindings, code, Bindings.new_token(), f"at {code}") == "used"


def test_one_code_by_many_at_once(register: Register, tmp_path: Path, key: Key) -> None:
    """Twenty browsers at two gateways with one code: one is bound. One browser, twenty times at once: it is bound."""
    person = register.register(NIK, key, BY)
    gateways = [Bindings(tmp_path / f"{number}.sqlite") for number in range(2)]

    def run(code: str, tokens: list[str]) -> int:
        said: list[str] = []

        def one(number: int, token: str) -> None:
            try:
                said.append(gateways[number % 2].redeem(register, code, token, f"{code} {number}", 2000))
            except BadBinding as refused:
                said.append(refused.reason)

        threads = [threading.Thread(target=one, args=each) for each in enumerate(tokens)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == len(tokens) and set(said) <= {person, "used"}
        return said.count(person)

    assert run(register.code(person, BY).code, [Bindings.new_token() for _ in range(20)]) == 1
    assert run(register.code(person, BY).code, [Bindings.new_token()] * 20) == 20
    for gateway in gateways:
        gateway.close()


def test_cards(tmp_path: Path, register: Register, bindings: Bindings, key: Key) -> None:
    """A card says its person until it is revoked or runs out; a revocation reaches a gateway that follows; what the
    programme signed but the register does not know is refused."""
    ring = Keyring.make(tmp_path / "ring", 0)
    register.verifier = Verifier(ring.jwks())
    person = register.register(NIK, key, BY)
    first, second = (register.issue_card(person, ring, BY, 30) for _ in range(2))
    assert register.card(first.token, 5000) == person == register.card(second.token, first.until_ms - 1)
    for wrong, now_ms in ((first.token, first.until_ms), (sign_static(ring, person), 0), ("x", 0)):
        with pytest.raises(BadCode):
            register.card(wrong, now_ms)
    with pytest.raises(BadCode, match="withdrawn"):
        register.card(sign_card(ring, person, "unknown", 0), 0)
    assert register.revoke_card(first.serial, BY) == person == register.revoke_card(first.serial, BY)
    with pytest.raises(BadCode, match="withdrawn"):
        register.card(first.token, 5000)
    assert not bindings.revoked(first.serial)
    assert bindings.follow(register) == 1
    assert bindings.revoked(first.serial) and not bindings.revoked(second.serial)
    assert register.card(second.token, 5000) == person
    with pytest.raises(RegisterError, match="no card"):
        register.revoke_card("nothing", BY)


def test_the_printed_card(tmp_path: Path, register: Register, key: Key) -> None:
    """The card's PDF at 150 dpi is read, is of the size of a bank card, and names its last day, not the person."""
    ring = Keyring.make(tmp_path / "ring", 0)
    person = register.register(NIK, key, BY)
    issued = register.issue_card(person, ring, By("dr. Sari", "no phone", 1_634_797_020_000))
    page = pypdfium2.PdfDocument(card_sheet(issued.token, issued.serial, issued.until_ms, ZoneInfo("UTC")).pdf())[0]
    assert [round(side * 25.4 / 72, 1) for side in page.get_size()] == [85.6, 54.0]
    (found,) = zxingcpp.read_barcodes(page.render(scale=150 / 72).to_pil())
    assert Verifier(ring.jwks()).card(token_in(found.text), 1_634_797_020_000).person == person
    text = page.get_textpage().get_text_range()
    assert "2022-10-21" in text and issued.serial in text and person not in text and NIK not in text


def test_the_audit_and_what_never_leaves(tmp_path: Path, register: Register, bindings: Bindings, key: Key) -> None:
    """Every deed has its line; no national id, code or browser's token stands in any file, in the clear."""
    ring = Keyring.make(tmp_path / "ring", 0)
    person = register.register(NIK, key, BY)
    code, token = register.code(person, BY).code, Bindings.new_token()
    bindings.redeem(register, code, token, "203.0.113.9", 2000)
    refusal(register, bindings, "WRONG-WRONG", Bindings.new_token(), "203.0.113.9")
    issued = register.issue_card(person, ring, BY)
    register.revoke_card(issued.serial, BY)
    register.unbind(person, BY)
    assert register.resolve(person, BY) == NIK
    with pytest.raises(RegisterError, match="not registered"):
        register.resolve("p1:nobody", By("dr. Sari", "looking around", 1))
    register.people(BY)
    lines = register.audit(BY)
    assert [line.action for line in reversed(lines)] == [
        "register", "code", "redeem", "card", "revoke card", "unbind", "resolve", "resolve", "list", "audit",
    ]  # fmt: skip
    assert {line.officer for line in lines} == {"dr. Sari", "system"}
    with pytest.raises(RegisterError, match="long number"):
        register.register(OTHER_NIK, key, By("dr. Sari", f"papers of {OTHER_NIK}", 1))
    for officer, purpose in (("", "x"), ("x", " "), ("x", "a\nb")):
        with pytest.raises(RegisterError, match="Say the"):
            register.code(person, By(officer, purpose, 1))
    assert len(register.audit(BY)) == len(lines) + 1  # what was refused left nothing
    held = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".key")
    for secret in (NIK, code, code.replace("-", ""), token, "203.0.113.9", issued.token):
        assert secret.encode() not in held
    for file in (*(tmp_path / "register").iterdir(), *tmp_path.glob("bindings*")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_files_open_to_others_are_refused(tmp_path: Path, register: Register, bindings: Bindings) -> None:
    """Register, its key and the bindings are their owner's alone; another register's key opens nothing."""
    folder = tmp_path / "register"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("register.key", "register.sqlite"):
        (folder / name).chmod(0o644)
        with pytest.raises(RegisterError, match="chmod 600"):
            Register(folder)
        (folder / name).chmod(0o600)
    (tmp_path / "bindings.sqlite").chmod(0o640)
    with pytest.raises(BindingsError, match="chmod 600"):
        Bindings(tmp_path / "bindings.sqlite")
    person = register.register(NIK, Key("p1", bytes(32)), BY)
    (folder / "register.key").write_text("00" * 32)
    with Register(folder) as another, pytest.raises(RegisterError, match="put back"):
        another.resolve(person, BY)
    (folder / "register.key").write_text("00")
    with pytest.raises(RegisterError, match="no key of a register"):
        Register(folder)
    with pytest.raises((RegisterError, sqlite3.Error)):
        Register(folder / "register.key")


def test_tokens() -> None:
    """A token has 256 random bits; what is none is refused before it is looked up."""
    tokens = {Bindings.new_token() for _ in range(1000)}
    assert len(tokens) == 1000 and {len(browser_of(token)) for token in tokens} == {64}
    for wrong in ("", "x", "x" * 44, "é" * 43):
        with pytest.raises(ValueError):
            browser_of(wrong)


@given(st.integers(0, 2**50 - 1), st.text(" -", max_size=3), st.booleans())
def test_codes_are_read_as_people_write_them(number: int, gap: str, lower: bool) -> None:
    """Case, blanks and dashes mean nothing; O is 0, I and L are 1; two codes are never read as one."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    code = "".join(alphabet[number >> 5 * place & 31] for place in range(10))
    written = gap.join(code)
    assert read_code(written.lower() if lower else written) == code
    assert read_code(code.replace("0", "O").replace("1", "L")) == code
    assert read_code(make_code()) is not None and read_code(code[:-1]) is None and read_code(code[:-1] + "U") is None


@given(st.integers(0, 10**16 - 1), st.text(" .-", max_size=2))
def test_a_national_number_is_one_person_however_it_is_written(number: int, gap: str) -> None:
    """The digits decide, not how they are grouped; a number of another length is left as it is."""
    key, digits = Key("p1", bytes(32)), f"{number:016}"
    assert key.pseudonym(f" {gap.join(digits)} ") == key.pseudonym(digits)
    assert key.pseudonym(digits[:8] + "-" + digits[8:15]) != key.pseudonym(digits[:15])


def test_the_commands(tmp_path: Path) -> None:
    """`lacak identity`: register, code, card, list, revoke, unbind, resolve, audit; the identity is asked for, not
    given on the command line, and comes out of `resolve` alone."""
    Key.make(tmp_path / "p.key", "p1")
    Keyring.make(tmp_path / "keys", 0)
    env = {
        "LACAK_IDENTITY": str(tmp_path / "register"), "LACAK_GATEWAY_DATA_DIR": str(tmp_path),
        "LACAK_OFFICER": "dr. Sari", "LACAK_PURPOSE": "papers seen", "COLUMNS": "80",
    }  # fmt: skip
    said = []

    def run(*words: str, told: str = "", code: int = 0) -> str:
        found = CliRunner().invoke(cli, ["identity", *words], input=told, env=env)
        assert found.exit_code == code, found.output
        said.append(found.output)
        return found.output

    run("register", "--key", str(tmp_path / "p.key"), told=f"{NIK}\n")
    person = Key.load(tmp_path / "p.key").pseudonym(NIK)
    assert person in said[-1]
    code = run("code", person).split("\n")[0]
    token = Bindings.new_token()
    with Register(tmp_path / "register") as register, Bindings(tmp_path / "b.sqlite") as bindings:
        assert bindings.redeem(register, code, token, "s", int(time.time() * 1000)) == person
        run("unbind", person)
        bindings.follow(register)
        assert bindings.person(token) is None
    run("card", "--identity", "--key", str(tmp_path / "p.key"), "-o", str(tmp_path / "c.pdf"), told=f"{NIK}\n")
    serial = said[-1].split("card ")[1].split(",")[0]
    picture = pypdfium2.PdfDocument(tmp_path / "c.pdf")[0].render(scale=3).to_pil()
    assert zxingcpp.read_barcodes(picture)[0].text.startswith("LACAK:")
    assert serial in run("list")
    run("revoke", serial)
    assert serial not in run("list")
    assert "revoke card" in " ".join(run("audit").split())
    assert "not registered" in run("code", "p1:nobody", code=1)
    assert "no card" in run("revoke", "nothing", code=1)
    assert not any(NIK in text for text in said)
    assert run("resolve", person).strip() == NIK
