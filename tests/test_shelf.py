"""Files of a state: whatever is cut, flipped or missing is detected and said, and nothing is answered from it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contacts.archive import Damaged
from contacts.people import Directory
from streams.people_file import PeopleFile
from streams.shelf import FileShelf
from streams.snapshots import SnapshotStore

ARRAYS = {
    "words": np.arange(5000, dtype=np.int64) * 77,
    "begins": np.arange(9, dtype=np.uint32),
    "mine": np.arange(5000, dtype=np.int64)[::-1],
    "exact": np.arange(5000, dtype=np.int64) ** 2,
}
HEAD_END = 400
"""The head of the file is shorter than this."""


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 0x10]))


def cut(path: Path, size: int) -> None:
    """Cut a file short."""
    with path.open("r+b") as file:
        file.truncate(size)


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """What a new process reads of a file, checked as before a first look."""
    shelf = FileShelf(folder)
    arrays = shelf.get(name)
    shelf.check(name)
    return {key: np.array(array) for key, array in arrays.items()}


def test_what_is_put_is_got(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "home")
    assert shelf.last == 0
    for number, arrays in enumerate((ARRAYS, {key: array[:0] for key, array in ARRAYS.items()}, ARRAYS), 1):
        name, mapped = shelf.put(arrays)
        assert (name, shelf.last) == (f"segment-{number}", number)
        shelf.check(name)
        for found in (mapped, read(tmp_path / "home", name)):
            assert found.keys() == arrays.keys()
            for key, array in arrays.items():
                assert found[key].dtype == array.dtype
                assert np.array_equal(found[key], array)
    assert FileShelf(tmp_path / "home").last == 3


def test_a_flipped_bit_anywhere_is_detected(tmp_path: Path) -> None:
    """In the head, in each array, at its ends; padding means nothing and may be anything."""
    name, _ = FileShelf(tmp_path).put(ARRAYS)
    path, sound = tmp_path / name, tmp_path / "sound"
    content = path.read_bytes()
    path.rename(sound)
    begins = [content.index(array.tobytes()[:32]) for array in ARRAYS.values()]
    ends = [begin + array.nbytes for begin, array in zip(begins, ARRAYS.values(), strict=True)]
    head = int.from_bytes(content[8:12], "big") + 20
    inner = (begin + 1234 for begin, array in zip(begins, ARRAYS.values(), strict=True) if array.nbytes > 1234)
    places = [*range(head), *begins, *(end - 1 for end in ends), *inner]
    for place in places:
        shutil.copy(sound, path)
        flip(path, place)
        with pytest.raises(Damaged, match=r"segment-1 of a snapshot cannot be used: .*rebuilt from the topic"):
            read(tmp_path, name)
    shutil.copy(sound, path)
    flip(path, head + 1)
    assert np.array_equal(read(tmp_path, name)["exact"], ARRAYS["exact"])


def test_a_file_cut_short_is_detected(tmp_path: Path) -> None:
    """Nothing of it, a piece of the head, a piece of the arrays, all but the last byte; longer is wrong as well."""
    name, _ = FileShelf(tmp_path).put(ARRAYS)
    path = tmp_path / name
    content = path.read_bytes()
    for size in (0, 1, 7, 8, 11, 12, 13, 100, HEAD_END, 4095, 4096, 4097, 20_000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(Damaged):
            read(tmp_path, name)
    path.write_bytes(content + b"\0")
    with pytest.raises(Damaged):
        read(tmp_path, name)
    path.unlink()
    with pytest.raises(Damaged, match="cannot be read"):
        read(tmp_path, name)


def test_a_damaged_file_is_not_there_at_the_next_start(tmp_path: Path) -> None:
    """It is found by a look in the middle of work: the worker ends, and must not find it again."""
    name, _ = FileShelf(tmp_path).put(ARRAYS)
    flip(tmp_path / name, 9000)
    shelf = FileShelf(tmp_path)
    shelf.get(name)
    with pytest.raises(Damaged):
        shelf.check(name)
    with pytest.raises(Damaged, match="cannot be read"):
        FileShelf(tmp_path).get(name)


def test_no_file_is_written_over_another(tmp_path: Path) -> None:
    """Two shelves in one folder, as when a worker goes on while another has not noticed: each file stays as it was."""
    first, second = FileShelf(tmp_path), FileShelf(tmp_path)
    names = [first.put(ARRAYS)[0], second.put({"words": ARRAYS["mine"]})[0], first.put(ARRAYS)[0]]
    assert len(set(names)) == 3
    assert read(tmp_path, names[0]).keys() == ARRAYS.keys()
    assert np.array_equal(read(tmp_path, names[1])["words"], ARRAYS["mine"])


def store(folder: Path, cluster: str = "c") -> SnapshotStore:
    """The snapshots of a folder."""
    return SnapshotStore(folder, cluster, "p.")


def segments(folder: Path) -> set[str]:
    """The segment files there are."""
    return {path.name for path in folder.glob("segment-*")}


def test_files_are_swept_when_no_snapshot_has_them(tmp_path: Path) -> None:
    """Files of before the first snapshot, dropped ones, and ones between two snapshots go; those written since stay."""
    snapshots = store(tmp_path)
    home = snapshots.home("visits", 0)
    FileShelf(home).put(ARRAYS)  # by a worker that was killed before its first snapshot
    shelf = FileShelf(home)
    names = [shelf.put(ARRAYS)[0] for _ in range(3)]
    shelf.drop(names[1])
    dumped: dict[str, bytes | None] = {"shelf": b"4", names[0]: None, names[2]: None, "small": b"x"}
    after = shelf.put(ARRAYS)[0]
    snapshots.write("visits", 0, 5, dumped)
    assert segments(home) == {names[0], names[2], after}
    between = shelf.put(ARRAYS)[0]
    shelf.drop(between)
    shelf.drop(names[0])
    snapshots.write("visits", 0, 6, {"shelf": b"6", names[2]: None, after: None, "small": b"y"})
    assert segments(home) == {names[2], after}
    late = shelf.put(ARRAYS)[0]
    manifest = store(tmp_path).manifest("visits", 0)
    assert manifest is not None
    assert segments(home) == {names[2], after, late}
    assert store(tmp_path).read("visits", 0, manifest) == {"shelf": b"6", "small": b"y"}
    assert segments(home) == {names[2], after}


@pytest.mark.parametrize("spoil", [lambda path: flip(path, 3), lambda path: cut(path, 2), Path.unlink])
def test_a_damaged_part_throws_the_snapshot_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    snapshots = store(tmp_path)
    snapshots.write("visits", 0, 5, {"a": b"first part", "b": b"second part"})
    spoil(snapshots.home("visits", 0) / "b.1")
    manifest = snapshots.manifest("visits", 0)
    assert manifest is not None
    with caplog.at_level(logging.WARNING):
        assert snapshots.read("visits", 0, manifest) is None
    assert "The snapshot of visits, partition 0, is thrown away, its state rebuilt: " in caplog.text
    assert list(snapshots.home("visits", 0).iterdir()) == []


def test_a_damaged_manifest_throws_the_snapshot_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever a bit of it flips, and however short it is cut."""
    snapshots = store(tmp_path)
    snapshots.write("visits", 0, 5, {"a": b"first part"})
    path = snapshots.home("visits", 0) / "manifest"
    sound = path.read_bytes()
    for size in range(len(sound)):
        for spoil in (flip, cut):
            path.write_bytes(sound)
            spoil(path, size)
            caplog.clear()
            assert snapshots.manifest("visits", 0) is None
            assert "is thrown away, its state rebuilt: its manifest cannot be read" in caplog.text


def test_another_cluster_s_snapshot_is_set_aside_with_its_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = store(tmp_path)
    home = snapshots.home("visits", 0)
    name, _ = FileShelf(home).put(ARRAYS)
    snapshots.write("visits", 0, 5, {"shelf": b"1", name: None})
    assert store(tmp_path, "other").manifest("visits", 0) is None
    assert "it is set aside" in caplog.text
    assert list(home.iterdir()) == []
    assert segments(home.with_name(f"{home.name}.set-aside-1")) == {name}


def persons(first: int, last: int) -> list[str]:
    """Names of persons."""
    return [f"k1:{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}" for number in range(first, last)]


def opened(folder: Path, cluster: str = "c") -> PeopleFile:
    """The directory as a new process finds it."""
    return PeopleFile(folder, "people-0", cluster)


def test_a_directory_comes_back(tmp_path: Path) -> None:
    """Names are appended and forgotten over many writes and pieces; each start finds what the last write left."""
    file = opened(tmp_path)
    file.people.take(["somebody else", *persons(0, 70_000)])
    file.sync()()
    first = file.people.id
    for start in (70_000, 140_000):
        file = opened(tmp_path)
        assert (file.people.id, len(file.people)) == (first, start + 1)
        file.people.take(persons(start, start + 70_000))
        file.sync()()
        gone = [0, 5, 65_535, 65_536, start + 70_000]
        file.forget([number for number in gone if file.people.named[number]], {3})
        file.sync()()
        file.sync()()
        again = opened(tmp_path)
        assert [again.people.name(number) for number in gone] == [""] * 5
        assert again.people.find(persons(6, 9)).tolist() == [7, 8, 9]
        assert again.people.epoch == file.people.epoch
        again.check(0, file.people.stamp())
    keys = (tmp_path / "people-0.keys").read_bytes()
    for name, held in ((persons(4, 5)[0], False), (persons(6, 7)[0], True)):
        assert (bytes.fromhex(name[3:19])[::-1] in keys) is held


def test_writes_happen_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    """A later call that comes first does the earlier work too: what was forgotten in between stays so."""
    file = opened(tmp_path)
    file.people.take(persons(0, 10))
    first = file.sync()
    file.forget([3], ())
    file.people.take(persons(10, 12))
    second = file.sync()
    second()
    for _ in range(2):
        again = opened(tmp_path)
        assert (len(again.people), again.people.epoch, again.people.name(3)) == (12, 1, "")
        first()


@pytest.mark.parametrize("when", ["keys", "head", "wipe"])
def test_a_crash_in_the_middle_of_a_write_loses_nothing(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the head is there the directory is the one before; after that the wipe is finished by the next start."""
    file = opened(tmp_path)
    file.people.take(persons(0, 100))
    file.sync()()
    file.forget([7, 8], ())
    file.people.take(persons(100, 120))
    write = file.sync()

    class Killed(Exception):
        """In place of the crash."""

    def dies(*_: object) -> None:
        raise Killed

    if when == "keys":
        monkeypatch.setattr("streams.people_file.replace_durably", dies)
    elif when == "head":
        monkeypatch.setattr(PeopleFile, "_wipe", dies)
    else:
        monkeypatch.setattr("streams.people_file.make_durable", _second_time(dies))
    with pytest.raises(Killed):
        write()
    monkeypatch.undo()
    again = opened(tmp_path)
    assert caplog.text == ""
    assert again.people.id == file.people.id
    if when == "keys":
        assert (len(again.people), again.people.name(7)) == (100, persons(7, 8)[0])
    else:
        assert (len(again.people), again.people.name(7)) == (120, "")
        assert bytes.fromhex(persons(7, 8)[0][3:19])[::-1] not in (tmp_path / "people-0.keys").read_bytes()
    assert again.people.find(persons(0, 3)).tolist() == [0, 1, 2]


def _second_time(do: Callable[..., None]) -> Callable[..., None]:
    calls: list[None] = []

    def call(file: object) -> None:
        calls.append(None)
        if len(calls) == 2:
            do()

    return call


@pytest.mark.parametrize("name", ["people-0.keys", "people-0.head"])
def test_a_damaged_directory_is_not_used(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Any bit of it, any length: another directory begins, and says so; states numbered by the old one do not load."""
    file = opened(tmp_path)
    file.people.take(["other", *persons(0, 30)])
    file.sync()()
    stamp = file.people.stamp()
    sound = {path: path.read_bytes() for path in tmp_path.iterdir()}
    path = tmp_path / name
    for size in range(0, len(sound[path]), 13):
        for spoil in (flip, cut):
            for each, content in sound.items():
                each.write_bytes(content)
            spoil(path, size)
            caplog.clear()
            again = opened(tmp_path)
            assert "The directory of persons cannot be used: " in caplog.text
            assert len(again.people) == 0
            with pytest.raises(ValueError, match="another directory"):
                again.check(0, stamp)
            again.people.take(persons(5, 6))
            again.sync()()
            assert opened(tmp_path).people.name(0) == persons(5, 6)[0]


def test_damage_in_any_piece_of_a_directory_is_detected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first and the last byte of each piece of keys, and a file that ends with one of them."""
    file = opened(tmp_path)
    file.people.take(persons(0, 140_000))
    file.sync()()
    sound = {path: path.read_bytes() for path in tmp_path.iterdir()}
    path = tmp_path / "people-0.keys"
    piece = 65_536 * 17
    for place in (0, piece - 1, piece, 2 * piece - 1, 2 * piece, len(sound[path]) - 1):
        for spoil in (flip, cut):
            for each, content in sound.items():
                each.write_bytes(content)
            spoil(path, place)
            caplog.clear()
            assert len(opened(tmp_path).people) == 0
            assert "its keys are " in caplog.text
    for each, content in sound.items():
        each.write_bytes(content)
    assert opened(tmp_path).people.find(persons(139_000, 139_002)).tolist() == [139_000, 139_001]


def test_a_directory_that_is_another_s_or_gone_is_not_used(tmp_path: Path) -> None:
    for spoil in ("cluster", "people-0.head", "people-0.keys"):
        file = opened(tmp_path)
        file.people.take(["a"])
        file.sync()()
        stamp = file.people.stamp()
        if spoil != "cluster":
            (tmp_path / spoil).unlink()
        again = opened(tmp_path, "other" if spoil == "cluster" else "c")
        with pytest.raises(ValueError, match="another directory"):
            again.check(0, stamp)
        again.people.take(["b"])
        again.sync()()


def test_who_was_away_when_persons_were_forgotten_is_rebuilt(tmp_path: Path) -> None:
    """A partition's snapshot from before persons were forgotten does not fit, if it was elsewhere then."""
    file = opened(tmp_path)
    file.people.take(["a", "b"])
    stamp = file.people.stamp()
    file.forget([0], {2})
    file.sync()()
    for each in (file, opened(tmp_path)):
        each.check(1, stamp)
        with pytest.raises(ValueError, match="elsewhere"):
            each.check(2, stamp)
        each.check(2, each.people.stamp())


def test_an_old_format_is_said_and_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files of a version before this one have no digest in front."""
    (tmp_path / "people-0.keys").write_bytes(Directory().keys(0, 0).tobytes())
    (tmp_path / "people-0.head").write_bytes(msgspec.msgpack.encode({"cluster": "c", "count": 0}))
    assert len(opened(tmp_path).people) == 0
    assert "its head is damaged" in caplog.text
