"""The chaos harness itself: schedules are data, the proxy does what a schedule says, the judge sees what differs."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from click.testing import CliRunner

from schemas.blocks import CONTROL_MAGIC, Tick, frame
from schemas.heartbeats import HEARTBEAT_KEY, beat
from schemas.messages import Occupancy, Scan, Trace
from streams.reader import ReadRecord
from streams.settings import Settings
from tests import oracle, profile_oracle
from tests.chaos.__main__ import SELECTION, chaos
from tests.chaos.expected import PROFILE, Expected, expect
from tests.chaos.judge import Judge, _maps, _sets
from tests.chaos.proxy import Network
from tests.chaos.report import keep, read, report
from tests.chaos.run import Result
from tests.chaos.schedule import Fault, Kind, Schedule, ScheduleError, Way, load, make, printed
from tests.chaos.seen import Said, Stands, _newest, is_tick_ahead
from tests.chaos.servers import Ports
from tests.chaos.system import fill
from tests.chaos.town import HORIZON_MS, RETENTION_MS, town

NOW = 1_790_000_000_000


def test_a_seed_makes_one_schedule_and_every_kind_comes_within_twenty() -> None:
    schedules = [make(seed) for seed in range(1, 21)]
    assert schedules == [make(seed) for seed in range(1, 21)]
    assert {fault.kind for each in schedules for fault in each.faults} == {
        "kill", "stop", "network", "clock", "disk", "join", "leave", "roll",
    }  # fmt: skip
    assert {each.brokers for each in schedules} == {1, 3}
    killed = {f.target.partition("-")[0] for each in map(make, range(60)) for f in each.faults if f.kind == "kill"}
    assert killed >= {"visits", "places", "tracing", "status", "recorder", "gateway", "postgres", "broker"}
    assert any(len(each.faults) >= 3 for each in schedules)


def test_the_selection_has_every_kind_of_fault_and_every_way_of_a_bad_network() -> None:
    faults = [fault for seed in SELECTION for fault in make(seed).faults]
    assert {fault.kind for fault in faults} == set(get_args(Kind))
    assert {fault.way for fault in faults} == set(get_args(Way))
    assert {make(seed).brokers for seed in SELECTION} == {1, 3}


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_schedule_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    """JSON as it is printed, and TOML of the same; a file that is none is named."""
    wanted = make(2)
    path = tmp_path / f"schedule{suffix}"
    text = printed(wanted)
    if suffix == ".toml":
        faults = "\n".join(
            '[[faults]]\nat = {at}\nkind = "{kind}"\ntarget = "{target}"\nseconds = {seconds}\nway = "{way}"\n'
            "amount = {amount}".format(**msgspec.structs.asdict(fault))
            for fault in wanted.faults
        )
        text = f"seed = 2\nown_folders = true\n{faults}\n"
    path.write_text(text)
    assert load(path) == wanted
    path.write_text('{"seed": 2, "faults": [{"at": 1, "kind": "flood"}]}')
    with pytest.raises(ScheduleError, match=r"schedule\."):
        load(path)


def test_schedules_are_shown_as_data() -> None:
    shown = CliRunner().invoke(chaos, ["--show", "--only", "7"])
    assert msgspec.json.decode(shown.output, type=Schedule) == make(7)


def test_all_of_a_town_is_within_the_horizon_of_now_or_late_by_its_own_arrival() -> None:
    """So no scan finds its state gone; and places change in between."""
    made = town(Schedule(5, (), people=300, scans=900), NOW)
    scans = made.first + made.second
    for scan in scans:
        arrived = NOW if scan.arrived_at_ms is None else scan.arrived_at_ms
        assert arrived <= NOW
        assert arrived - scan.at_ms > HORIZON_MS or scan.at_ms > NOW - HORIZON_MS + 6 * 3_600_000
        assert arrived - scan.at_ms < RETENTION_MS
    cut = made.changes[0].valid_from_ms
    assert max(scan.at_ms for scan in made.first) < cut <= min(scan.at_ms for scan in made.second)
    assert made == town(Schedule(5, (), people=300, scans=900), NOW)
    assert len(made.cases) >= 5
    assert len(made.withdrawn) == 1


def test_the_judge_sees_one_scan_more_or_less() -> None:
    """A scan that is lost, and a visit, window or letter that is left over, each make a difference of their kind."""
    made = town(Schedule(6, (), people=100, scans=300), NOW)

    def log(scans: list[Scan]) -> Said:
        rows = [oracle.Scan(s.person, s.venue, s.kind, s.at_ms, s.arrived_at_ms or NOW) for s in scans]
        return Said(rows, [(0, number, 0) for number in range(len(rows))], set(), [])

    scans = made.first + made.second
    wanted = expect(made, log(scans), set())
    assert _maps("windows", wanted.windows, wanted.windows) is None
    lone = next(v for v in wanted.visits if v.reason == "assumed")
    less = expect(made, log([s for s in scans if (s.person, s.at_ms) != (lone.person, lone.start)]), set())
    found = _sets("visits", less.visits, wanted.visits)
    assert found is not None
    assert found.missing >= 1
    windows = _maps("windows", wanted.windows, less.windows)
    assert windows is not None
    assert windows.extra + windows.other >= 1
    twice = _sets("visits", [*wanted.visits, wanted.visits[0]], wanted.visits)
    assert twice is not None
    assert twice.extra == 1
    assert _sets("dead letters", {("scans", 0, 1, 0, "too_old")}, set()) is not None


def test_the_judge_takes_no_heartbeat_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """They travel with the answers. Of each key the message with the greatest position stands, unless it is gone."""

    def told(inside: int, offset: int) -> bytes:
        return msgspec.json.encode(Occupancy(venue="v", inside=inside, log_time_ms=NOW, position=(0, offset)))

    def read(_: Settings, topic: str) -> Iterator[ReadRecord]:
        values = [
            (b"v", told(2, 5)),
            (HEARTBEAT_KEY, beat(0, NOW)),
            (b"v", told(1, 4)),
            (b"w", told(3, 1)),
            (b"w", None),
        ]
        for offset, (key, value) in enumerate(values):
            yield ReadRecord(topic, 0, offset, NOW, key, value)

    monkeypatch.setattr("tests.chaos.seen.read_topic", read)
    newest = _newest(Settings(), "occupancy", Occupancy)
    assert {venue: message.inside for venue, message in newest.items()} == {"v": 2}


def test_a_report_of_a_case_that_was_withdrawn_must_say_so_in_both_places_unless_there_was_never_one() -> None:
    """A test withdrawn before its trace was told leaves no trace; one that was told must not stand, nor be lacking."""
    made = town(Schedule(6, (), people=100, scans=300), NOW)
    person = made.withdrawn[0]
    judge, wanted = Judge(Settings(), made, None, lambda: None), Expected(made, [], {}, set(), Said([], [], set(), []))  # type: ignore[arg-type]
    given = {
        "trace_id": "t", "case_id": "c", "person": person, "direction": "forward", "profile": "who", "officer": "",
        "purpose": "", "requested_at_ms": 1, "window_start_ms": 0, "window_end_ms": 1, "position": (0, 0),
        "profile_version": "1", "revision": 0,
    }  # fmt: skip

    def fault(state: str | None, told: set[tuple[str, str]]) -> bool:
        traces = {} if state is None else {"t": msgspec.convert({**given, "state": state}, Trace)}
        found = []
        stands = Stands({}, {}, traces, {}, [], {})
        judge._traces("", stands, wanted, told, NOW, lambda _, there, must: found.append((there, must)))
        key = (person, "forward", 0)
        return found[0][0].get(key) != found[0][1].get(key)

    known = {(person, "forward")}
    assert not fault(None, set())
    assert not fault("withdrawn", known)
    assert fault(None, known)
    assert fault("complete", known)


def test_what_came_when_a_trace_stood_no_longer_is_not_owed() -> None:
    """Two late scans make a contact: one came while the trace stood or was made, or both came later."""
    made = town(Schedule(6, (), people=100, scans=300), NOW)
    person, other = next(iter(made.cases)), "p-other"
    case = made.cases[person]
    window = profile_oracle.window(PROFILE, "backward", case.onset_ms, case.specimen_ms)
    begin = max(window[0], NOW - 10 * 86_400_000)
    scans = [oracle.Scan(who, "v1", "in", begin, NOW + after) for who, after in ((person, 10), (other, 20))]
    log = Said(scans, [(0, 7, 0), (1, 3, 0)], set(), [])
    wanted = expect(made, log, set())

    def contacts(until_ms: int, known: dict[int, int]) -> list[str]:
        return list(wanted.contacts(person, "backward", None, (until_ms, known))[1])

    assert list(wanted.contacts(person, "backward", None)[1]) == [other]
    assert contacts(NOW + 20, {}) == [other]
    assert contacts(NOW + 19, {}) == contacts(NOW, {0: 7, 1: 2}) == []
    assert contacts(NOW, {0: 7, 1: 3}) == contacts(NOW + 10, {1: 3}) == [other]


@pytest.mark.parametrize(("ahead_ms", "refused"), [(0, False), (300_000, False), (300_001, True)])
def test_a_tick_of_a_clock_that_is_ahead_is_a_letter(ahead_ms: int, refused: bool) -> None:
    tick = frame(CONTROL_MAGIC, Tick(NOW + ahead_ms))
    assert is_tick_ahead(ReadRecord("health-records", 0, 5, NOW, b"tick", tick)) is refused
    assert not is_tick_ahead(ReadRecord("health-records", 0, 5, NOW, b"tick", None))


def test_jobs_take_no_port_of_each_other() -> None:
    """Beside each other, and each more than it will ever want."""
    jobs = [Ports(number) for number in range(8)]
    taken = [job.take() for job in jobs for _ in range(40)]
    assert len(set(taken)) == len(taken)


@pytest.fixture
def network() -> Iterator[Network]:
    """An echo server behind a network of ours, by the name `echo`."""
    made = Network()
    with closing(socket.create_server(("127.0.0.1", 0))) as server, closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        made.add("echo", ("127.0.0.1", port), server.getsockname())
        made.port = port  # type: ignore[attr-defined]
        yield made
        made.close()


def _echo(server: socket.socket) -> None:
    def one(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                pass

    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(client,), daemon=True).start()


def _connect(network: Network) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", network.port), timeout=5.0)  # type: ignore[attr-defined]
    found.settimeout(1.0)
    return found


def _echoed(client: socket.socket, data: bytes = b"hello") -> bytes:
    client.sendall(data)
    found = b""
    while len(found) < len(data):
        piece = client.recv(65536)
        if not piece:
            raise ConnectionResetError
        found += piece
    return found


def test_a_network_that_is_slow_or_narrow(network: Network) -> None:
    with closing(_connect(network)) as client:
        assert _echoed(client) == b"hello"
        network.behave("echo", "slow", 100.0)
        began = time.monotonic()
        assert _echoed(client) == b"hello"
        assert time.monotonic() - began >= 0.2  # there and back
        network.behave("echo", "narrow", 10_000.0)
        began = time.monotonic()
        assert len(_echoed(client, b"x" * 2_000)) == 2_000
        assert time.monotonic() - began >= 0.3
        network.behave("echo")
        assert _echoed(client) == b"hello"


def test_a_network_that_is_stalled_goes_on_where_it_was(network: Network) -> None:
    with closing(_connect(network)) as client:
        assert _echoed(client) == b"hello"
        network.behave("echo", "stalled")
        with pytest.raises(TimeoutError):
            _echoed(client)
        network.behave("echo")
        assert client.recv(100) == b"hello"


def test_a_half_open_connection_hears_nothing_and_is_reset_when_it_is_over(network: Network) -> None:
    with closing(_connect(network)) as client:
        assert _echoed(client) == b"hello"
        network.behave("echo", "half_open")
        with pytest.raises(TimeoutError):
            _echoed(client)
        network.behave("echo")
        with pytest.raises(OSError):
            _echoed(client)
    with closing(_connect(network)) as client:
        assert _echoed(client) == b"hello"


def test_a_network_that_is_cut_resets_and_refuses(network: Network) -> None:
    with closing(_connect(network)) as client:
        assert _echoed(client) == b"hello"
        network.behave("echo", "cut")
        with pytest.raises(OSError):
            _echoed(client)
    with pytest.raises(OSError), closing(_connect(network)) as client:
        _echoed(client)
    network.behave("echo")
    with closing(_connect(network)) as client:
        assert _echoed(client) == b"hello"


def test_a_disk_is_filled_to_its_last_byte_wherever_that_lies(tmp_path: Path) -> None:
    """Room that ends within a buffer of the end of a write: a rest that is held back fails when the file closes."""
    room = (1 << 17) + 63_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        fill(tmp_path / "filler")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "filler").stat().st_size == room


def test_the_report_is_made_whole_from_what_is_kept(tmp_path: Path) -> None:
    """A seed that ran again takes its old place; each fault has its recovery."""
    path = tmp_path / "seeds.json"
    faults = tuple(map(str, (Fault(3.0, "kill", "visits", 1.0), Fault(4.0, "clock", "gateway", 5.0, "", -90.0))))
    first = Result(2, faults, 1, "1 kinds differ", (1.5, None), 9.0, 60.0, 100)
    for result in (
        first,
        Result(1, (), 3, "equal", (), 1.0, 50.0, 10),
        msgspec.structs.replace(first, verdict="equal"),
    ):
        keep(result, path)
    assert [(each.seed, each.verdict) for each in read(path)] == [(1, "equal"), (2, "equal")]
    page = report(read(path))
    assert "| 2 | 1 | kill visits for 1 s: 1.5; clock of gateway -90 s for 5 s: never level | equal | 9.0 |" in page
    assert "2 schedules, 2 of them equal" in page
