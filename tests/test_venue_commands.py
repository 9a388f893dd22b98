"""`lacak venues register` and `poster` on a running registry."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
import zxingcpp
from click.testing import CliRunner

from gateway.codes import Verifier, token_in
from gateway.keyring import Keyring
from lacak.deployment import ROLES
from lacak.main import cli
from lacak.settings import environment_of
from lacak.venues import standing_registry
from schemas.messages import Venue
from tests.pipeline import Broker, pipeline


def test_a_venue_is_registered_changed_and_gets_its_poster(broker: Broker, database: str, tmp_path: Path) -> None:
    """What is not given stays; a later date leaves the earlier record; what cannot be is a sentence; and the poster is
    that of the record in force now."""
    ring = Keyring.make(tmp_path / "keys", 0)
    only_registry = {role: int(role == "registry") for role in ROLES}
    with pipeline(broker, database, tmp_path, partitions=2, workers=only_registry, clock="live") as lacak:
        settings = lacak.settings
        env = environment_of(settings) | {"LACAK_GATEWAY_DATA_DIR": str(ring.folder.parent)}

        def run(*words: str, code: int = 0) -> str:
            found = CliRunner().invoke(cli, ["venues", *words], env=env)
            assert found.exit_code == code, found.output
            return found.output

        mall = ("--name", "Mal Kartini", "--category", "mall", "--capacity", "800", "--area", "12000.5")
        assert "in force" in run("register", "mall", *mall, "--region", "Lampung Utara", "--fallback", "refuse")
        assert "so already" in run("register", "mall", "--capacity", "800")
        run("register", "mall", "--name", "Mall Kartini")
        run("register", "mall", "--capacity", "400", "--from", "2021-11-01")
        run("register", "shop", "--within", "mall", "--longest-stay", "90")
        assert "for good" in run("register", "mall", "--within", "shop", code=1)
        assert "control character" in run("register", "x" * 201, code=1)
        first = Venue(
            venue="mall", name="Mall Kartini", category="mall", region="Lampung Utara", capacity=800, area_m2=12000.5,
            fallback="refuse",
        )  # fmt: skip
        registry = standing_registry(settings)
        assert registry.record("mall", 0) == first
        later = registry.record("mall", 1_640_000_000_000)
        assert later is not None and (later.capacity, later.name) == (400, "Mall Kartini")
        shop = registry.record("shop", 0)
        assert shop is not None and (shop.within, shop.longest_stay_minutes) == ("mall", 90.0)
        poster = ("-o", str(tmp_path / "p.pdf"), "--base-url", "https://lacak.example.id/")
        run("poster", "mall", *poster)
        assert "not in the registry" in run("poster", "elsewhere", *poster, code=1)
    page = pypdfium2.PdfDocument(tmp_path / "p.pdf")[0]
    (found,) = zxingcpp.read_barcodes(page.render(scale=2).to_pil())
    assert found.text.startswith("https://lacak.example.id/v/")
    assert Verifier(ring.jwks()).venue(token_in(found.text), 0).venue == "mall"
    assert "Mall Kartini" in page.get_textpage().get_text_range()
