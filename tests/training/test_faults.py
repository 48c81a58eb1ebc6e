"""What a machine does to a run: kills at every write, a disk that is full or read-only, a server that is killed.

Each time its state is reported truly, it resumes to the bits of an undisturbed run, and nothing is left over.
"""

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from benchmarks import load
from benchmarks.app import running
from kdexplorer import processes
from kdexplorer.config import RunConfig
from kdexplorer.errors import RunError
from kdexplorer.files import read_json
from kdexplorer.runs.launch import delete_run, launch_run, start_run
from kdexplorer.runs.run_folder import LIVE, RESUMABLE, find_run, list_runs
from kdexplorer.training.train import execute
from tests.accidents import is_killed
from tests.training.configs import COMBINED, SCRATCH, bits, create, make_config, stop_halfway, train_to_end, wait_for

WRITES = ("replace", "fsync", "unlink")
"""Through these everything that a trainer writes becomes lasting."""


@pytest.fixture
def small(tiny, teacher):
    """Two epochs of three steps, saved after each step."""
    return make_config(COMBINED, teacher=str(teacher.path), batch_size=10, save_minutes=1e-6)


def before_writes(do):
    """From now on `do(path)` comes before everything that makes the file or folder `path` lasting."""
    patch = pytest.MonkeyPatch()

    def preceded(real):
        def call(*arguments, **options):
            do(str(arguments[-1]))
            return real(*arguments, **options)

        return call

    for name in WRITES:
        patch.setattr(os, name, preceded(getattr(os, name)))
    return patch


def train_until_killed(run, number, ending=""):
    """Trains in a process that SIGKILL ends before its `number`-th write to such a path; False if it finished."""
    count = itertools.count(1)

    def work():
        before_writes(
            lambda path: os.kill(os.getpid(), signal.SIGKILL) if path.endswith(ending) and next(count) == number else 0
        )
        execute(run)

    return is_killed(work)


class FullError(OSError):
    """What a full disk says, and nothing else."""


def left_behind(run):
    """Scraps of writes. The status has several writers, so its scraps are left alone."""
    return [path for path in run.path.rglob(".*") if path.name != ".lock" and not path.name.startswith(".status.json.")]


def check_resumes(run, expected):
    """Where it is not finished it can be resumed (or has not begun); it ends as if nothing had happened."""
    assert run.status().state in (*RESUMABLE, "queued", "finished")
    check_ends(run, expected)


def check_ends(run, expected):
    """It ends as if nothing had happened, and at once where it has ended."""
    assert execute(run) == "finished"
    assert bits(run) == expected
    assert left_behind(run) == []


def test_a_kill_in_the_middle_of_a_save_costs_nothing(small):
    expected, run = bits(train_to_end(small)), create(small)
    assert train_until_killed(run, 4, "/state.pt")
    assert run.status().state == "lost"
    assert len(left_behind(run)) == 1  # the state that was about to take its place
    check_resumes(run, expected)


@pytest.mark.reliability
@pytest.mark.parametrize("resumed", [False, True])
def test_a_kill_before_every_single_write_costs_nothing(small, reliability, resumed):
    """Each time of a new run; or a run is killed again and again, each time one write later than it came before."""
    expected, run = bits(train_to_end(small)), create(small)
    for number in itertools.count(1):
        if not train_until_killed(run, number):
            break
        reliability["kills between two writes survived, to the same bits"] += 1
        if resumed:
            assert run.status().state in ("queued", "lost", "finished")
        else:
            check_resumes(run, expected)
            run = create(small)
    check_resumes(run, expected)
    assert resumed or number > 50


def damage(run, name, garbage):
    """Garbage in place of a file; of the metrics, behind their last line, where a kill leaves half of one."""
    with open(run.path / name, "ab" if name == "metrics.jsonl" else "wb") as file:
        file.write(garbage)


WRITTEN = ("status.json", "metrics.jsonl", "teacher.json", "log.txt", "state.pt")


def test_garbage_in_every_file_but_the_configuration_costs_a_run_nothing(small):
    run, expected = stop_halfway(small)
    for name in WRITTEN:
        damage(run, name, b'{"state": "finished"')
    assert run.status().state == "lost"
    check_resumes(run, expected)


@pytest.mark.reliability
def test_garbage_in_any_file_costs_a_run_nothing(small, reliability, tmp_path):
    run, expected = stop_halfway(small)
    shutil.copytree(run.path, tmp_path / "kept")
    for name in (*WRITTEN, "state.old.pt", "config.json"):
        good = (tmp_path / "kept" / name).read_bytes()
        cut = () if name == "metrics.jsonl" else (good[:-1], good[: len(good) // 2])
        for garbage in (b"", b"{", b"\xff\0" * 50, b"null", b"[" * 100_000, *cut):
            shutil.rmtree(run.path)
            shutil.copytree(tmp_path / "kept", run.path)
            damage(run, name, garbage)
            if name == "config.json" and read_json(run.path / name) is None:
                assert run.status().state == "damaged"
                with pytest.raises(RunError, match="damaged"):
                    start_run(run)
            else:
                check_resumes(run, expected)
            reliability["damaged files of a run, reported or recovered from"] += 1


@pytest.mark.reliability
def test_a_disk_that_is_full_from_any_write_on_costs_nothing(small, reliability):
    expected = bits(train_to_end(small))
    for number in itertools.count(1):
        run, count = create(small), itertools.count(1)

        def refuse(_, count=count, number=number):
            if next(count) >= number:
                raise FullError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch, ended = before_writes(refuse), False
        try:
            with contextlib.suppress(FullError):
                ended = execute(run) == "finished"
        finally:
            patch.undo()
        check_ends(run, expected)
        if ended and next(count) <= number:
            break
        reliability["moments from which the disk was full, survived to the same bits"] += 1
    assert number > 50


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Mounts a disk, which has the runs on it, anew."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        return subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", place], capture_output=True).returncode == 0

    if not (sys.platform == "linux" and os.geteuid() == 0 and mount("-o", "size=4m")):
        pytest.skip("a disk of its own can be mounted by root only")
    monkeypatch.setenv("KDEXPLORER_RUNS", str(place / "runs"))
    (place / "runs").mkdir()
    yield lambda how: mount("-o", f"remount,{how}")
    subprocess.run(["umount", "-l", place], check=True)


def test_a_real_disk_that_is_read_only_is_read_and_not_written(small, disk):
    run, expected = stop_halfway(small)
    assert disk("ro")
    try:
        assert run.status().state == "stopped"
        assert run.config().students[0].name == "combined"
        assert len(run.metrics()) == 1
        with pytest.raises(RunError, match=r"cannot be started .Read-only"):
            start_run(run)
        with pytest.raises(RunError, match="cannot be deleted"):
            delete_run(run)
        with pytest.raises(RunError, match="check the folder and the disk"):
            create(run.config())
        with pytest.raises(OSError, match="Read-only file system"):
            execute(run)
    finally:
        assert disk("rw")
    check_resumes(run, expected)


@pytest.mark.reliability
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5, 2.0, 5.0])
def test_a_server_that_is_killed_takes_no_run_with_it(seconds, tmp_path, runs_root, reliability):
    """SIGKILL so long after "Start training" was pressed: the next server shows what there is, and it ends."""
    with server(tmp_path, runs_root) as (url, process):

        async def press():
            visitor = load.Visitor(0, url, load.Tally(), None, address="")
            await visitor.open("launch")
            await visitor.turn_page("launch", "customize=true")
            for label, value in {"Training images": 120.0, "Epochs": 2.0, "Batch size": 20.0}.items():
                visitor.values[visitor.widgets[label].id] = value
            pressing = asyncio.create_task(visitor.use("Start training", "start"))
            await asyncio.sleep(seconds)
            process.kill()
            pressing.cancel()

        asyncio.run(press())
        process.wait()
    before = {run.run_id: processes.live(run.status().model_dump()) for run in list_runs()}
    assert seconds < 0.5 or len(before) == 1
    for run_id, trainer in before.items():
        run = find_run(run_id)
        with server(tmp_path, runs_root) as (url, _):

            async def look(url=url, run_id=run_id):
                visitor = load.Visitor(1, url, load.Tally(), run_id, address="")
                await visitor.open("overview")
                await visitor.watch()
                assert visitor.tally.errors == []
                if "Resume" in visitor.widgets:
                    await visitor.use("Resume", "resume")
                await visitor.socket.close()

            assert trainer is None or trainer.is_running()
            asyncio.run(look())
            wait_for(lambda run=run: run.status().state not in (*LIVE, "lost"))
        assert run.status().state == "finished", run.log_tail()
        assert left_behind(run) == []
        assert run.config().epochs == 2
        assert bits(run) == undisturbed(run.config().model_dump_json())
    reliability["kills of the server survived"] += len(before)  # 0 where nothing had begun


@contextlib.contextmanager
def server(tmp_path, runs_root):
    """The application and its process; it may be killed."""
    before = set(psutil.Process().children())
    with running(tmp_path, KDEXPLORER_RUNS=str(runs_root), KDEXPLORER_CHECKPOINTS=str(tmp_path / "bundled")) as url:
        (process,) = set(psutil.Process().children()) - before
        yield url, process


@functools.cache
def undisturbed(config):
    """What the same run comes to in a process that nobody kills, and whose server nobody kills."""
    run = launch_run(RunConfig.model_validate_json(config))
    wait_for(lambda: run.status().state not in LIVE)
    return bits(run)


@pytest.fixture
def for_a_process(teacher):
    return make_config(
        SCRATCH, COMBINED, teacher=str(teacher.path), precision="auto", threads=2, batch_size=16, train_images=192,
        holdout=60,
    )  # fmt: skip


@pytest.mark.reliability
def test_kills_at_any_moment_lose_nothing_and_touch_no_other_run(for_a_process, reliability):
    """SIGKILL after a random time, from the first import to the last write, until 25 are survived."""
    expected, generator = bits(train_to_end(for_a_process)), np.random.default_rng(0)
    other = train_to_end(for_a_process.model_copy(update={"seed": 1, "epochs": 1}))
    before = {path: path.read_bytes() for path in sorted(other.path.rglob("*")) if path.is_file()}
    run, begin = create(for_a_process.model_copy(update={"save_minutes": 1e-4})), time.monotonic()
    start_run(run)
    wait_for(lambda: run.status().state == "finished")
    whole = time.monotonic() - begin
    assert bits(run) == expected
    kills = 0
    while kills < 25:
        run = create(for_a_process.model_copy(update={"save_minutes": 1e-4}))
        while run.status().state != "finished":
            if run.status().state not in LIVE or run.status().pid == os.getpid():
                start_run(run)
            time.sleep(generator.uniform(0, whole))
            status = run.status()
            process = processes.live(status.model_dump()) if status.state in LIVE else None
            if process is not None and process.pid != os.getpid():
                process.kill()
                wait_for(lambda run=run: run.status().state in ("lost", "finished"))
                kills += 1
            assert run.status().state != "failed", run.log_tail()
        assert bits(run) == expected
        reliability["kills survived, to the same bits"] = kills
    assert before == {path: path.read_bytes() for path in sorted(other.path.rglob("*")) if path.is_file()}


@pytest.mark.reliability
def test_two_launches_at_the_same_instant_both_end_finished_one_after_the_other(for_a_process, reliability):
    both, together = threading.Barrier(2), []

    def press(_):
        both.wait()
        return launch_run(for_a_process)

    with ThreadPoolExecutor() as tabs:
        launched = list(tabs.map(press, range(2)))

    def is_over():
        states = [run.status().state for run in launched]
        together.append(states.count("running"))
        return not set(LIVE) & set(states)

    wait_for(is_over, 600)
    assert [run.status().state for run in launched] == ["finished"] * 2
    assert max(together) == 1
    assert bits(launched[0]) == bits(launched[1])
    reliability["launches at the same instant, both finished"] += 2
