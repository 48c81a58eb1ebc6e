"""What many students cost in one run, what that saves a sweep, and whether a cluster loses one.

    python -m benchmarks.sweep cost  [--pair resnet56:resnet8] [--counts 1 2 4 8] [--repetitions 5] [--eager]
    python -m benchmarks.sweep share [--pair resnet56:resnet8] [--repetitions 5] [--eager]
    python -m benchmarks.sweep ray   [--train-images 2000] [--epochs 4]

`cost`: a step with N students against the sum of its parts, the teacher's forward pass and N times a student that is
trained alone without a teacher; both are timed in the same rounds.
`share`: a step of a sweep over five temperatures in one run against five runs of one temperature each.
`ray`: 20 students on synthetic data over two local nodes, one of which is killed halfway; counts how often each
trainer finished. Needs Ray.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.training import BATCH, available_dataset, make_config, stepping, time_in_turn, untrained_teacher
from kdexplorer.config import SCRATCH, StudentConfig
from kdexplorer.datasets.augmentation import normalize
from kdexplorer.notation import parse_student
from kdexplorer.runs.run_folder import finished_students
from kdexplorer.studies.driver import execute
from kdexplorer.studies.folder import StudyConfig, open_study
from kdexplorer.studies.study import Grid, make_grid_study
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.trainer import Trainer

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)


def _cell(student: str, temperature: float) -> StudentConfig:
    grid = Grid(student=student, temperatures=[temperature], weights=[0.7])
    name = {place.temperature: name for name, place in grid.places().items()}[temperature]
    return parse_student(f"{grid.entries({})[name]}:name={name}")


def teacher_alone(dataset: str, compiled: bool, student: StudentConfig, teacher: Path) -> Callable[[], None]:
    """The teacher's part of a step: what the student's method uses of it, for one batch."""
    trainer = Trainer(make_config(dataset, compiled, [student], teacher))
    inputs = normalize(trainer.images[:BATCH], trainer.normalization)
    found = trainer.teacher
    assert found is not None
    found.batch_facts = None

    def compute() -> None:
        found.load_targets(trainer.images[:BATCH], inputs, 0, 0)

    return compute


def cost(options: argparse.Namespace, dataset: str, teacher: Path, student: str) -> None:
    """Prints a line per number of students."""
    distilled = [_cell(student, 1.0 + number) for number in range(max(options.counts))]
    steps = {
        "teacher": teacher_alone(dataset, options.compiled, distilled[0], teacher),
        "student": stepping(make_config(dataset, options.compiled, [parse_student(f"{student}:{SCRATCH}")], None)),
    }
    for n in options.counts:
        steps[str(n)] = stepping(make_config(dataset, options.compiled, distilled[:n], teacher))
    _, times = time_in_turn(steps, options.repetitions, options.budget)
    for name in ("teacher", "student"):
        print(f"  {name} alone: {1e3 * statistics.median(times[name]):.1f} ms a batch")
    for n in options.counts:
        parts = [t + n * s for t, s in zip(times["teacher"], times["student"], strict=True)]
        ratio = statistics.median(whole / part for whole, part in zip(times[str(n)], parts, strict=True))
        print(
            f"  {n} student{'s' if n > 1 else ' '}: {1e3 * statistics.median(times[str(n)]):.1f} ms a step, "
            f"{ratio:.2f} of the sum of its parts ({1e3 * statistics.median(parts):.1f} ms)"
        )


def share(options: argparse.Namespace, dataset: str, teacher: Path, student: str) -> None:
    """Prints the ratio of five runs to one."""
    distilled = [_cell(student, temperature) for temperature in TEMPERATURES]
    groups = {"together": distilled} | {one.name: [one] for one in distilled}
    steps = {name: stepping(make_config(dataset, options.compiled, own, teacher)) for name, own in groups.items()}
    _, times = time_in_turn(steps, options.repetitions, options.budget)
    apart = [sum(values) for values in zip(*(times[one.name] for one in distilled), strict=True)]
    ratios = [five / one for five, one in zip(apart, times["together"], strict=True)]
    print(
        f"  five temperatures in one run: {1e3 * statistics.median(times['together']):.1f} ms a step; in five: "
        f"{1e3 * statistics.median(apart):.1f} ms; {statistics.median(ratios):.2f} times as fast "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def lose_a_node(options: argparse.Namespace, root: Path) -> None:
    """Trains a sweep of 20 students on two local nodes; kills one when half of the runs are done."""
    from ray.cluster_utils import Cluster

    recipe: dict[str, Any] = {"dataset": "synthetic", "batch_size": 64, "threads": 1, "device": "cpu"}
    recipe |= {"train_images": options.train_images, "epochs": options.epochs}
    recipe["teacher"] = str(untrained_teacher("resnet20", "synthetic", root))
    study = make_grid_study("resnet8", recipe, 2, temperatures=[2.0, 4.0, 8.0], weights=[0.5, 0.7, 0.9])
    sweep = open_study(StudyConfig(study=study, students_per_run=2))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    doomed, over = nodes.add_node(num_cpus=1), threading.Event()
    nodes.add_node(num_cpus=1)

    def kill() -> None:
        while not over.wait(0.5):
            status = sweep.status()
            if status.runs and (status.finished or 0) * 2 >= status.runs:
                print(f"  one node is killed after {status.finished} of {status.runs} runs")
                nodes.remove_node(doomed, allow_graceful=False)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    begin = time.monotonic()
    try:
        state = execute(sweep, nodes.address)
    finally:
        over.set()
        killer.join()
        nodes.shutdown()
    log = (sweep.path / "log.txt").read_text()
    students = sum(len(finished_students(run)) for run in sweep.runs())
    ends = [log.count(f"{run.run_id} finished\n") for run in sweep.runs()]
    print(
        f"  {state} after {time.monotonic() - begin:.0f} s: {students} students in {len(ends)} runs, each "
        f"finished {min(ends)} to {max(ends)} times; {log.count('was lost')} submitted again"
    )


def main() -> None:
    """Prints the block that the first word names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "share", "ray"))
    parser.add_argument("--pair", default="resnet56:resnet8")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds per round of each")
    parser.add_argument("--eager", dest="compiled", action="store_false", help="without torch.compile")
    parser.add_argument("--train-images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    configure_process()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.what}", flush=True)
    with tempfile.TemporaryDirectory() as scratch_folder:
        root = Path(scratch_folder)
        if options.what == "ray":
            os.environ["KDEXPLORER_RUNS"] = str(root / "runs")
            lose_a_node(options, root)
            return
        teacher, student = options.pair.split(":")
        dataset = available_dataset()
        print(f"{teacher} -> {student}, {dataset}, batch {BATCH}, {options.repetitions} rounds", flush=True)
        run = {"cost": cost, "share": share}[options.what]
        run(options, dataset, untrained_teacher(teacher, dataset, root), student)


if __name__ == "__main__":
    main()
