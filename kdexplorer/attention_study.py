"""How alike a student's and its teacher's attention are over many images: measured once, kept in the user's cache.

`python -m kdexplorer attention TEACHER STUDENT ...` prints it as a table.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer import metrics, relatives
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.config import PRESETS
from kdexplorer.draft import STAGES
from kdexplorer.errors import KDError
from kdexplorer.files import write_bytes

BATCH, PART = 50, 1_000
"""Images of a forward pass, and of a file of results: who is interrupted, or wants more images, goes on from there."""

Measured = dict[int, tuple[np.ndarray, np.ndarray]]
"""By power (1, 2): cosine similarity and mean squared difference, each `[N, stages]` float32."""


def pair(student: list[np.ndarray], teacher: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Cosine and mean squared difference `[N, stages]` of maps `[N, H, W]` a stage; None where stages differ."""
    import torch

    from kdexplorer.attention import similarity

    if len(student) != len(teacher):
        return None
    both = [
        similarity(torch.from_numpy(np.array(s)), torch.from_numpy(np.array(t)))
        for s, t in zip(student, teacher, strict=True)
    ]
    return np.stack([c.numpy() for c, _ in both], axis=1), np.stack([m.numpy() for _, m in both], axis=1)


def split(teacher: Checkpoint, students: list[Checkpoint]) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """Those whose attention can be laid beside the teacher's stage by stage, and those of another number of stages."""
    alike = [c for c in students if STAGES[c.architecture] == STAGES[teacher.architecture]]
    return alike, [c for c in students if c not in alike]


def cache_folder() -> Path:
    """Where measurements are kept."""
    import platformdirs

    return platformdirs.user_cache_path("kdexplorer") / "attention"


def _parts(images: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Images `PART` by `PART`, each with its hash."""
    parts = [np.ascontiguousarray(images[begin : begin + PART]) for begin in range(0, len(images), PART)]
    return [(part, hashlib.sha256(part).hexdigest()) for part in parts]


def _key(checkpoint: Checkpoint) -> tuple[str, str]:
    """What decides a network's maps: its weights, and how its card says that images are normalised."""
    return checkpoint.sha256, str(checkpoint.card["normalisation"])


def _file(teacher: Checkpoint, student: Checkpoint, images: str) -> Path:
    facts = repr((_key(teacher), _key(student), images))
    return cache_folder() / f"{hashlib.sha256(facts.encode()).hexdigest()[:24]}.npz"


def stored(teacher: Checkpoint, students: list[Checkpoint], images: np.ndarray) -> dict[Path, Measured | None]:
    """Earlier measurements on these very images by the student's folder; None where one is missing or damaged."""
    parts = _parts(images)
    return {student.path: _joined([_read(_file(teacher, student, key)) for _, key in parts]) for student in students}


def _read(path: Path) -> Measured | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {power: (archive[f"cosine_{power}"], archive[f"mse_{power}"]) for power in (1, 2)}
    except Exception:  # zipfile, zlib and NumPy each have their own; it is measured again
        return None


def _joined(parts: list[Measured | None]) -> Measured | None:
    if not parts or any(part is None for part in parts):
        return None
    return {power: tuple(np.concatenate([part[power][k] for part in parts]) for k in (0, 1)) for power in (1, 2)}


def measure(
    teacher: Checkpoint,
    students: list[Checkpoint],
    images: np.ndarray,
    network: Callable[[Checkpoint], object],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Compares each student's attention with the teacher's on uint8 `[N, 3, 32, 32]` and keeps the result.

    Students with another number of stages are left out; what is kept already is not measured again.

    Args:
        network: gives a checkpoint's network (a cache, where there is one).
        progress: called with the share that is done, 0 to 1.

    Raises:
        KDError: when a network cannot be trusted.
    """
    students, _ = split(teacher, students)
    done = 0
    for part, key in _parts(images):
        missing = {_file(teacher, s, key): s for s in students if _read(_file(teacher, s, key)) is None}

        def told(share: float, begun: int = done, count: int = len(part)) -> None:
            if progress:
                progress((begun + share * count) / len(images))

        for path, arrays in _measured(teacher, missing, part, network, told).items():
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, buffer.getvalue())
            except OSError as error:
                raise KDError(
                    f"{path.parent} cannot be written ({error.strerror}): free some space or check its rights."
                ) from error
        done += len(part)
        told(1.0)


def _measured(
    teacher: Checkpoint,
    students: dict[Path, Checkpoint],
    images: np.ndarray,
    network: Callable[[Checkpoint], object],
    progress: Callable[[float], None],
) -> dict[Path, dict[str, np.ndarray]]:
    """What is to be written into each file: the same weights stand under one name, and are compared once."""
    from kdexplorer.inference import predict_with_stages

    if not students:
        return {}
    networks = {_key(c): (network(c), c.card["normalisation"]) for c in [teacher, *students.values()]}
    found: dict[Path, dict[str, list[np.ndarray]]] = {path: {} for path in students}
    for begin in range(0, len(images), BATCH):
        batch = images[begin : begin + BATCH]
        maps = {key: predict_with_stages(one, batch, as_)[1] for key, (one, as_) in networks.items()}
        for path, student in students.items():
            for power in (1, 2):
                cosine, mse = pair(maps[_key(student)][power], maps[_key(teacher)][power])
                found[path].setdefault(f"cosine_{power}", []).append(cosine)
                found[path].setdefault(f"mse_{power}", []).append(mse)
        progress((begin + len(batch)) / len(images))
    return {path: {name: np.concatenate(arrays) for name, arrays in parts.items()} for path, parts in found.items()}


def summarise(measured: Measured, power: int) -> list[dict[str, float]]:
    """Per stage: the mean cosine, its 10th and 90th percentile over images, the mean MSE, and its share of the loss."""
    cosine, mse = measured[power]
    means = mse.mean(axis=0)
    return [
        {
            "stage": stage + 1,
            "cosine": float(cosine[:, stage].mean()),
            "low": float(np.quantile(cosine[:, stage], 0.1)),
            "high": float(np.quantile(cosine[:, stage], 0.9)),
            "mse": float(means[stage]),
            "share": float(means[stage] / max(means.sum(), 1e-30)),
        }
        for stage in range(cosine.shape[1])
    ]


def rows(teacher: Checkpoint, students: list[Checkpoint], images: np.ndarray, power: int = 1) -> list[dict[str, Any]]:
    """One row a student and stage of what `measure` kept; students of other stages than the teacher's are left out.

    A row has `name`, `summarise`'s figures, `loss` (beta times the mean MSE; beta is the student's own, or the preset's
    where it was not asked for attention), and where the twin from scratch is among the students `to_twin`: the paired
    `difference` of the cosines (above zero: closer to the teacher), `half` of its 95 % interval, and `images`.
    """
    kept = stored(teacher, students, images)
    found = []
    for student in students:
        mine, twin = kept[student.path], relatives.twin_of(student, students)
        beta = (student.card.get("objective") or {}).get("attention_weight") or PRESETS["feature"]["attention_weight"]
        theirs = kept[twin.path] if twin is not None else None
        for stage, summary in enumerate(summarise(mine, power) if mine else []):
            row = {"name": student.name, **summary, "loss": beta * summary["mse"]}
            if theirs:
                row["to_twin"] = metrics.paired_interval(mine[power][0][:, stage] - theirs[power][0][:, stage])
            found.append(row)
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    """The rows as Markdown, numbers rounded for reading."""
    heads = ["Network", "Stage", "Mean cosine (10 – 90 % of images)", "To its scratch twin", "β · MSE", "Share"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for row in found:
        cosine = f"{row['cosine']:.3f} ({row['low']:.3f} – {row['high']:.3f})"
        twin = "{difference:+.3f} ± {half:.3f}".format(**row["to_twin"]) if "to_twin" in row else ""
        share = f"{100 * row['share']:.1f} %"
        lines.append([row["name"], str(row["stage"]), cosine, twin, f"{row['loss']:.4f}", share])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
