"""The poster as it is rendered: its QR code decoded by another library, and every name set so that it fits."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, sync_playwright

from bench.pictures import example_poster
from gateway import lettering
from gateway.codes import Verifier, sign_static, token_in
from gateway.keyring import Keyring
from gateway.lettering import FAMILIES, LetteringError, in_helvetica, needs_shaping, width
from gateway.poster import Poster, poster
from gateway.sheet import Box, Square, Words, fitted
from lacak.main import cli
from schemas.messages import Venue

BASE = "https://lacak.dinkes-lampungutara.go.id"
MALL = Venue(venue="mall-kartini", name="Mall Kartini")
CHROMIUM = "/usr/bin/chromium"
LONG = "Pusat Perbelanjaan Ramayana Kotabumi, Lantai Dasar, Pintu Barat dekat Parkir Sepeda Motor"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return Keyring.make(tmp_path_factory.mktemp("gateway") / "keys", 0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def printed(made: Poster, font: Path | None = None, dpi: int = 150) -> Image.Image:
    """A poster's PDF, as a picture."""
    page = pypdfium2.PdfDocument(made.pdf(font))[0]
    assert [round(side * 25.4 / 72) for side in page.get_size()] == [210, 297]
    picture: Image.Image = page.render(scale=dpi / 72).to_pil()
    return picture.convert("RGB")


def photographed(picture: Image.Image, how: str) -> Image.Image:
    """What a phone would see of it: from afar, askew, out of focus, in bad light."""
    wide, high = picture.size
    if how == "rotated":
        return picture.rotate(17, expand=True, fillcolor="#777", resample=Image.Resampling.BICUBIC)
    if how == "blurred":
        return picture.filter(ImageFilter.GaussianBlur(2.5))
    if how == "from below":
        corners = (-0.18 * wide, -0.1 * high, 0, high, wide, high, 1.18 * wide, -0.1 * high)
        return picture.transform(
            (wide, high), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC, fillcolor="#777"
        )
    if how == "from afar":
        return picture.resize((wide // 3, high // 3), Image.Resampling.LANCZOS)
    noise = Image.effect_noise(picture.size, 60).convert("RGB")
    return Image.blend(picture.point(lambda value: 70 + value // 3), noise, 0.2)


def seen(picture: Image.Image) -> list[str]:
    """What stands in the QR codes of a picture."""
    return [found.text for found in zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)]


def test_the_code_on_the_printed_poster(ring: Keyring) -> None:
    """The one QR code of the PDF at 150 dpi is the address of the venue's page, whose token verifies offline."""
    made = poster(MALL, sign_static(ring, MALL.venue), BASE)
    (text,) = seen(printed(made))
    assert text == made.content == f"{BASE}/v/{sign_static(ring, MALL.venue)}"
    assert Verifier(ring.jwks()).venue(token_in(text), 0).venue == MALL.venue
    assert made.version == 10  # as docs/qr.md says


@pytest.mark.parametrize("how", ["rotated", "blurred", "from below", "from afar", "in bad light"])
def test_the_code_on_a_photograph_of_it(ring: Keyring, how: str) -> None:
    """It is read from a picture that is turned, out of focus, askew, small, or grey and noisy."""
    made = poster(MALL, sign_static(ring, MALL.venue), BASE)
    assert seen(photographed(printed(made), how)) == [made.content]


@pytest.mark.parametrize("families", ["", "monospace"])
@pytest.mark.parametrize("name", [MALL.name, LONG, "城市購物中心", "مركز التسوق"])
def test_the_code_on_the_svg_in_a_browser(ring: Keyring, chromium: Browser, name: str, families: str) -> None:
    """A browser draws the SVG with the same code and the name in any letters, all of it on the paper.

    Also where what it has for Helvetica is as wide as a typewriter's letters.
    """
    made = poster(Venue(venue="v", name=name), sign_static(ring, "v"), BASE)
    drawn = made.svg().replace(FAMILIES, families) if families else made.svg()
    page = chromium.new_page(viewport={"width": 800, "height": 1130})
    page.set_content(f"<body style='margin:0'>{drawn}")
    assert page.evaluate(
        """() => [...document.querySelectorAll('text')].every(text => {
            const box = text.getBBox(); return box.x >= 8 && box.x + box.width <= 202 && box.y >= 8 })"""
    )
    picture = Image.open(io.BytesIO(page.screenshot()))
    assert seen(picture) == [made.content]
    assert seen(photographed(picture.convert("RGB"), "from below")) == [made.content]
    page.close()


def test_svg_and_pdf_say_the_same(ring: Keyring) -> None:
    """Both hold the same texts in the same order, in both languages, and are the same bytes each time."""
    venue = Venue(venue="a<b", name='Café "Zoë" & ’t Hoekje <1>')
    made, again = (poster(venue, sign_static(ring, venue.venue), BASE) for _ in range(2))
    assert (made.svg(), made.pdf()) == (again.svg(), again.pdf())
    drawn = [text.text for text in ET.fromstring(made.svg()).iter("{http://www.w3.org/2000/svg}text")]
    printed_text = pypdfium2.PdfDocument(made.pdf())[0].get_textpage().get_text_range()
    assert [line.strip() for line in printed_text.split("\r\n")] and venue.name in drawn
    for text in drawn:
        assert "".join(text.split()) in "".join(printed_text.split())
    for words in ("Pindai untuk masuk", "Scan to come in", f"{BASE}/v/", "Tanpa ponsel?", "No phone?"):
        assert any(words in text for text in drawn)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=300) | st.text("WiM .", max_size=300))
def test_every_name_fits(name: str) -> None:
    """Whatever a venue is called: its lines stand between the head and the code, no wider than the paper, no line on
    another; and the SVG is well-formed."""
    made = poster(Venue(venue="v", name=name), "a.b.c", BASE)
    items = made.sheet.items
    square = next(item for item in items if isinstance(item, Square))
    head, frame = items[1], items[items.index(square) - 2]
    assert isinstance(head, Box) and isinstance(frame, Box)
    lines = [item for item in items[4 : items.index(frame)] if isinstance(item, Words)]
    for line in lines:
        assert width(line.text, line.size, bold=True) <= 190
        assert head.y + head.height <= line.y - line.size and line.y + 0.25 * line.size <= frame.y
    for above, below in pairwise(lines):
        assert below.y - above.y >= above.size
    shown = "".join(" ".join(name.split()).split()) or "v"
    together = "".join("".join(line.text.split()) for line in lines)
    assert together == shown or (together.endswith("…") and shown.startswith(together[:-1]))
    ET.fromstring(made.svg())


def test_names_in_other_letters(ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PDF takes a font that has the letters, and says so where there is none or where a font is not enough."""
    greek = Venue(venue="v", name="Αθήνα Торговый")
    found = poster(greek, sign_static(ring, "v"), BASE)
    text = pypdfium2.PdfDocument(found.pdf())[0].get_textpage().get_text_range()
    assert "Αθήνα Торговый" in text and seen(printed(found)) == [found.content]
    with pytest.raises(LetteringError, match="right to left"):
        poster(Venue(venue="v", name="مركز"), "a.b.c", BASE).pdf()
    monkeypatch.setattr(lettering, "_fonts", lambda: ())
    lettering._on_this_machine.cache_clear()
    with pytest.raises(LetteringError, match="name a font file"):
        found.pdf()
    lettering._on_this_machine.cache_clear()
    wrong = tmp_path / "no.ttf"
    wrong.write_bytes(b"no font")
    with pytest.raises(LetteringError, match="name a font file"):
        found.pdf(wrong)
    dejavu = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if dejavu.exists():
        assert found.pdf(dejavu)
    lettering._on_this_machine.cache_clear()


def test_the_picture_in_the_documentation() -> None:
    """It is the poster as it is made now (`make pictures`)."""
    assert (Path(__file__).parents[1] / "docs" / "pictures" / "poster.svg").read_text("utf-8") == example_poster()


def test_letters() -> None:
    """What Helvetica has, and what must be shaped."""
    assert in_helvetica("Café Zoë – “8 €”") and not in_helvetica("Ćevapi")
    assert not needs_shaping("e\u0301 Ångström 城市") and needs_shaping("नमस्ते") and needs_shaping("שלום")
    assert fitted("a" * 400, 50, ((10, 1), (5, 2)), bold=True)[1][1].endswith("…")


def test_the_command(ring: Keyring, tmp_path: Path) -> None:
    """`lacak venues poster` writes what a scanner reads, from a file of venues; a bad ending or venue is a sentence."""
    (tmp_path / "v.csv").write_text("venue,name,area_m2\nmall-kartini,Mall Kartini,800\n")

    def run(venue: str, output: str) -> str:
        words = ["venues", "poster", venue, "-o", str(tmp_path / output), "--venues", str(tmp_path / "v.csv")]
        env = {"LACAK_GATEWAY_DATA_DIR": str(ring.folder.parent), "LACAK_GATEWAY_BASE_URL": BASE}
        return CliRunner().invoke(cli, words, env=env).output

    assert "Written" in run("mall-kartini", "p.pdf") and "Written" in run("mall-kartini", "p.svg")
    picture = pypdfium2.PdfDocument(tmp_path / "p.pdf")[0].render(scale=2).to_pil()
    assert seen(picture) == [f"{BASE}/v/{sign_static(ring, 'mall-kartini')}"]
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    assert "is not in" in run("elsewhere", "p.pdf") and ".pdf or .svg" in run("mall-kartini", "p.png")
