"""What a finished run leaves: a checkpoint with a card for each student."""

from __future__ import annotations

import copy
import platform
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from kdexplorer import __version__
from kdexplorer.analysis import metrics
from kdexplorer.errors import CheckpointError, TrainingError
from kdexplorer.networks.registry import count_multiply_adds, count_parameters
from kdexplorer.runs.card import Card, DataFacts, EpochFigures, Leg
from kdexplorer.runs.checkpoints import find_checkpoint, refer_to, save_checkpoint, to_half_precision
from kdexplorer.runs.run_folder import Run
from kdexplorer.training.hardware import processor_name, without_tf32
from kdexplorer.training.teacher import EvaluationTeacher
from kdexplorer.training.trainer import Student, Trainer


def export_students(run: Run, trainer: Trainer) -> None:
    """Casts each student to float16, evaluates what will be stored in float32, and writes its checkpoint.

    Raises TrainingError, which names the students that float16 cannot hold, once all others are written.
    """
    trainer.dtype = torch.float32
    if trainer.teacher is not None:
        trainer.teacher.dtype = torch.float32
    refused = []
    with without_tf32():
        teacher = trainer.evaluate_teacher()
        for student in trainer.students:
            try:
                _export(run, trainer, student, teacher, student.config.name, trainer.config.epochs)
            except TrainingError as error:
                refused.append(str(error))
            except CheckpointError as error:
                refused.append(f"{student.config.name}: {error}")
    if refused:
        raise TrainingError(" ".join(refused))


def export_snapshots(run: Run, trainer: Trainer, teacher: EvaluationTeacher | None, epochs: int) -> None:
    """Writes each student as it is after so many epochs, as `NAME-after-EPOCHS` among the run's students.

    As at the end, float16 weights are evaluated in float32; training goes on from the same bits. A stop waits.
    """
    before, trainer.stopping, trainer.dtype = (trainer.stopping, trainer.dtype), None, torch.float32
    for student in trainer.students:
        name = f"{student.config.name}-after-{epochs}"
        if not (run.path / name).exists():  # a run that was stopped does the epoch again
            with without_tf32():
                _export(run, trainer, student, teacher, name, epochs)
    trainer.stopping, trainer.dtype = before


def _export(
    run: Run, trainer: Trainer, student: Student, teacher: EvaluationTeacher | None, name: str, epochs: int
) -> None:
    """Writes a student's weights as float16, and what `Trainer.evaluate` says of a copy that has them."""
    state, network = to_half_precision(student.result), copy.deepcopy(student.result)
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False)
    logits, parts = trainer.evaluate(replace(student, network=network, average=None), teacher)
    final: dict[str, Any] = {}
    if epochs == trainer.config.epochs:
        student.check_finite(parts, "after the last step, as float16")
        final = {"test_objective": parts.pop("objective"), "test_terms": parts}
    card = _describe(run, trainer, student, logits, name, epochs).model_copy(update=final)
    save_checkpoint(run.path / name, state, card, logits)


def _describe(run: Run, trainer: Trainer, student: Student, logits: np.ndarray, name: str, epochs: int) -> Card:
    """A card with the figures of the logits `[N, K]` as they are stored, in float16. Raises TrainingError."""
    stored, labels = logits.astype(np.float16), trainer.evaluation.labels
    cross_entropy = metrics.cross_entropy(stored, labels)
    student.check_finite({"cross_entropy": cross_entropy}, "as float16")
    config, teachers = trainer.config, trainer.teacher_checkpoints if student.config.needs else ()
    earlier = find_checkpoint(student.config.initial).card.legs if student.config.initial else ()
    data = DataFacts(
        dataset=config.dataset, sha256=trainer.data_sha256, train_images=trainer.train_count,
        evaluation_split=trainer.evaluation_name, evaluation_images=len(trainer.evaluation),
    )  # fmt: skip
    return Card(
        name=name, architecture=student.config.architecture, data=data,
        parameters=count_parameters(student.network),
        multiply_adds=count_multiply_adds(student.config.architecture, len(trainer.evaluation.classes)),
        classes=trainer.evaluation.classes, normalization=trainer.normalization,
        objective=student.config.objective, teacher=refer_to(teachers) if teachers else None,
        legs=(*earlier, _describe_leg(run, trainer, student, epochs)),
        test_accuracy=metrics.accuracy(stored, labels), test_cross_entropy=cross_entropy,
    )  # fmt: skip


def _describe_leg(run: Run, trainer: Trainer, student: Student, epochs: int) -> Leg:
    config, rows = trainer.config, [row for row in run.metrics() if row.student == student.config.name]
    here = trainer.environments[-1]
    device = here.processor if here.device == "cuda" else f"{processor_name()}, {here.threads} threads"
    libraries = {"kdexplorer": __version__, "torch": torch.__version__.split("+")[0], "numpy": np.__version__}
    return Leg(
        run=run.run_id, initial=student.config.initial, epochs=epochs, seed=config.seed,
        recipe=config.model_dump(mode="json", exclude={"students", "teacher", "name", "epochs", "seed", "version"}),
        seconds=round(trainer.seconds(), 1), device=device, precision=here.precision, students=len(config.students),
        versions=libraries | {"python": platform.python_version()}, environments=tuple(trainer.environments),
        history=tuple(EpochFigures(epoch=one.epoch, train=_round(one.train), test=_round(one.test)) for one in rows),
    )  # fmt: skip


def _round(values: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.5g}") for key, value in values.items()}
