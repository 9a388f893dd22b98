"""The pages in a real browser, over a gateway process and the whole pipeline: a visitor, a door's screen, the staff."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import segno
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from gateway.keyring import Keyring
from gateway.pseudonyms import Key
from gateway.register import By, Register
from lacak.officer_commands import send
from schemas.health import HealthRecord, PersonFact, VaccinationFact
from schemas.messages import TestResult, Venue
from tests.doorway import Doorway, chromium, doorway, tell_health
from tests.pipeline import Broker, Pipeline, pipeline

pytestmark = pytest.mark.browser

DAY_MS = 86_400_000
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
MALL = Venue(venue="mall", name="Mal Kartini", category="mall", region="ID-LA", capacity=2)
CAFE = Venue(venue="cafe", name="Kafe Senja", category="restaurant", region="ID-LA", capacity=50)


class Visitors:
    """People with papers: registered, vaccinated, and given one-time codes by an officer."""

    def __init__(self, running: Pipeline, folder: Path) -> None:
        self._running, self._folder = running, folder
        self._key = Key("p1", b"0123456789abcdef0123456789abcdef")

    def register(self, number: str, *, doses: int = 3) -> str:
        """A grown-up with so many doses; the pseudonym."""
        with Register(self._folder) as register:
            person = register.register(number, self._key, self._by())
        now_ms = time.time_ns() // 1_000_000
        facts = [VaccinationFact(product="CoronaVac", at_ms=now_ms - (90 - each) * DAY_MS) for each in range(doses)]
        records = [
            HealthRecord(person=person, record_id=f"dose-{place}", fact=fact, told_at_ms=now_ms)
            for place, fact in enumerate(facts)
        ]
        age = HealthRecord(person=person, record_id="age", fact=PersonFact(age_band="18-59"), told_at_ms=now_ms)
        tell_health(self._running.settings, *records, age)
        return person

    def code(self, person: str) -> str:
        """A one-time code."""
        with Register(self._folder) as register:
            return register.code(person, self._by()).code

    def card(self, person: str, keys: Path) -> str:
        """A card's token."""
        with Register(self._folder) as register:
            return register.issue_card(person, Keyring.load(keys), self._by()).token

    def _by(self) -> By:
        return By("test", "papers seen", time.time_ns() // 1_000_000)


@pytest.fixture(scope="module")
def running(broker: Broker, database: str, servers_folder: Path) -> Iterator[Pipeline]:
    """A live pipeline with a mall for two people."""
    with pipeline(broker, database, servers_folder, clock="live", partitions=2, retention_days=28) as found:
        found.register([MALL, CAFE])
        yield found


@pytest.fixture(scope="module")
def door(running: Pipeline, servers_folder: Path) -> Iterator[Doorway]:
    """A gateway beside it."""
    with doorway(running.settings, running.settings.data_dir / "gateway") as found:
        yield found


@pytest.fixture(scope="module")
def visitors(running: Pipeline) -> Visitors:
    """The identity register of the same folder."""
    return Visitors(running, running.settings.data_dir / "identity")


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser that says whatever stands in its console."""
    with chromium() as found:
        yield found


def phone(browser: Browser, language: str = "en-GB") -> Page:
    """A small phone with cookies of its own; a script's error is the test's."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, locale=language)
    return watched(context)


def watched(context: BrowserContext) -> Page:
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.set_default_timeout(20_000)
    return page


def bind(page: Page, door: Doorway, code: str) -> None:
    """Type the officer's code."""
    page.goto(f"{door.url}/bind")
    page.fill("#code", code)
    page.click("main button")
    expect(page.locator("h1")).to_have_text(re.compile("My status|Status saya"))


def signed_in(browser: Browser, door: Doorway, key: str, path: str, width: int = 900) -> Page:
    """A device's page, after its key was typed."""
    page = watched(browser.new_context(viewport={"width": width, "height": 720}, locale="en-GB"))
    page.goto(door.url + path)
    page.fill("#key", key)
    page.click("main button")
    page.wait_for_url(f"**{path}")
    return page


def keep(page: Page, name: str) -> None:
    """A picture for the documentation, where it is asked for by LACAK_TEST_PICTURES."""
    if os.environ.get("LACAK_TEST_PICTURES"):
        page.screenshot(path=PICTURES / f"door-{name}.png")


def test_a_day_at_the_mall(running: Pipeline, door: Doorway, visitors: Visitors, browser: Browser) -> None:
    """Green visitors come in until it is full, the screen moves by itself, one leaves and another may come in; a case
    is refused at once, and only its own screen says why."""
    screen = signed_in(browser, door, door.device("screen-1", "venue"), "/screen/mall", width=1280)
    expect(screen.locator("#inside")).to_have_text("0")
    people = [visitors.register(f"327104650493000{number}") for number in range(4)]
    phones = []
    for person in people:
        page = phone(browser)
        bind(page, door, visitors.code(person))
        phones.append(page)
    expect(phones[0].locator(".ticket")).to_have_class("ticket green", timeout=20_000)
    for page in phones[:2]:
        page.goto(door.code("mall"))
        expect(page.locator("h1")).to_have_text("Mal Kartini")
        keep(page, "venue")
        page.get_by_role("button", name="Check in").click()
        expect(page.locator(".ticket")).to_have_class("ticket green")
        expect(page.locator(".word")).to_have_text("Come in")
    keep(phones[1], "ticket")
    expect(screen.locator("#inside")).to_have_text("2")
    expect(screen.locator("#state")).to_have_text("FULL")
    keep(screen, "screen")
    third = phones[2]
    third.goto(door.code("mall"))
    third.get_by_role("button", name="Check in").click()
    expect(third.locator(".word")).to_have_text("Full")
    expect(third.locator(".ticket")).to_have_class("ticket full")
    keep(third, "full")
    phones[0].get_by_role("button", name="Check out").click()
    expect(phones[0].locator(".word")).to_contain_text("You have left")
    expect(screen.locator("#inside")).to_have_text("1")
    third.goto(door.code("mall"))
    third.get_by_role("button", name="Check in").click()
    expect(third.locator(".word")).to_have_text("Come in")

    case = phones[3]
    expect_colour(case, door, "green")
    result = TestResult(person=people[3], outcome="positive", specimen_ms=time.time_ns() // 1_000_000 - 3_600_000)
    send(running.settings, "test-results", people[3], result)
    expect_colour(case, door, "black")
    case.goto(door.code("mall"))
    case.get_by_role("button", name="Check in").click()
    expect(case.locator(".ticket")).to_have_class("ticket black")
    expect(case.locator(".word")).to_have_text("You cannot come in")
    expect(case.locator(".why")).to_contain_text("positive")
    keep(case, "refused")


def expect_colour(page: Page, door: Doorway, colour: str) -> None:
    """The person's own status page comes to show the colour."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        page.goto(f"{door.url}/me")
        if page.locator(f".ticket.{colour}").count():
            return
        time.sleep(0.3)
    pytest.fail(f"{page.url} does not show {colour}: {page.inner_text('main')}")


def test_a_stranger_is_checked_by_staff_who_learn_no_reason(door: Doorway, browser: Browser) -> None:
    """An unbound browser has no colour; the guard sees a number and what to do, answers, and the ticket follows."""
    visitor = phone(browser, "id-ID")
    visitor.goto(door.code("cafe"))
    visitor.select_option("#children", "2")
    visitor.get_by_role("button", name="Masuk (check-in)").click()
    ticket = visitor.locator(".ticket")
    expect(ticket).to_have_class("ticket unknown")
    number = visitor.locator(".number").inner_text()
    keep(visitor, "check")
    staff = signed_in(browser, door, door.device("staff-1", "staff"), "/staff/cafe")
    line = staff.locator("#waiting li", has_text=number)
    expect(line).to_be_visible()
    keep(staff, "staff")
    line.locator("button.admit").click()
    expect(staff.locator("#answer")).to_contain_text("Come in")
    assert "vaccin" not in staff.inner_text("main").lower()
    expect(visitor.locator(".word")).to_have_text("Silakan masuk")
    expect(visitor.locator("main")).to_contain_text("3 dari")
    visitor.get_by_role("button", name="Keluar (check-out)").click()
    expect(visitor.locator("main")).to_contain_text("0 dari")


def test_a_card_before_the_camera(running: Pipeline, door: Doorway, visitors: Visitors, tmp_path: Path) -> None:
    """Somebody without a phone holds their card before the staff's camera: the gateway reads it and decides."""
    person = visitors.register("3271046504930007")
    time.sleep(2)
    token = visitors.card(person, door.folder / "keys")
    film = tmp_path / "card.mjpeg"
    film.write_bytes(filmed(f"LACAK:{token}", tmp_path) * 3)
    key = door.device("staff-2", "staff")
    camera = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    with chromium(*camera) as browser:
        staff = signed_in(browser, door, key, "/staff/cafe")
        staff.click("#start")
        expect(staff.locator("#answer .word")).to_have_text("Come in", timeout=20_000)
        keep(staff, "camera")


def filmed(text: str, folder: Path) -> bytes:
    """One frame of 640 x 480 with a QR code of this text, as JPEG."""
    path = folder / "card.png"
    segno.make(text, error="m").save(str(path), scale=6, border=4)
    frame = Image.new("L", (640, 480), 200)
    code = Image.open(path).convert("L").resize((420, 420))
    frame.paste(code, (110, 30))
    made = folder / "frame.jpg"
    frame.convert("RGB").save(made, quality=90)
    return made.read_bytes()


def test_a_recount_changes_the_screen(running: Pipeline, door: Doorway, browser: Browser) -> None:
    """The guard counts seven, then says that everyone is out; both are in the audit."""
    key = door.device("staff-3", "staff", "venue")
    staff, screen = (signed_in(browser, door, key, path) for path in ("/staff/cafe", "/screen/cafe"))
    staff.fill("#counted", "7")
    staff.click("#recount button")
    expect(screen.locator("#inside")).to_have_text("7")
    staff.on("dialog", lambda dialog: dialog.accept())
    staff.click("#out")
    expect(screen.locator("#inside")).to_have_text("0")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with psycopg.connect(running.settings.database) as database:
            rows = database.execute("select deed from lacak.door_events where device = 'staff-3'").fetchall()
        if {deed for (deed,) in rows} >= {"recount", "everyone_out"}:
            return
        time.sleep(0.3)
    pytest.fail(f"the audit has only {rows}")


def test_the_pages_work_without_a_script(door: Doorway, browser: Browser) -> None:
    """Check-in, ticket and language need no script; every control has a name; nothing comes from elsewhere."""
    context = browser.new_context(java_script_enabled=False, locale="id-ID", viewport={"width": 320, "height": 600})
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(door.code("cafe"))
    assert page.locator("html").get_attribute("lang") == "id"
    page.click("header button")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    for control in page.locator("main select, main input:not([type=hidden]), main button").all():
        name = control.get_attribute("id")
        assert control.inner_text().strip() or page.locator(f"label[for={name}]").count() == 1
    page.get_by_role("button", name="Check in").click()
    expect(page.locator(".ticket")).to_be_visible()
    assert all(url.startswith((door.url, "data:")) for url in asked)


@pytest.mark.parametrize(
    "path", ["/v/no.such.code", "/screen/mall", "/staff/mall", "/ticket", "/bind?back=//evil.example"]
)
def test_what_is_not_there_is_said(door: Doorway, browser: Browser, path: str) -> None:
    """A wrong code, a page for devices without a key, no ticket: a page that says so, and no way to another host."""
    page = phone(browser)
    page.goto(door.url + path)
    assert page.url.startswith(door.url)
    assert page.inner_text("h1")
    assert "evil" not in page.content()
