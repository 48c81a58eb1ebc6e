"""What a run keeps: a state, from which it continues to the same bits, and at its end a checkpoint of each student."""

from __future__ import annotations

import copy
import hashlib
import io
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdexplorer import __version__
from kdexplorer.analysis import metrics
from kdexplorer.config import RunConfig
from kdexplorer.errors import CheckpointError, ConfigError, RunError, TrainingError
from kdexplorer.files import write_bytes
from kdexplorer.networks import count_multiply_adds, count_parameters
from kdexplorer.processes import processor_name
from kdexplorer.runs.card import Card, Environment, EpochMeasures, Leg
from kdexplorer.runs.checkpoints import refer_to, save_checkpoint, to_half_precision
from kdexplorer.runs.run_folder import Run
from kdexplorer.training.hardware import without_tf32
from kdexplorer.training.progress import RunProgress
from kdexplorer.training.teacher import EvaluationTeacher
from kdexplorer.training.trainer import Student, Trainer

STATE, OLD_STATE, DAMAGED_STATE = "state.pt", "state.old.pt", "state.damaged.pt"
_HASH = b"sha256:"


def save_state(folder: Path, trainer: Trainer, epoch: int, step: int) -> None:
    """Replaces a run's state; the one before it is kept until the run has finished. Raises OSError.

    It is a file for `torch.load(weights_only=True)` followed by its hash: torch does not notice a changed bit in the
    weights, and the run would continue to other bits. `epoch` and `step` are done next.
    """
    students = {
        student.config.name: {
            "network": student.network.state_dict(),
            "optimizer": student.optimizer.state_dict(),
            "adapters": {name: adapter.state_dict() for name, adapter in student.adapters.items()},
            "scaler": student.scaler.state_dict(),
            "sums": student.sums,
        }
        | ({} if student.average is None else {"average": student.average.state_dict()})
        for student in trainer.students
    }
    buffer = io.BytesIO()
    facts = {"config": _decisive(trainer), "environments": [one.model_dump() for one in trainer.environments]}
    place = {"epoch": epoch, "step": step, "seconds": trainer.seconds()}
    torch.save(facts | place | {"students": students}, buffer)
    content = buffer.getvalue()
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / OLD_STATE)
    write_bytes(folder / STATE, content + _HASH + hashlib.sha256(content).digest())


def restore_state(trainer: Trainer, path: Path) -> tuple[int, int]:
    """Restores a saved state; returns the epoch and step to do next.

    Raises ConfigError when the run's configuration was changed after it was saved; RunError when the file is damaged or
    belongs to another run, the students may then be half restored.
    """
    try:
        content, mark, digest = path.read_bytes().rpartition(_HASH)
        if not mark or hashlib.sha256(content).digest() != digest:
            raise ValueError("its hash is missing or wrong")
        # On the processor, where AdamW keeps its counters: on a GPU each step would wait for them.
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        _check_config(trainer, state["config"])
        for student in trainer.students:
            saved = state["students"][student.config.name]
            student.network.load_state_dict(saved["network"])
            for group, own in zip(saved["optimizer"]["param_groups"], student.optimizer.param_groups, strict=True):
                group |= {key: own[key] for key in ("fused", "orthogonal") if key in own}  # this machine's
            student.optimizer.load_state_dict(saved["optimizer"])
            for name, adapter in student.adapters.items():
                adapter.load_state_dict(saved["adapters"][name])
            student.sums = saved["sums"]
            if saved.get("scaler"):
                student.scaler.load_state_dict(saved["scaler"])
            if student.average is not None:
                student.average.load_state_dict(saved["average"])
        environments = [Environment.model_validate(one) for one in state["environments"]]
        if environments[-1].differences(current := trainer.environments[-1]):
            environments.append(current.model_copy(update={"epoch": state["epoch"], "step": state["step"]}))
        trainer.environments, trainer.begin = environments, time.monotonic() - state["seconds"]
        return state["epoch"], state["step"]
    except (ConfigError, OSError, MemoryError, torch.OutOfMemoryError):  # says nothing about the file
        raise
    except Exception as error:  # zip, pickle, torch: each kind of damage has its own exception
        raise RunError(
            f"{path.name} could not be read ({type(error).__name__}): the run continues from the state before it."
        ) from error


_IRRELEVANT: Any = {
    **dict.fromkeys(("version", "name", "save_minutes", "device", "precision", "threads", "teacher"), True),
    "students": {"__all__": {"initial"}},
}
"""Fields of a configuration that a resumed run may have otherwise: the environment says what the first come to, a
teacher is known by its weights wherever they lie, and a student that has begun needs no weights to start from."""


def _decisive(trainer: Trainer) -> dict[str, Any]:
    """The settings that decide what is trained."""
    teachers = [one.sha256[:12] for one in trainer.teacher_checkpoints]
    images = {"images": trainer.data.sha256} if trainer.data.sha256 else {}
    return trainer.config.model_dump(mode="json", exclude=_IRRELEVANT) | {"teacher": teachers} | images


def _check_config(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Raises ConfigError where a setting is another one than that of the epochs so far."""
    current = _decisive(trainer)
    added = {name: field.default for name, field in RunConfig.model_fields.items() if name in current}
    saved = added | saved  # a state of an earlier version lacks the settings that were added since
    if changed := [name for name in sorted({*saved, *current}) if saved.get(name) != current.get(name)]:
        first = changed[0]
        values = f" ({saved.get(first)} became {current.get(first)})" if first != "students" else ""
        whose = {"images": "the images are", "teacher": "the teacher is"}.get(first, "config.json is")
        raise ConfigError(
            f"{whose} not as when the run began: {', '.join(changed)}{values}. Restore what it was, or start a new run."
        )


def restore_latest(trainer: Trainer, progress: RunProgress) -> tuple[int, int]:
    """Restores the newest good state, else the one before it; returns the epoch and step to do next.

    What was skipped becomes the run's warning. Raises ConfigError when the configuration is not that of the state.
    """
    paths = [path for name in (STATE, OLD_STATE) if (path := progress.run.path / name).exists()]
    for path in paths:
        try:
            place = restore_state(trainer, path)
            if len(trainer.environments) > 1:
                *_, before, now = trainer.environments
                changed = f"resumed in another environment ({', '.join(before.differences(now))})"
                progress.warn(f"{changed}: the results are not those of an undisturbed run to the bit", lasting=True)
            return place
        except RunError as error:
            progress.warn(str(error))
            trainer.team.any(False)  # every process has read it
            if path.name == STATE and trainer.team.leads:  # else the next one would replace the good one by it
                path.replace(progress.run.path / DAMAGED_STATE)
            trainer.students = trainer.build_students()
    if paths:
        progress.warn("no good state is left: the run begins anew", lasting=True)
    return 0, 0


# --- The students' checkpoints ---


def export_students(run: Run, trainer: Trainer, teacher: EvaluationTeacher | None, epochs: int) -> str:
    """Writes each student as it is after so many epochs; before the last one as `NAME-after-EPOCHS`.

    Float16 weights are written, and evaluated in float32; training goes on from the same bits. A stop waits for a
    snapshot. Returns which students float16 cannot hold, once all others are written.
    """
    is_last, before, refused = epochs == trainer.config.epochs, (trainer.stopping, trainer.dtype), []
    trainer.dtype = torch.float32
    with without_tf32():
        if not is_last:
            trainer.stopping = None
        elif trainer.teacher is not None:
            trainer.teacher.dtype = torch.float32
            teacher = trainer.evaluate_teacher()
        for student in trainer.students:
            if not is_last and (run.path / f"{student.config.name}-after-{epochs}").exists():
                continue  # a stopped run does the epoch again
            try:
                _export(run, trainer, student, teacher, epochs)
            except TrainingError as error:
                refused.append(str(error))
            except CheckpointError as error:
                refused.append(f"{student.config.name}: {error}")
    trainer.stopping, trainer.dtype = before
    return " ".join(refused)


def _export(run: Run, trainer: Trainer, student: Student, teacher: EvaluationTeacher | None, epochs: int) -> None:
    """Writes a student's weights as float16, and a card with the measures of a copy that has them.

    Those of its logits are of what is stored, in float16, too. Raises TrainingError.
    """
    state, network = to_half_precision(student.result), copy.deepcopy(student.result)
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False)
    logits, parts = trainer.evaluate(replace(student, network=network, average=None), teacher)
    name, final = f"{student.config.name}-after-{epochs}", dict[str, Any]()
    if epochs == trainer.config.epochs:
        student.check_finite(parts, "after the last step, as float16")
        name, final = student.config.name, {"test_objective": parts.pop("objective"), "test_terms": parts}
    stored, labels = logits.astype(np.float16), trainer.evaluation.labels
    cross_entropy = metrics.cross_entropy(stored, labels)
    student.check_finite({"cross_entropy": cross_entropy}, "as float16")
    card = Card(
        name=name, architecture=student.config.architecture, data=trainer.data,
        parameters=count_parameters(student.network),
        multiply_adds=count_multiply_adds(student.config.architecture, len(trainer.evaluation.classes)),
        classes=trainer.evaluation.classes, normalization=trainer.normalization, objective=student.config.objective,
        teacher=refer_to(trainer.teacher_checkpoints) if student.config.needs else None,
        legs=(*student.earlier, _describe_leg(run, trainer, student, epochs)),
        test_accuracy=metrics.accuracy(stored, labels), test_cross_entropy=cross_entropy, **final,
    )  # fmt: skip
    save_checkpoint(run.path / name, state, card, logits)


def _describe_leg(run: Run, trainer: Trainer, student: Student, epochs: int) -> Leg:
    config, rows = trainer.config, [row for row in run.metrics() if row.student == student.config.name]
    here = trainer.environments[-1]
    on_gpu = here.device == "cuda"
    device = torch.cuda.get_device_name(trainer.device) if on_gpu else f"{processor_name()}, {here.threads} threads"
    libraries = {"kdexplorer": __version__, "torch": torch.__version__.split("+")[0], "numpy": np.__version__}
    return Leg(
        run=run.run_id, initial=student.config.initial, epochs=epochs, seed=config.seed,
        recipe=config.model_dump(mode="json", exclude={"students", "teacher", "name", "epochs", "seed", "version"}),
        seconds=round(trainer.seconds(), 1), device=device, precision=here.precision, students=len(config.students),
        versions=libraries | {"python": platform.python_version()}, environments=tuple(trainer.environments),
        history=tuple(EpochMeasures(epoch=one.epoch, train=_round(one.train), test=_round(one.test)) for one in rows),
    )  # fmt: skip


def _round(values: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.5g}") for key, value in values.items()}
