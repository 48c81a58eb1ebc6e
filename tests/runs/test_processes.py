"""A process is identified by more than its pid, and whatever happens to the clock."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from kdexplorer import processes
from tests.training.configs import wait_for


def test_a_process_is_recognized_by_itself_and_by_others_until_it_has_ended(sleeper):
    assert processes.live(processes.identity()).pid == os.getpid()
    assert processes.live(processes.identity(sleeper.pid)).pid == sleeper.pid
    code = "import json, sys; from kdexplorer import processes; print(json.dumps(processes.identity(int(sys.argv[1]))))"
    result = subprocess.run([sys.executable, "-c", code, str(sleeper.pid)], capture_output=True, check=True)
    facts = json.loads(result.stdout)
    assert processes.live(facts).pid == sleeper.pid
    sleeper.kill()
    wait_for(lambda: psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE)
    assert processes.live(facts) is None  # a zombie
    sleeper.wait()
    assert processes.live(facts) is None
    assert processes.live(processes.identity(sleeper.pid)) is None


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere the start time does not move with the clock")
@pytest.mark.parametrize("jump", [-86_400, -2, 2, 3600, 10**9])
def test_a_clock_that_jumps_changes_nothing(sleeper, monkeypatch, jump):
    """Linux moves the boot's moment with the clock, and psutil adds it to every start time."""
    facts = processes.identity(sleeper.pid)
    boot = psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + jump)
    assert abs(psutil.Process(sleeper.pid).create_time() - facts["pid_started"] - boot - jump) < 0.1
    assert processes.live(facts).pid == sleeper.pid


def test_an_impossible_process_a_recycled_pid_or_one_of_another_boot_is_not_alive(sleeper):
    facts = processes.identity(sleeper.pid)
    odd = {"pid": (None, "1", True, -1, 0, 1.5, 10**30), "pid_started": (None, float("nan"), float("inf"), "now", [])}
    odd["pid_started"] += tuple(facts["pid_started"] + seconds for seconds in (-30, -0.02, 0.02, 30))
    for name, values in (odd | {"boot": ("another",)}).items():
        for value in values:
            assert processes.live(facts | {name: value}) is None
    assert processes.live({}) is None


def test_a_stop_that_comes_before_a_process_can_answer_it_waits():
    code = (
        "import sys; sys.stdin.readline(); from kdexplorer import processes\n"
        "with processes.stop_signals() as stopping: sys.exit(0 if stopping.wait(60) else 1)"
    )
    with processes.hold_signals():
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    process.send_signal(signal.SIGTERM)
    process.communicate("\n")
    assert process.returncode == 0
