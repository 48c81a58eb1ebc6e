"""The run folder: states, garbage, and who may be started, stopped or deleted."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from filelock import FileLock

from kdexplorer import processes, runs
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import ConfigError, RunError

CONFIG = ExperimentConfig(name="lab", dataset="synthetic", students=[{"name": "a", "architecture": "resnet8"}])
GARBAGE = [b"", b"{", b"[]", b"null", b"\xff\x00", b"[" * 100_000, b'{"state": ["running"]}', b'{"state": "flying"}']


@pytest.fixture
def run():
    return runs.create(CONFIG)


@pytest.fixture
def sleeper():
    """A living process that is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def write_status(run, state, process=None, **changes):
    identity = processes.identity(process.pid) if process else {}
    (run.path / "status.json").write_text(json.dumps({"state": state, **identity, **changes}))


def gone():
    """A pid and start time of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    facts = processes.identity(process.pid)
    process.communicate(b"\n")
    return facts


# --- States -----------------------------------------------------------------------------------------------


def test_a_new_run_is_queued_and_can_be_read_back(run, runs_root):
    assert run.path.parent == runs_root
    assert run.run_id.split("-")[2] == "lab"
    assert run.status()["state"] == "queued"
    assert run.config() == CONFIG
    assert run.metrics() == []
    assert run.log_tail() == ""
    assert runs.students(run) == []
    assert runs.find(run.run_id) == run


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_live_state_is_believed_only_while_its_process_lives(run, sleeper, state):
    write_status(run, state, sleeper)
    assert run.status()["state"] == state
    write_status(run, state, **gone())
    assert run.status()["state"] == "lost"
    assert "can be resumed" in run.status()["message"]


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_final_state_outlives_its_process(run, state):
    write_status(run, state, **gone())
    assert run.status()["state"] == state


def test_a_live_state_without_its_process_is_lost(run, sleeper):
    write_status(run, "running", sleeper, pid_started=processes.identity(sleeper.pid)["pid_started"] - 30)
    assert run.status()["state"] == "lost"


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda b: repr(b[:12]))
def test_garbage_in_the_folder_never_breaks_a_reader(run, garbage):
    for name in ("status.json", "metrics.jsonl", "config.json", "log.txt", "teacher.json"):
        (run.path / name).write_bytes(garbage)
    assert run.status()["state"] == ("lost" if garbage.startswith(b'{"') else "damaged")
    assert run.metrics() == []
    assert isinstance(run.log_tail(), str)
    assert runs.students(run) == []
    assert not (run.teacher(10) or {}).keys() & {"accuracy", "cross_entropy", "probe_labels"}
    with pytest.raises(ConfigError, match=r"config\.json"):
        run.config()
    assert [found.run_id for found in runs.list_runs()] == [run.run_id]


def test_a_run_without_a_configuration_is_damaged_and_cannot_be_started(run, sleeper):
    write_status(run, "running", sleeper)
    (run.path / "config.json").unlink()
    assert run.status()["state"] == "running"  # its trainer has read it: it can be stopped, not deleted
    write_status(run, "finished")
    assert run.status()["state"] == "damaged"
    with pytest.raises(RunError, match="is damaged"):
        runs.start(run)


def test_metrics_keep_what_can_be_read(run):
    good = [{"epoch": epoch, "student": "a", "test": {"accuracy": 0.5}} for epoch in range(3)]
    run.append_metrics(good[:2])
    bad = [b"", b"{", b"[1]", b'{"epoch": "1", "student": "a"}', b'{"epoch": 1}', b'{"epoch": 1, "student": []}']
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b"\n".join(bad) + b"\n")
    run.append_metrics(good[2:])
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"epoch": 3, "stud')  # the process was killed in the middle of a line
    assert run.metrics() == good
    run.drop_metrics_from(2)
    run.append_metrics([good[2]])
    assert (run.path / "metrics.jsonl").read_text() == "".join(json.dumps(row) + "\n" for row in good)


def test_metrics_that_are_not_numbers_are_refused(run):
    with pytest.raises(ValueError, match="JSON"):
        run.append_metrics([{"epoch": 0, "student": "a", "loss": float("nan")}])


def test_the_logs_tail_is_its_last_lines(run):
    (run.path / "log.txt").write_bytes("".join(f"line {n}\n" for n in range(5000)).encode() + b"\xff end")
    assert run.log_tail(2) == "line 4999\n\ufffd end"


# --- Names and folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../runs", "no-such-run", "a/../b", "/", "/etc", "~", "x" * 300, "a\0b", "\n"]
)
def test_path_tricks_find_no_run(run, name):
    with pytest.raises(RunError, match=r"(?s)there is no run .*runs list"):
        runs.find(name)


def test_a_run_is_found_by_the_path_of_its_folder(run, tmp_path):
    assert runs.find(str(run.path)).path == run.path
    (tmp_path / "not-a-run").mkdir()
    with pytest.raises(RunError):
        runs.find(str(tmp_path / "not-a-run"))


def test_the_list_has_the_newest_first_and_only_runs(runs_root):
    for name in ("20250101-000000-a-0000", "20260101-000000-a-0000", ".scrap", "not a run"):
        (runs_root / name).mkdir()
        (runs_root / name / "config.json").touch()
    (runs_root / "20270101-empty").mkdir()
    (runs_root / "file").touch()
    assert [run.run_id[:4] for run in runs.list_runs()] == ["2026", "2025"]
    assert runs.list_runs(runs_root / "nowhere") == []


def test_a_run_that_cannot_be_written_is_a_run_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="check the folder and the disk"):
        runs.create(CONFIG, tmp_path / "file")


# --- Starting, stopping, deleting -------------------------------------------------------------------------


@pytest.fixture
def popen(monkeypatch):
    """Stands in for the trainer: remembers how it was called, and sleeps."""
    calls, real = [], subprocess.Popen

    def start(arguments, **options):
        calls.append((arguments, options))
        return real([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)

    monkeypatch.setattr(runs.subprocess, "Popen", start)
    yield calls
    for child in processes._children:
        child.kill()
        child.wait()
    processes._children.clear()


def wait_until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_launch_starts_a_process_of_its_own_that_outlives_its_caller(popen):
    run = runs.launch(CONFIG)
    ((arguments, options),) = popen
    assert arguments[:4] == [sys.executable, "-m", "kdexplorer", "resume"]
    assert arguments[4] == str(run.path.resolve())
    assert options["start_new_session"]
    assert options["stdin"] == subprocess.DEVNULL
    assert "shell" not in options
    status = run.status()
    assert status["state"] == "queued"
    assert status["pid"] == processes._children[-1].pid != os.getpid()
    assert psutil.Process(status["pid"]).nice() > psutil.Process().nice()  # the pages go first


def test_a_live_run_cannot_be_started_twice_nor_deleted_and_stops_on_request(popen):
    run = runs.launch(CONFIG)
    with pytest.raises(RunError, match=r"is queued.*nothing to start"):
        runs.start(run)
    with pytest.raises(RunError, match="still alive: stop it first"):
        runs.delete(run)
    assert len(popen) == 1
    runs.stop(run)
    assert wait_until(lambda: run.status()["state"] == "lost")  # the stand-in dies of SIGTERM
    assert processes._children[-1].returncode == -signal.SIGTERM
    with pytest.raises(RunError, match=r"is lost.*nothing to stop"):
        runs.stop(run)
    runs.start(run)
    assert len(popen) == 2
    assert run.status()["state"] == "queued"


@pytest.mark.parametrize("state", ["finished", "running"])
def test_what_is_finished_or_running_cannot_be_started(run, sleeper, popen, state):
    write_status(run, state, sleeper)
    with pytest.raises(RunError, match=f"is {state}"):
        runs.start(run)
    assert popen == []


def test_starting_keeps_what_the_trainer_has_already_written(run, monkeypatch, popen):
    start = runs.subprocess.Popen

    def quick(arguments, **options):
        process = start(arguments, **options)
        write_status(run, "running", psutil.Process(process.pid), epoch=3)
        return process

    monkeypatch.setattr(runs.subprocess, "Popen", quick)
    runs.start(run)
    assert (run.status()["state"], run.status()["epoch"]) == ("running", 3)


def test_a_run_that_has_not_started_is_not_stopped_by_killing_its_caller(run):
    with pytest.raises(RunError, match="has not started yet"):
        runs.stop(run)


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "lost"])
def test_a_run_that_is_over_is_deleted_whole(run, state):
    write_status(run, state)
    (run.path / "a").mkdir()
    (run.path / "a" / "card.json").touch()
    runs.delete(run)
    assert not run.path.exists()


def test_nothing_outside_the_runs_folder_is_deleted(run, runs_root, tmp_path):
    write_status(run, "finished")
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (runs_root / "link").symlink_to(outside)
    (runs_root / "inside").symlink_to(run.path)
    tricks = [
        outside,
        runs_root,
        runs_root / "..",
        runs_root / "link",
        runs_root / "inside",
        run.path / "..",
        run.path / "a",
    ]
    for path in tricks:
        with pytest.raises(RunError, match="nothing was deleted"):
            runs.delete(runs.Run(path))
    assert (outside / "config.json").exists()
    assert (run.path / "config.json").exists()


@pytest.mark.parametrize("name", ["sweeps", "imported"])
def test_what_else_lies_among_the_runs_is_no_run(runs_root, name):
    inside = runs_root / name / "precious"
    inside.mkdir(parents=True)
    (inside / "config.json").write_text("{}")
    with pytest.raises(RunError, match="there is no run"):
        runs.find(name)
    with pytest.raises(RunError, match="nothing was deleted"):
        runs.delete(runs.Run(runs_root / name))
    assert (inside / "config.json").exists()


def test_a_trainer_that_holds_the_run_keeps_it_from_being_deleted(run):
    write_status(run, "finished")
    with FileLock(run.path / ".lock"), pytest.raises(RunError, match="still alive"):
        runs.delete(run)
    runs.delete(run)


def test_finished_students_are_listed_in_the_configurations_order():
    names = ["b", "a", "c"]
    run = runs.create(
        CONFIG.model_copy(update={"students": [CONFIG.students[0].model_copy(update={"name": n}) for n in names]})
    )
    for name in ("a", "b"):
        (run.path / name).mkdir()
        (run.path / name / "card.json").touch()
    assert [path.name for path in runs.students(run)] == ["b", "a"]


def test_the_status_says_who_writes_it(run):
    run.write_status("running", "training", epoch=2)
    status = json.loads((run.path / "status.json").read_text())
    assert status["pid"] == os.getpid()
    assert {key: status[key] for key in ("pid", "pid_started", "boot")} == processes.identity()
    assert abs(status["heartbeat"] - time.time()) < 5
    assert (status["state"], status["epoch"]) == ("running", 2)
    assert run.status()["state"] == "running"


# --- Garbage that is JSON ---------------------------------------------------------------------------------


ODD = [None, True, -1, 10**400, 1e300, float("nan"), float("inf"), "9", [], {}, "<script>"]


@pytest.mark.parametrize("key", [*runs.COUNTS, *runs.MESSAGES])
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
def test_a_status_says_only_what_can_be_shown(run, key, value):
    write_status(run, "stopped", **{key: value})
    shown = run.status()
    assert shown["state"] == "stopped"
    if key in runs.MESSAGES:
        assert key not in shown or isinstance(shown[key], str)
    else:
        assert key not in shown or 0 <= shown[key] < 1e15


def test_lines_that_no_run_writes_are_no_metrics(run):
    odd = [-1, True, 10**400, 1.5, "0", None, [0]]
    lines = [{"epoch": epoch, "student": "a"} for epoch in odd]
    lines += [{"epoch": 0, "student": name} for name in ("../a", "", 7, None, "<b>", "x" * 100)]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.metrics() == []


def test_a_teachers_figures_are_numbers_and_classes(run):
    path = run.path / "teacher.json"
    path.write_text(json.dumps({"accuracy": 0.9, "cross_entropy": 0.3, "probe_labels": [0, 9], "probes": [[1.0]]}))
    assert run.teacher(10) == json.loads(path.read_text())
    path.write_text(json.dumps({"accuracy": "high", "cross_entropy": float("nan"), "probe_labels": [10]}))
    assert run.teacher(10) == {}


# --- What the disk refuses, and what comes at once --------------------------------------------------------


def refuse(number):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_run_that_the_disk_refuses_leaves_nothing_half_made(runs_root, monkeypatch, number):
    monkeypatch.setattr(runs, "write_json", refuse(number))
    with pytest.raises(RunError, match="check the folder and the disk"):
        runs.create(CONFIG)
    assert list(runs_root.iterdir()) == []


def test_a_read_only_folder_is_a_sentence_and_starts_nothing(run, popen, monkeypatch):
    write_status(run, "stopped")
    monkeypatch.setattr("builtins.open", refuse(errno.EROFS))
    with pytest.raises(RunError, match=r"cannot be started .Read-only file system"):
        runs.start(run)
    monkeypatch.undo()
    assert popen == []
    assert run.status()["state"] == "stopped"


def test_a_run_that_cannot_be_deleted_stays_whole(run, monkeypatch):
    write_status(run, "finished")
    monkeypatch.setattr(runs.Path, "rename", refuse(errno.EROFS))
    with pytest.raises(RunError, match=r"Read-only file system.: nothing was deleted"):
        runs.delete(run)
    assert run.status()["state"] == "finished"
    assert run.config() == CONFIG


def test_a_deletion_that_ends_in_the_middle_leaves_no_half_of_a_run(run, runs_root, monkeypatch):
    write_status(run, "finished")
    monkeypatch.setattr(runs.shutil, "rmtree", refuse(errno.EIO))
    with pytest.raises(RunError, match="gone from the list; some of its files stay"):
        runs.delete(run)
    assert runs.list_runs() == []
    assert not run.path.exists()


def test_two_tabs_that_start_one_run_start_one_trainer(run, popen):
    write_status(run, "stopped")
    said = []

    def press():
        try:
            runs.start(run)
        except RunError as error:
            said.append(str(error))

    tabs = [threading.Thread(target=press) for _ in range(6)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert len(popen) == 1
    assert len(said) == 5
    assert all("is queued: there is nothing to start" in sentence for sentence in said)


def test_a_run_that_was_recycled_is_not_signalled(run, sleeper, monkeypatch):
    """Between the look at the status and the signal, the pid goes to another process."""
    write_status(run, "running", sleeper)
    monkeypatch.setattr(runs.processes, "live", lambda facts: None)
    monkeypatch.setattr(runs.Run, "status", lambda self: {"state": "running", "pid": sleeper.pid})
    runs.stop(run)
    assert sleeper.is_running()
    assert sleeper.status() != psutil.STATUS_ZOMBIE


def test_a_folder_that_was_there_is_never_removed(runs_root):
    theirs = runs_root / "20260101-000000-lab-0000"
    theirs.mkdir(parents=True)
    (theirs / "weights").write_bytes(b"w")
    with pytest.raises(RunError, match="File exists"):
        runs.create(CONFIG, run_id=theirs.name)
    assert (theirs / "weights").read_bytes() == b"w"


def test_a_launch_that_cannot_start_is_a_failed_run_and_not_a_waiting_one(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", refuse(errno.ENOMEM))
    with pytest.raises(RunError, match="cannot be started"):
        runs.launch(CONFIG)
    (run,) = runs.list_runs()
    assert run.status()["state"] == "failed"
    runs.delete(run)
