"""Lines that are added while a run trains: each is parsed once, and a file that was replaced is read anew."""

import json

import pytest

from kdexplorer import files
from kdexplorer.files import LineReader
from kdexplorer.runs.run_folder import EpochMetrics


@pytest.fixture
def parsed(monkeypatch):
    """The lines that were parsed, in order."""
    seen, parse = [], files.parse_json
    monkeypatch.setattr(files, "parse_json", lambda line: seen.append(line) or parse(line))
    return seen


def line(epoch, student="a"):
    return json.dumps({"epoch": epoch, "student": student}) + "\n"


def epochs(reader):
    return [row.epoch for row in reader.read()]


def test_only_new_lines_are_parsed(tmp_path, parsed):
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
