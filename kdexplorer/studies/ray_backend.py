"""A study's runs on a Ray cluster. Training and the application do not need Ray.

A run is a task. It trains in a folder of its own on its machine and sends back what changes there; only the
driver writes the run folders, so machines share no disk and nothing is written twice. When a machine is lost, its
runs are submitted again with the last state that was received.

Every machine needs this package with Ray and the data (`KDEXPLORER_DATA`), and nothing else: the teacher is sent along.
"""

from __future__ import annotations

import contextlib
import json
import platform
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdexplorer.config import RunConfig
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import parse_json, write_bytes
from kdexplorer.runs.checkpoints import CARD, WEIGHTS, find_teachers
from kdexplorer.runs.launch import Stopped
from kdexplorer.runs.run_folder import Run, RunStatus
from kdexplorer.schema import read_record
from kdexplorer.studies.collect import ATTEMPTS, StudyProgress

POLL = 2.0  # seconds between two looks of a task at its folder

Files = dict[str, bytes]  # contents by path inside a run's folder


def train_on_cluster(todo: list[Run], address: str, progress: StudyProgress) -> None:
    """Submits all runs to the cluster and stores what they send, until all are over.

    Raises Stopped when the work shall stop, ConfigError without Ray, and RunError without a cluster at the address.
    The last states that were received are kept.
    """
    ray = _connect(address)
    running: dict[Any, _RemoteRun] = {}
    try:
        for run in todo:
            remote = _RemoteRun(run, with_gpus=ray.cluster_resources().get("GPU", 0) > 0)
            progress.may_start(run, RunStatus())
            running[remote.submit(ray)] = remote
        while running:
            if progress.work.stopping.is_set():
                raise Stopped
            ready, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            progress.refresh()
            for task in ready:
                remote = running.pop(task)
                if (following := remote.receive(ray, task, progress)) is not None:
                    running[following] = remote
    finally:
        for task, remote in running.items():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(task, force=True)
            remote.stop()
        ray.shutdown()


class _RemoteRun:
    """A run on the cluster."""

    def __init__(self, run: Run, with_gpus: bool) -> None:
        if run.is_locked():
            raise RunError(f"{run.run_id} is already running on this machine: stop it first.")
        self.run, self.config = run, run.config()
        if begun := [student.name for student in self.config.students if student.initial]:
            raise RunError(f"{begun[0]} begins as a network of this machine, which stays here: train it without --ray.")
        self.gpus = int(with_gpus and self.config.device != "cpu")
        self.facts: dict[str, Any] = {}  # fields of its status that its machine reported

    def submit(self, ray: Any) -> Any:
        """Submits it with the last state that was received; returns the generator of its messages."""
        from kdexplorer.training.objective import estimate_memory

        threads, memory = self.config.threads or 1, round(estimate_memory(self.config, elsewhere=True))
        needs = {"num_cpus": threads, "num_gpus": self.gpus, "memory": memory}
        task = ray.remote(max_retries=0, max_calls=1, **needs)(train_remotely)
        self.run.write_status("queued", "waiting for a machine of the cluster", **self.facts)
        return task.remote(self.run.run_id, read_files(self.run.path, {}), read_teacher(self.config), threads)

    def receive(self, ray: Any, task: Any, progress: StudyProgress) -> Any:
        """Takes one message. Returns what to wait for next, or None when the run is over."""
        try:
            message = ray.get(next(task))
        except StopIteration:
            if (status := self.run.status()).state in ("finished", "failed"):
                progress.end(self.run, status.state, status.message)
            else:  # as where its machine's disk was full
                self._fail("its task ended without saying how", progress)
            return None
        except ray.exceptions.RayTaskError as error:  # the task itself raised, as it would anywhere
            self._fail(str(error.cause if error.cause is not None else error).strip()[-500:], progress)
            return None
        except ray.exceptions.RayError as error:
            if not progress.may_start(self.run, RunStatus(**self.facts)):
                self._fail(f"its machine was lost; {ATTEMPTS} starts made no progress", progress)
                return None
            progress.log(f"{self.run.run_id} was lost ({type(error).__name__}); it is submitted again")
            return self.submit(ray)
        if not isinstance(message, str):
            self.store(message)
            return task
        progress.begin(self.run, f"on {message}")
        self.facts["machine"] = message
        return task

    def stop(self) -> None:
        """Writes how it stands when the driver ends."""
        if self.facts or (self.run.path / "state.pt").is_file():
            self.run.write_status("stopped", "stopped; it can be resumed", **self.facts)
        else:
            self.run.write_status("waiting", "its study starts it")

    def store(self, files: Files) -> None:
        """Writes what was received; a student's card last, because it says that the student is finished."""
        values = parse_json(files.pop("status.json", b"{}"))
        for name in sorted(files, key=lambda name: name.endswith(CARD)):
            path = self.run.path / name
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, files[name])
        if values:
            status = read_record(RunStatus, values)
            own = {"state", "message", "pid", "pid_started", "boot"}  # the driver keeps the run alive
            self.facts |= status.model_dump(exclude_defaults=True, exclude=own)
            self.run.write_status(status.state, status.message, **self.facts)

    def _fail(self, message: str, progress: StudyProgress) -> None:
        self.run.write_status("failed", message, **self.facts)
        progress.begin(self.run, "on no machine")
        progress.end(self.run, "failed", message)


def train_remotely(run_id: str, files: Files, teacher: Files, threads: int) -> Iterator[str | Files]:
    """A task: trains one run in a folder of its own, on the processor threads that the cluster grants.

    `files` is the run's folder so far, with the state to resume from where there is one; `teacher` its checkpoint
    folders, empty where there is none. Yields the machine's name; then, whenever something changed, the files that did,
    of which the last contain the final status.
    """
    from kdexplorer.training.train import execute

    yield platform.node()
    with tempfile.TemporaryDirectory(prefix="kdexplorer-") as folder:
        root = Path(folder)
        for place, contents in ((root / run_id, files), (root / "teacher", teacher)):
            for name, content in contents.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
        run = Run(root / run_id)
        config = json.loads(files["config.json"]) | {"threads": threads}
        if config.get("device", "").startswith("cuda"):
            config["device"] = "cuda"  # the cluster shows a task its own GPU only
        if teacher:
            config["teacher"] = "+".join(str(path) for path in sorted((root / "teacher").iterdir()))
        (run.path / "config.json").write_text(json.dumps(config))
        seen: dict[str, tuple[int, ...]] = {}
        read_files(run.path, seen)  # the driver has all this, and keeps its own configuration

        def train() -> None:
            with contextlib.suppress(Exception):  # whatever it was, status.json and log.txt say so
                execute(run)

        trainer = threading.Thread(target=train)
        trainer.start()
        over = False
        while not over:
            trainer.join(POLL)
            over = not trainer.is_alive()
            if changed := read_files(run.path, seen):
                yield changed


def read_files(folder: Path, seen: dict[str, tuple[int, ...]]) -> Files:
    """A run's folder without temporary files and older states; without the files that `seen` marks, which it updates.

    State and status are read first: no other file is older than what they say.
    """
    found: Files = {}
    for name in dict.fromkeys(["state.pt", "status.json", *sorted(path.name for path in folder.iterdir())]):
        path = folder / name
        if name.startswith(".") or (name.startswith("state.") and name != "state.pt"):
            continue
        with contextlib.suppress(FileNotFoundError):  # replaced while it was read: the next call finds it
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                facts, inside = file.stat(), str(file.relative_to(folder))
                mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
                if file.is_file() and seen.get(inside) != mark:
                    found[inside] = file.read_bytes()
                    seen[inside] = mark
    return found


def read_teacher(config: RunConfig) -> Files:
    """The teachers' cards and weights, to send along, in a folder each; empty where there is none. Raises KDError."""
    teachers = enumerate(find_teachers(config.teacher))
    return {f"{i}/{name}": (one.path / name).read_bytes() for i, one in teachers for name in (CARD, WEIGHTS)}


def _connect(address: str) -> Any:
    """Ray, connected; the driver's own signal handlers are kept. Raises ConfigError and RunError."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("Ray is not installed: pip install 'ray>=2.40,<3' (or this package with [ray]).") from error
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = f"there is no Ray cluster at '{address}' ({str(error)[:200]})"
        raise RunError(f"{reason}: start one with 'ray start'.") from error
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return ray
