"""Files and folders appear complete or not at all."""

import errno
import json
import os

import pytest

from kdexplorer import files
from kdexplorer.errors import DataError
from kdexplorer.files import LineReader
from kdexplorer.runs.run_folder import EpochMetrics
from tests.accidents import refuse

_full_disk = refuse(errno.ENOSPC)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch, call):
    path = tmp_path / "state"
    files.write_bytes(path, b"good")
    monkeypatch.setattr(files.os, call, _full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_bytes(path, b"newer")
    assert path.read_bytes() == b"good"
    assert names(tmp_path) == {"state"}


def before_the_first_rename(monkeypatch, target, do):
    """Something else happens just before a folder gets that name."""
    replace, todo = os.replace, [do]

    def rename(source, destination):
        if destination == target and todo:
            todo.pop()()
        replace(source, destination)

    monkeypatch.setattr(files.os, "replace", rename)


def test_a_new_folder_that_is_interrupted_or_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with files.new_folder(target) as folder:
        (folder / "good").touch()
    for error in (OSError, KeyboardInterrupt):
        with pytest.raises(error), files.new_folder(target):
            raise error
        assert (names(target), names(tmp_path)) == ({"good"}, {"folder"})
    before_the_first_rename(monkeypatch, target, _full_disk)
    with pytest.raises(OSError, match="No space"), files.new_folder(target) as folder:
        (folder / "new").touch()
    assert (names(target), names(tmp_path)) == ({"good"}, {"folder"})


def test_of_two_that_make_the_same_folder_at_once_the_last_one_stays(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    before_the_first_rename(monkeypatch, target, lambda: (target / "theirs").mkdir(parents=True))
    with files.new_folder(target) as folder:
        (folder / "ours").touch()
    assert (names(target), names(tmp_path)) == ({"ours"}, {"folder"})


def test_what_a_killed_writer_left_is_removed(tmp_path):
    files.write_bytes(tmp_path / "state", b"good")
    (tmp_path / ".state.abc").write_bytes(b"half")
    (tmp_path / ".state.folder").mkdir()
    (tmp_path / ".stateful").touch()
    files.remove_leftovers(tmp_path / "state")
    assert names(tmp_path) == {"state", ".stateful"}


def test_deep_nesting_is_no_json_and_a_number_of_many_digits_overflows_nowhere():
    assert files.parse_json(b"[" * 30 + b"]" * 30)
    for text in ("[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, "[" * 100_000):
        with pytest.raises((ValueError, RecursionError)):
            files.parse_json(text.encode())
    value = files.parse_json(b"[123456789012345, 1234567890123456, 1" + b"0" * 5000 + b"]")
    assert value == [123456789012345, 1234567890123456.0, float("inf")]
    assert [type(number) for number in value] == [int, float, float]


def test_a_file_is_read_once_for_each_version(tmp_path):
    path, calls = tmp_path / "file", []

    def read(path):
        calls.append(path)
        if not path.exists():
            raise DataError("it is missing")
        return path.read_text()

    with pytest.raises(DataError, match="missing"):
        files.read_once(read, path)
    for text in ("one", "two and more"):
        files.write_bytes(path, text.encode())
        assert [files.read_once(read, path) for _ in range(3)] == [text] * 3
    assert len(calls) == 3


def line(epoch):
    return json.dumps({"epoch": epoch, "student": "a"}) + "\n"


def epochs(reader):
    return [row.epoch for row in reader.read()]


def test_only_new_lines_are_parsed(tmp_path, monkeypatch):
    parsed, parse = [], files.parse_json
    monkeypatch.setattr(files, "parse_json", lambda line: parsed.append(line) or parse(line))
    path = tmp_path / "metrics.jsonl"
    reader = LineReader(path, EpochMetrics)
    assert epochs(reader) == []
    path.write_text("".join(line(epoch) for epoch in range(50)))
    assert [epochs(reader) for _ in range(3)] == [list(range(50))] * 3
    assert len(parsed) == 50
    first = reader.read()
    with open(path, "a") as file:
        file.write(line(50) + line(51)[:10])
    assert epochs(reader) == list(range(51))
    with open(path, "a") as file:
        file.write(line(51)[10:])
    assert epochs(reader) == list(range(52))
    assert len(parsed) == 52
    assert len(first) == 50  # what was returned does not change


def test_a_file_that_was_replaced_shortened_or_removed_is_read_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    reader = LineReader(path, EpochMetrics)
    path.write_text(line(0) + line(1))
    assert epochs(reader) == [0, 1]
    path.write_text(line(5) + line(6))  # in place, as long as before
    assert epochs(reader) == [5, 6]
    path.write_text(line(7))
    assert epochs(reader) == [7]
    (tmp_path / "new").write_text(line(7) + line(8))
    (tmp_path / "new").rename(path)
    assert epochs(reader) == [7, 8]
    path.unlink()
    assert epochs(reader) == []


def test_what_is_read_of_a_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_ROWS", 3)
    monkeypatch.setattr(files, "MAX_LINE", 100)
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    path = tmp_path / "metrics.jsonl"
    path.write_text("x" * 250 + "\n" + "".join(line(epoch) for epoch in range(5)))
    assert epochs(LineReader(path, EpochMetrics)) == [0, 1, 2]
    path.write_text("x" * 5000 + "\n" + line(0))
    assert epochs(LineReader(path, EpochMetrics)) == []
