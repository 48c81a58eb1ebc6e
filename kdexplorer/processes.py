"""Which process is meant: a pid and the moment at which it began, in a clock that nobody can set.

A pid alone is given again after its process has ended, and a moment on the wall clock moves when that clock is set. On
Linux the kernel counts from the boot, so a moment holds for one boot only and the boot's id goes with it; elsewhere it
notes the wall clock once and does not change it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import psutil


def identity(pid: int | None = None) -> dict[str, Any]:
    """What `live` needs to know a process (this one by default) again: `pid`, `pid_started` (seconds) and `boot`.

    A process that has just ended has only its pid, and is never taken for alive.
    """
    facts: dict[str, Any] = {"pid": psutil.Process().pid if pid is None else pid, "pid_started": None, "boot": _boot()}
    with contextlib.suppress(psutil.Error):
        facts["pid_started"] = _began(psutil.Process(pid))
    return facts


def live(facts: Mapping[str, Any]) -> psutil.Process | None:
    """The very process that `identity` described, where it lives; a zombie does not. Anything may be in `facts`."""
    pid, began = facts.get("pid"), facts.get("pid_started")
    if not isinstance(pid, int) or isinstance(pid, bool) or not isinstance(began, (int, float)) or pid <= 0:
        return None
    if facts.get("boot") != _boot():
        return None
    with contextlib.suppress(psutil.Error, OverflowError):
        process = psutil.Process(pid)
        if abs(_began(process) - began) < 0.005 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def environment() -> dict[str, str]:
    """The environment of a process that runs this package, which may not be installed, from whatever folder."""
    package = str(Path(__file__).resolve().parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))}


def age() -> float:
    """Seconds since this process began."""
    return max(0.0, time.time() - psutil.Process().create_time())


def start(command: Sequence[str], log: BinaryIO) -> int:
    """Starts a process of this package, which outlives this one and writes to the log, and returns its pid.

    A thread waits for its end, so that it does not stay a zombie. Raises OSError.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment()
    )
    threading.Thread(target=process.wait, daemon=True, name=f"waits for {process.pid}").start()
    return process.pid


def lower_priority(pid: int) -> None:
    """Lowers a process's priority: a trainer must not slow down the pages."""
    with contextlib.suppress(psutil.Error, OSError):
        behind = min(19, psutil.Process().nice() + 10) if psutil.POSIX else psutil.BELOW_NORMAL_PRIORITY_CLASS
        psutil.Process(pid).nice(behind)


def limit_thread_spinning() -> None:
    """Makes torch's threads sleep sooner while they wait for each other; call it before torch is imported.

    libgomp waits in a loop of so many turns, 300,000 by default, before it sleeps. When other programs want the cores
    too, that takes the time which the others need to arrive: beside a program that never rests, a step of two ResNet-8
    with ResNet-56 as teacher took 1.5 s on two cores, and 0.4 s with this limit; alone, 0.1 s either way.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def call_libc(name: str, *arguments: int) -> None:
    """Calls a function of glibc; elsewhere nothing happens."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # Windows has no CDLL(None), macOS other functions
        getattr(ctypes.CDLL(None), name)(*arguments)


def processor_name() -> str:
    """The processor's name as the system gives it."""
    return read_cpuinfo().get("model name") or platform.processor() or platform.machine()


def read_cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor; empty elsewhere."""
    with contextlib.suppress(OSError):
        first, *_ = Path("/proc/cpuinfo").read_text().split("\n\n")
        lines = (line.partition(":") for line in first.splitlines())
        return {name.strip(): value.strip() for name, _, value in lines}
    return {}


def raise_file_limit() -> int:
    """Lets this process open as many files as the system allows, and returns how many that are."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    larger = [hard, *(limit for limit in (65_536, 10_240) if limit > soft)]  # macOS has no limit, and takes 10,240
    for wanted in larger if soft != hard else ():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
            break
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """A process that is started meanwhile gets SIGTERM only once its `stop_signals` can answer it.

    Until then it would die of it, while it imports torch for some seconds.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_stopping: list[threading.Event] = []
"""Of all work that goes on, such as a study's within an experiment's: a signal is for all of it."""


def _stop(*_: object) -> None:
    for one in _stopping:
        one.set()


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """SIGTERM and SIGINT set an event instead of ending the process; outside the main thread nothing changes."""
    stopping, before = threading.Event(), {}
    if threading.current_thread() is threading.main_thread():
        _stopping.append(stopping)
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, _stop)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see `hold_signals`
    try:
        yield stopping
    finally:
        if before:
            _stopping.remove(stopping)
        for number, handler in before.items():
            signal.signal(number, handler)


def _began(process: psutil.Process) -> float:
    """psutil adds the boot's moment on the wall clock, which moves with it, to the kernel's count: taken off again."""
    boot = psutil.boot_time() if psutil.LINUX else 0.0  # first: older versions of psutil keep it for the next line
    return process.create_time() - boot


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None
