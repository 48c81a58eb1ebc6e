"""What is left of a sweep before it starts: experiments, students, memory, time."""

from __future__ import annotations

from dataclasses import dataclass

from kdexplorer.config import RunConfig
from kdexplorer.networks.cost import count_multiply_adds
from kdexplorer.runs.teachers import find_teachers
from kdexplorer.sweeps.folder import find_same, pack
from kdexplorer.sweeps.grid import SweepConfig, experiment_config
from kdexplorer.training.estimate import estimate_memory, format_duration, measure_apart

SAMPLE = 3
"""Students of the experiment that is measured."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep still has to train."""

    experiments: int
    students: int
    """Networks to train, over all seeds."""
    memory: float
    """Bytes that its largest experiment takes at its height, estimated."""
    sample: RunConfig | None
    """An experiment with the first of the students, to measure; None when nothing is left."""
    times: float
    """How much longer than the sample the sweep takes, estimated from multiply-adds."""


def make_plan(config: SweepConfig, elsewhere: bool = False) -> SweepPlan:
    """The plan of a new sweep, or of what an earlier start of the same sweep has left.

    Args:
        config: the sweep.
        elsewhere: a cluster will train it.

    Raises:
        KDError: when the memory cannot be estimated, as without the teacher.
    """
    sweep = find_same(config)
    packed = sweep.experiments() if sweep else []
    if sweep is not None and packed:
        packed = [one for one, run in zip(packed, sweep.runs(), strict=True) if run.status().state != "finished"]
    else:
        packed = pack(config, "sweep", elsewhere)
    if not packed:
        return SweepPlan(0, 0, 0.0, None, 0.0)
    by_name = {student.name: student for student in config.students()}
    configs = [experiment_config(config, [by_name[name] for name in one.students], one.seed) for one in packed]
    largest = max(configs, key=lambda one: len(one.students))
    sample = largest.model_copy(update={"students": largest.students[:SAMPLE]})
    times = sum(count_work(one) for one in configs) / count_work(sample)
    count = sum(len(one.students) for one in configs)
    return SweepPlan(len(configs), count, estimate_memory(largest, elsewhere), sample, times)


def count_work(config: RunConfig) -> float:
    """Multiply-adds of one training image: a student's backward pass takes twice its forward pass.

    A teacher whose logits are fixed computes them once, which is not counted. Raises KDError without the teacher.
    """
    students = sum(3.0 * count_multiply_adds(student.architecture) for student in config.students)
    teachers = find_teachers(config.teacher) if config.teacher and config.teacher_view != "fixed" else ()
    return students + sum(count_multiply_adds(teacher.architecture) for teacher in teachers)


def estimate_seconds(plan: SweepPlan) -> float:
    """Times some steps of the plan's sample in a process of its own, and adds them up to the sweep.

    Raises:
        RunError: when the experiment cannot be started.
    """
    return plan.times * measure_apart(plan.sample).seconds if plan.sample else 0.0


def describe_plan(plan: SweepPlan, seconds: float | None) -> str:
    """The plan in a line; `seconds` is None where a cluster takes a time that nobody has measured."""
    experiments = f"{plan.experiments} experiment{'s' if plan.experiments > 1 else ''}"
    students = f"{plan.students} student{'s' if plan.students > 1 else ''}"
    memory = f"about {plan.memory / 2**30:.1f} GiB of memory for an experiment"
    if seconds is None:
        return f"{students} to train in {experiments}, {memory}; the time depends on the cluster."
    return f"{students} to train in {experiments}, about {format_duration(seconds)} on this machine; {memory}."
