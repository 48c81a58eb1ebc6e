"""Files and folders that are there whole or not at all."""

import errno
import os

import pytest

from kdexplorer import files


def _full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_write_bytes_replaces_the_whole_file(tmp_path):
    path = tmp_path / "state"
    files.write_bytes(path, b"old and long")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == {"state"}
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_no_scrap(tmp_path, monkeypatch, call):
    path = tmp_path / "state"
    files.write_bytes(path, b"good")
    monkeypatch.setattr(files.os, call, _full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_bytes(path, b"newer")
    assert path.read_bytes() == b"good"
    assert names(tmp_path) == {"state"}


def test_write_json_refuses_not_a_number_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "status.json"
    files.write_json(path, {"loss": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"loss": float("nan")})
    assert files.read_json(path) == {"loss": 1.5}


@pytest.mark.parametrize(
    "garbage", [b"", b'{"a": 1', b"[1]", b"null", b"\xff\xfe\x00", b"[" * 100_000], ids=lambda b: repr(b[:8])
)
def test_read_json_takes_garbage_for_absent(tmp_path, garbage):
    path = tmp_path / "status.json"
    path.write_bytes(garbage)
    assert files.read_json(path) is None
    assert files.read_json(tmp_path / "missing") is None
    assert files.read_json(tmp_path) is None


def test_new_folder_appears_only_when_complete(tmp_path):
    target = tmp_path / "deep" / "folder"
    with files.new_folder(target) as scrap:
        (scrap / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert names(target.parent) == {"folder"}


def test_new_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("first", "second"):
        with files.new_folder(target) as scrap:
            (scrap / name).touch()
    assert names(target) == {"second"}
    assert names(tmp_path) == {"folder"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_new_folder_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "folder"
    with files.new_folder(target) as scrap:
        (scrap / "good").touch()

    def interrupted():
        with files.new_folder(target) as scrap:
            (scrap / "half").touch()
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(target) == {"good"}
    assert names(tmp_path) == {"folder"}


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target, replace = tmp_path / "folder", os.replace
    with files.new_folder(target) as scrap:
        (scrap / "good").touch()
    refused = []

    def refuse_once(source, destination):
        if destination == target and not refused:
            refused.append(source)
            _full_disk()
        replace(source, destination)

    monkeypatch.setattr(files.os, "replace", refuse_once)
    with pytest.raises(OSError, match="No space"), files.new_folder(target) as scrap:
        (scrap / "new").touch()
    assert names(target) == {"good"}
    assert names(tmp_path) == {"folder"}
