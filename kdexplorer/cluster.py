"""A sweep's experiments on a Ray cluster, which training and the application do without.

An experiment is a task. It trains in a folder of its own on its machine and sends back what changes there; the driver
alone writes the run folders, so machines share no disk and nothing is written twice. When a machine is lost, its
experiments are given out again with the last state that came back.

Every machine needs this package with Ray, the data (`KDEXPLORER_DATA`), and nothing else: the teacher is sent along.
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
from typing import TYPE_CHECKING, Any

from kdexplorer import estimate, processes, runs
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import write_bytes

if TYPE_CHECKING:
    from kdexplorer.sweep import Progress

LOOK = 2.0
"""Seconds between two looks of a task at its folder."""

Files = dict[str, bytes]
"""Contents by path inside a run's folder."""


def carry_out(todo: list[runs.Run], address: str, stopping: threading.Event, progress: Progress) -> None:
    """Gives all experiments to the cluster and keeps what comes back, until all are over.

    Raises:
        ConfigError: when Ray is not installed.
        RunError: when there is no cluster at the address.
        Stopped: when `stopping` was set; the last states that came back are kept.
    """
    from kdexplorer.sweep import Stopped

    ray = _connected(address)
    at_work: dict[Any, _Given] = {}
    try:
        with_gpus = ray.cluster_resources().get("GPU", 0) > 0
        for run in todo:
            given = _Given(run, with_gpus)
            at_work[given.out(ray)] = given
        while at_work:
            if stopping.is_set():
                raise Stopped
            ready, _ = ray.wait(list(at_work), num_returns=1, timeout=1.0)
            progress.beat()
            for task in ready:
                given = at_work.pop(task)
                following = given.listen(ray, task, progress)
                if following is not None:
                    at_work[following] = given
    finally:
        for task, given in at_work.items():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(task, force=True)
            given.run.write_status("stopped", "stopped; it can be resumed", **given.facts)
        ray.shutdown()


class _Given:
    """An experiment that was given out: where it stands, and how often it was lost there."""

    def __init__(self, run: runs.Run, with_gpus: bool) -> None:
        self.run, self.config = run, run.config()
        self.gpus = int(with_gpus and self.config.device != "cpu")
        self.facts: dict[str, Any] = {}
        self.attempts, self.furthest, self.begun = 0, (-1, -1), False

    def out(self, ray: Any) -> Any:
        """Gives it to the cluster, with the state that came back last; returns the generator of its messages."""
        threads = self.config.threads or 1
        memory = estimate.memory(self.config, elsewhere=True)
        options = {"num_cpus": threads, "num_gpus": self.gpus, "memory": round(memory)}
        task = ray.remote(max_retries=0, max_calls=1, **options)(work)
        self.run.write_status("queued", "waiting for a machine of the cluster", **self.facts)
        return task.remote(self.run.run_id, contents(self.run.path), _teacher(self.config), threads)

    def listen(self, ray: Any, task: Any, progress: Progress) -> Any:
        """Takes one message. Returns what to listen to next, or None when the experiment is over."""
        from kdexplorer.sweep import ATTEMPTS

        try:
            message = ray.get(next(task))
        except StopIteration:
            status = self.run.status()
            progress.end(self.run, status["state"], str(status.get("message") or ""))
            return None
        except ray.exceptions.RayTaskError as error:  # the task itself raised, as it would anywhere
            self._over("failed", str(error.cause if error.cause is not None else error).strip()[-500:], progress)
            return None
        except ray.exceptions.RayError as error:
            here = (self.facts.get("epoch", -1), self.facts.get("step", -1))
            self.attempts, self.furthest = (self.attempts + 1 if here == self.furthest else 1), here
            if self.attempts >= ATTEMPTS:
                self._over("failed", f"its machine was lost {ATTEMPTS} times at the same place", progress)
                return None
            progress.tell(f"{self.run.run_id} was lost ({type(error).__name__}); it is given out again")
            return self.out(ray)
        if isinstance(message, str):
            if not self.begun:
                progress.begin(self.run, f"on {message}")
            self.begun = True
            self.facts["machine"] = message
        else:
            self._keep(message)
        return task

    def _keep(self, files: Files) -> None:
        """Writes what came back; a student's card last, because it says that the student is finished."""
        status = json.loads(files.pop("status.json", b"{}"))
        for name in sorted(files, key=lambda name: name.endswith("card.json")):
            path = self.run.path / name
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, files[name])
        if status:
            own = {"state", "message", "heartbeat", *processes.identity()}  # whose run it is, is the driver's to say
            self.facts |= {key: value for key, value in status.items() if key not in own}
            self.run.write_status(status["state"], str(status["message"]), **self.facts)

    def _over(self, state: runs.State, message: str, progress: Progress) -> None:
        self.run.write_status(state, message, **self.facts)
        if not self.begun:
            progress.begin(self.run, "nowhere")
        progress.end(self.run, state, message)


def work(run_id: str, files: Files, teacher: Files, threads: int) -> Iterator[str | Files]:
    """A task: trains one experiment in a folder of its own.

    Args:
        run_id: the run's.
        files: its folder so far, with the state to go on from where there is one.
        teacher: the teacher's checkpoint folder; empty where there is none.
        threads: processor threads that the cluster grants.

    Yields:
        Where it runs; then, whenever something changed, the files that did. The last ones hold the final status.
    """
    from kdexplorer import train

    yield platform.node()
    with tempfile.TemporaryDirectory(prefix="kdexplorer-") as folder:
        root = Path(folder)
        for place, held in ((root / run_id, files), (root / "teacher", teacher)):
            for name, content in held.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
        run = runs.Run(root / run_id)
        config = json.loads(files["config.json"]) | {"threads": threads}
        if teacher:
            config["teacher"] = str(root / "teacher")
        (run.path / "config.json").write_text(json.dumps(config))
        seen: dict[str, tuple[int, ...]] = {}
        contents(run.path, seen)  # the driver has all this, and keeps its own configuration

        def trained() -> None:
            with contextlib.suppress(Exception):  # whatever it was, status.json and log.txt say so
                train.execute(run)

        trainer = threading.Thread(target=trained)
        trainer.start()
        over = False
        while not over:
            trainer.join(LOOK)
            over = not trainer.is_alive()
            changed = contents(run.path, seen)
            if changed:
                yield changed


def contents(folder: Path, seen: dict[str, tuple[int, ...]] | None = None) -> Files:
    """A run's folder without scraps and older states, or what changed there.

    State and status are read first: no other file is older than what they say.

    Args:
        seen: what marks the files of earlier looks, by name; those are left out, and the others join it.
    """
    found: Files = {}
    seen = {} if seen is None else seen
    for name in dict.fromkeys(["state.pt", "status.json", *sorted(path.name for path in folder.iterdir())]):
        path = folder / name
        if name.startswith(".") or (name.startswith("state.") and name != "state.pt"):
            continue
        with contextlib.suppress(FileNotFoundError):  # replaced while it was read: it comes with the next look
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                facts, inside = file.stat(), str(file.relative_to(folder))
                mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
                if file.is_file() and seen.get(inside) != mark:
                    found[inside] = file.read_bytes()
                    seen[inside] = mark
    return found


def _teacher(config: ExperimentConfig) -> Files:
    from kdexplorer import checkpoints, train

    if not config.teacher:
        return {}
    path = train.find_checkpoint(config.teacher).path
    return {name: (path / name).read_bytes() for name in (checkpoints.CARD, checkpoints.WEIGHTS)}


def _connected(address: str) -> Any:
    """Ray, connected; the driver's own signal handlers stay in their place. Raises ConfigError and RunError."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("Ray is not installed: pip install 'ray>=2.40,<3' (or this package with [ray]).") from error
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(
            f"there is no Ray cluster at '{address}' ({str(error)[:200]}): start one with 'ray start'."
        ) from error
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return ray
