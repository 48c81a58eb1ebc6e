"""The run folder: states, damaged files, names, and what the trainer writes."""

import json
import os
import time

import pytest

from kdexplorer.errors import ConfigError, RunError
from kdexplorer.runs import run_folder
from kdexplorer.runs.launch import create_run, start_run
from kdexplorer.runs.run_folder import BatchMetrics, EpochMetrics, Run, TeacherMeasures
from tests.runs.conftest import CONFIG

GARBAGE = [b"", b"{", b"[]", b"null", b"\xff\x00", b"[" * 100_000, b'{"state": ["running"]}', b'{"state": "flying"}']


@pytest.mark.parametrize("state", ["queued", "running", "finished", "stopped", "failed"])
def test_only_a_final_state_outlives_its_process(run, sleeper, state):
    run.write_status(state, pid=sleeper.pid)
    assert run.status().state == state
    sleeper.kill()
    sleeper.wait()
    is_live = state in ("queued", "running")
    assert run.status().state == ("lost" if is_live else state)
    assert ("resumed" in run.status().message) == is_live


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda b: repr(b[:12]))
def test_garbage_in_the_folder_never_breaks_a_reader(run, garbage):
    for name in ("status.json", "metrics.jsonl", "config.json", "log.txt", "teacher.json"):
        (run.path / name).write_bytes(garbage)
    assert run.status().state == "damaged"
    assert run.metrics() == []
    assert run.log_tail() == garbage.decode(errors="replace")[-4000:]
    assert run_folder.finished_students(run) == []
    assert run.teacher(10) in (None, TeacherMeasures())
    with pytest.raises(ConfigError, match=r"config\.json"):
        run.config()
    assert [found.run_id for found in run_folder.list_runs()] == [run.run_id]


def test_a_run_without_a_valid_configuration_is_damaged_unless_it_is_running_and_says_why(run, sleeper):
    run.write_status("running", pid=sleeper.pid)
    (run.path / "config.json").unlink()
    assert run.status().state == "running"  # its trainer has read it: it can be stopped, not deleted
    run.write_status("finished")
    assert run.status().state == "damaged"
    (run.path / "config.json").write_text(CONFIG.model_copy(update={"epochs": 0}).model_dump_json())
    assert run.status().message.startswith("'config.json': epochs: should be greater than or equal to 1")
    assert str(run.path) not in run.status().message


def metrics(epoch, accuracy=0.5):
    return EpochMetrics(epoch=epoch, student="a", test={"accuracy": accuracy})


def test_metrics_keep_what_can_be_read(run):
    good = [metrics(epoch) for epoch in range(3)]
    run.append_metrics(good[:2])
    bad = [{"epoch": epoch, "student": "a"} for epoch in (-1, True, 10**400, 1.5, "0", None, [0])]
    bad += [{"epoch": 0, "student": name} for name in ("../a", "", 7, None, [], "<b>", "x" * 100)]
    bad += [{"epoch": 0, "student": "a", "test": test} for test in ([], {"accuracy": "high"}, {"kd": float("inf")})]
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write("\n".join(["", "{", "[1]", '{"epoch": 1}', *map(json.dumps, bad)]) + "\n")
    run.append_metrics(good[2:])
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"epoch": 3, "stud')  # the process was killed in the middle of a line
    assert run.metrics() == good
    run.drop_metrics_from(2, 0, 5)
    run.append_metrics([metrics(2, accuracy=0.75)])
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [EpochMetrics.model_validate_json(line) for line in lines] == [*good[:2], metrics(2, accuracy=0.75)]


def test_lines_within_epochs_are_dropped_from_the_step_that_is_done_again(run):
    lines = [BatchMetrics(epoch=epoch, student="a", train={"accuracy": 0.5}) for epoch in (0.5, 1.0, 1.4, 1.6)]
    run.append_batch_metrics(lines)
    with open(run.path / "batches.jsonl", "ab") as file:
        file.write(b'{"epoch": 1.8, "stud')
    assert run.readers()[1].read() == lines
    run.drop_metrics_from(1, 2, 5)
    assert run.readers()[1].read() == lines[:3]
    assert (run.path / "batches.jsonl").read_bytes().count(b"\n") == 3


def test_a_teachers_figures_are_numbers_and_classes(run):
    path = run.path / "teacher.json"
    facts = {
        "name": "resnet56", "accuracy": 0.9, "cross_entropy": 0.3, "probe_labels": [0, 9], "probes": [[1.0]],
        "note": "",
    }  # fmt: skip
    path.write_text(json.dumps(facts))
    assert run.teacher(10).model_dump() == facts
    assert run.teacher(9).model_dump() == facts | {"probe_labels": []}
    path.write_text(json.dumps({"accuracy": "high", "cross_entropy": float("nan"), "probe_labels": [-1], "probes": 3}))
    assert run.teacher(10) == TeacherMeasures()


def test_the_log_is_appended_to_until_the_block_ends_and_its_tail_is_its_last_lines(run):
    for number in (1, 2):
        with run.log() as logger:
            logger.info("part %d", number)
    logger.info("too late")
    assert [line.split(" ", 2)[2] for line in run.log_tail().splitlines()] == ["INFO part 1", "INFO part 2"]
    (run.path / "log.txt").write_bytes("".join(f"line {n}\n" for n in range(5000)).encode() + b"\xff end")
    assert run.log_tail(2) == "line 4999\n\ufffd end"


def test_a_process_that_does_not_lead_writes_nothing(run):
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    follower = Run(run.path, writes=False)
    follower.write_status("running")
    follower.append_metrics([metrics(0)])
    follower.drop_metrics_from(0, 0, 5)
    with follower.log() as logger:
        logger.info("not written")
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before


@pytest.mark.parametrize("name", ["config.json", "status.json", "metrics.jsonl", "teacher.json", "log.txt"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_link_or_a_fifo_is_not_read_and_makes_its_run_damaged(run, tmp_path, name, kind):
    run.write_status("stopped")
    other, path = create_run(CONFIG, "other"), run.path / name
    if path.exists():
        path.rename(tmp_path / "secret")
    else:
        (tmp_path / "secret").write_text("secret")
    path.symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(path)
    assert (run.metrics(), run.teacher(10), run.log_tail()) == ([], None, "")
    assert run.status().state == "damaged"
    assert run.status().message.startswith(f"{name} is a link")
    with pytest.raises(RunError, match=f"damaged: {name}"):
        start_run(run)
    assert {found.run_id for found in run_folder.list_runs()} >= {other.run_id}
    assert other.status().state == "queued"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../runs", "no-such-run", "a/../b", "/", "/etc", "~", "x" * 300, "a\0b", "\n"]
)
def test_path_tricks_find_no_run(run, name):
    with pytest.raises(ConfigError, match=r"(?s)no run .*runs list"):
        run_folder.find_run(name)


def test_the_list_has_the_newest_first_and_only_runs_which_are_found_from_within(runs_root, monkeypatch):
    for name in ("20250101-000000-a-0000", "20260101-000000-a-0000", ".temporary", "not a run"):
        (runs_root / name).mkdir()
        (runs_root / name / "config.json").touch()
    (runs_root / "20270101-empty").mkdir()
    (runs_root / "file").touch()
    (runs_root / "sweeps" / "precious").mkdir(parents=True)
    (runs_root / "sweeps" / "precious" / "config.json").touch()
    with pytest.raises(ConfigError, match="no run"):
        run_folder.find_run("sweeps")
    assert [run.run_id[:4] for run in run_folder.list_runs()] == ["2026", "2025"]
    assert run_folder.list_runs(runs_root / "nowhere") == []
    (runs_root / "a-sweep-0").mkdir()  # a study names its runs
    (runs_root / "a-sweep-0" / "config.json").touch()
    between = time.mktime((2025, 6, 1, 0, 0, 0, 0, 0, -1))
    os.utime(runs_root / "a-sweep-0" / "config.json", (between, between))
    assert [run.run_id[:4] for run in run_folder.list_runs()] == ["2026", "a-sw", "2025"]
    monkeypatch.chdir(runs_root / "a-sweep-0")
    assert run_folder.find_run(".").run_id == "a-sweep-0"


def test_a_run_that_trains_is_counted_whatever_was_created_since(run, sleeper):
    for _ in range(21):
        create_run(CONFIG, "zlater").write_status("finished")
    for one in run_folder.list_runs():
        os.utime(one.path, (0, 0))
    assert run_folder.count_live() == 0
    run.write_status("running", pid=sleeper.pid)
    os.utime(run.path)
    assert run_folder.count_live() == 1
