"""How similar students' attention maps are to their teacher's, on one image and over many.

What was compared over many images is stored for each pair of networks and part of the images, so after an interruption
only the rest is computed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer.analysis.difference import Difference, over_mean
from kdexplorer.analysis.inference import predict_with_attention
from kdexplorer.analysis.measures import TextTable
from kdexplorer.errors import KDError
from kdexplorer.methods.at import AT, normalize_maps
from kdexplorer.networks import get_architecture
from kdexplorer.networks.outputs import Tensor, pool_to_same_size, torch
from kdexplorer.runs import array_store, lineage
from kdexplorer.runs.checkpoints import Checkpoint

BATCH = 50
"""Images of a forward pass."""

PART = 1_000
"""Images of a stored array."""

COMPARED = ("cosine", "mse", "correlation", "chance", "own")
"""What is computed of each image and stage: two maps' cosine similarity and the mean squared difference of the
normalized maps, which the loss uses; their centered correlation; that with the teacher's map of another image; and that
of what is each image's own, without the mean maps of both networks."""


@dataclass(frozen=True)
class StageSimilarity:
    """A student's attention compared with its teacher's at one stage: means over images."""

    stage: int  # from 1
    correlation: float  # of the centered maps, -1 to 1
    low: float  # the correlation's 10th percentile over images
    high: float  # its 90th percentile
    chance: float  # the correlation with the teacher's map of another image; NaN for a single image
    cosine: float  # of the maps as they are: what the loss uses
    mse: float  # the squared difference of the normalized maps
    share: float  # the stage's share of the sum of the MSE over stages, 0 to 1
    own: float = math.nan  # the correlation without the mean map of each network; NaN for a single image
    name: str = ""  # the student
    loss: float | None = None  # the MSE times `attention_weight`
    to_scratch_baseline: Difference | None = None
    """The correlation minus the scratch baseline's, paired over images: above zero it is closer to the teacher."""


def relative_map(attention: np.ndarray) -> np.ndarray:
    """An attention map `[H, W]` on a scale that networks and stages share: 1 is attention spread evenly.

    The map is scaled to unit L2 norm, as in the loss, and multiplied by `sqrt(H W)`.
    """
    attention = np.asarray(attention, dtype=np.float64)
    return attention / max(np.sqrt((attention**2).sum()), 1e-12) * np.sqrt(attention.size)


def map_difference(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Student minus teacher, each as `relative_map`, at the smaller of the two sizes (pooled as in the loss)."""
    first, second = (relative_map(maps[0].numpy()) for maps in _pool(student[None], teacher[None]))
    return first - second


def _pool(student: np.ndarray, teacher: np.ndarray) -> tuple[Tensor, Tensor]:
    """Maps `[N, H, W]` as tensors of the smaller of their sizes."""
    return pool_to_same_size(*(torch.from_numpy(np.array(maps)) for maps in (student, teacher)))


def compare_maps(student: list[np.ndarray], teacher: list[np.ndarray]) -> np.ndarray:
    """What `COMPARED` lists, `[5, N, stages]`, of as many stages' maps `[N, H, W]`.

    Where maps are positive nearly everywhere, their cosine is close to 1 even for different images. The centered
    correlation leaves out what all maps have in common with an even spread. Its chance level is that of a student's map
    and the teacher's map of the next image of its batch, NaN for a single one. Without the mean map of each network,
    what all images have in common, such as an object in the middle, is left out, too.
    """
    stages, order = [], np.arange(len(student[0]))
    following = np.concatenate([np.roll(order[begin : begin + BATCH], -1) for begin in order[::BATCH]])
    for pair in zip(student, teacher, strict=True):
        first, second = (normalize_maps(maps).numpy() for maps in _pool(*pair))
        cosine, mse = (first * second).sum(axis=1), np.square(first - second).mean(axis=1)
        chance = np.where(following == order, np.nan, correlate(first, second[following]))
        own = correlate(*(maps - maps.mean(axis=0) for maps in (first, second)))
        stages.append(np.stack([cosine, mse, correlate(first, second), chance, own]).astype(np.float32))
    return np.stack(stages, axis=-1)


def correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation over positions of maps `[N, H*W]`, `[N]` float64; 0 where one is constant."""
    both = [maps.astype(np.float64) for maps in (first, second)]
    a, b = (maps - maps.mean(axis=1, keepdims=True) for maps in both)
    sizes = [np.linalg.norm(maps, axis=1) for maps in (a, b)]
    spread = [size > 1e-6 * np.linalg.norm(maps, axis=1) for size, maps in zip(sizes, both, strict=True)]
    return np.where(spread[0] & spread[1], (a * b).sum(axis=1) / np.maximum(sizes[0] * sizes[1], 1e-300), 0.0)


def attention_weight(checkpoint: Checkpoint) -> float:
    """β, the weight of the attention term in a network's objective; the default where it has no such term."""
    objective = checkpoint.card.objective
    return float((objective.weights_by_method() if objective else {}).get(AT.key, AT.Settings().weight))


def split_by_stages(teacher: Checkpoint, students: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """The students with as many stages as the teacher, which can be compared with it, and the others."""
    counts = [len(get_architecture(one.architecture).stages) for one in (teacher, *students)]
    pairs = list(zip(students, counts[1:], strict=True))
    return [one for one, count in pairs if count == counts[0]], [one for one, count in pairs if count != counts[0]]


def load_stored(
    teacher: Checkpoint, students: Sequence[Checkpoint], images: np.ndarray
) -> dict[Path, np.ndarray | None]:
    """What `measure` stored for exactly these images by the student's folder; None where any of it is missing.

    Each is float32 `[2, 5, N, stages]`: for power 1 and 2, what `COMPARED` lists.
    """
    found: dict[Path, np.ndarray | None] = {}
    named = _split(images)
    for student in students:
        parts = [_load(teacher, student, part, name) for part, name in named]
        known = [part for part in parts if part is not None]
        found[student.path] = np.concatenate(known, axis=2) if known and len(known) == len(parts) else None
    return found


def _split(images: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """The parts that are stored apart, each with its hash."""
    parts = (images[begin : begin + PART] for begin in range(0, len(images), PART))
    return [(part, hashlib.sha256(part.tobytes()).hexdigest()) for part in parts]


def _identify(checkpoint: Checkpoint) -> tuple[str, str]:
    """What determines a network's maps: its weights and the normalization of its input."""
    return checkpoint.sha256, str(checkpoint.card.normalization)


def _facts(teacher: Checkpoint, student: Checkpoint, images: str) -> dict[str, Any]:
    networks = {"teacher": _identify(teacher), "student": _identify(student)}
    return networks | {"attention": "absolute values", "images": images}


def _load(teacher: Checkpoint, student: Checkpoint, part: np.ndarray, name: str) -> np.ndarray | None:
    shape = (2, len(COMPARED), len(part), len(get_architecture(teacher.architecture).stages))
    found = array_store.load_arrays(_facts(teacher, student, name), {"similarity": shape})
    return None if found is None else found["similarity"]


def measure(
    teacher: Checkpoint,
    students: Sequence[Checkpoint],
    images: np.ndarray,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Compares each student's attention with the teacher's on uint8 `[N, 3, 32, 32]` and stores the result.

    Students have as many stages as the teacher (`split_by_stages`); what is stored already is not computed again.
    `progress` is called with the share that is done, 0 to 1. Raises KDError when a network cannot be loaded or the
    result cannot be stored.
    """
    done = 0
    for part, name in _split(images):
        missing = {_identify(one): one for one in students if _load(teacher, one, part, name) is None}
        chosen = ({_identify(teacher): teacher} | missing) if missing else {}
        networks = {key: (one.network(), one.card.normalization) for key, one in chosen.items()}
        batches: dict[tuple[str, str], list[Any]] = {key: [] for key in networks}  # maps by power
        for begin in range(0, len(part), BATCH):
            batch = part[begin : begin + BATCH]
            for key, (one, normalization) in networks.items():
                batches[key].append(predict_with_attention(one, batch, normalization)[1])
            done += len(batch)
            progress(done / len(images))
        maps = {}
        for key, found in batches.items():
            by_power = ([one[power] for one in found] for power in (1, 2))
            maps[key] = [[np.concatenate(stage) for stage in zip(*parts, strict=True)] for parts in by_power]
        for key, student in missing.items():
            values = [compare_maps(*pair) for pair in zip(maps[key], maps[_identify(teacher)], strict=True)]
            try:
                array_store.save_arrays(_facts(teacher, student, name), {"similarity": np.stack(values)})
            except OSError as error:
                where = f"{array_store.store_root()} cannot be written ({error.strerror})"
                raise KDError(f"{where}: free some space or check its permissions.") from error


def build_rows(
    teacher: Checkpoint, students: Sequence[Checkpoint], images: np.ndarray, power: int = 1
) -> list[StageSimilarity]:
    """One row for each student and stage of what `measure` stored; baselines are searched among the students."""
    stored = load_stored(teacher, students, images)
    rows = []
    for student in students:
        mine, baseline = stored[student.path], lineage.scratch_baseline_of(student, students)
        if mine is None:
            continue
        theirs = stored[baseline.path] if baseline is not None else None
        cosine, mse, correlation, chance, own = mine[power - 1].astype(np.float64)
        gains = None if theirs is None else correlation - theirs[power - 1, COMPARED.index("correlation")]
        low, high = np.quantile(correlation, (0.1, 0.9), axis=0)
        if len(own) % PART == 1:  # alone in its part, it is the mean map itself
            own[-1] = np.nan
        level, level_own = (_mean_of_known(values) for values in (chance, own))
        means, cosines, losses = (values.mean(axis=0).tolist() for values in (correlation, cosine, mse))
        rows += [
            StageSimilarity(
                stage=stage + 1, correlation=means[stage], low=float(low[stage]), high=float(high[stage]),
                chance=float(level[stage]), cosine=cosines[stage], mse=losses[stage],
                share=losses[stage] / max(sum(losses), 1e-30), own=float(level_own[stage]),
                name=student.name, loss=attention_weight(student) * losses[stage],
                to_scratch_baseline=None if gains is None else over_mean(gains[:, stage]),
            )
            for stage in range(len(means))
        ]  # fmt: skip
    return rows


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """The means `[stages]` over the images `[N, stages]` of which it is known, NaN where it is of none."""
    known = values[~np.isnan(values).any(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(values.shape[1], np.nan)


def tabulate(rows: Sequence[StageSimilarity]) -> TextTable:
    """The rows as text, numbers rounded for reading."""
    return [
        {
            "Network": row.name,
            "Stage": str(row.stage),
            "Correlation (10 – 90 % of images)": f"{row.correlation:.3f} ({row.low:.3f} – {row.high:.3f})",
            "Chance": "" if math.isnan(row.chance) else f"{row.chance:.3f}",
            "Without the mean map": "" if math.isnan(row.own) else f"{row.own:.3f}",
            "To its scratch baseline": row.to_scratch_baseline.nats if row.to_scratch_baseline else "",
            "Cosine": f"{row.cosine:.3f}",
            "β · MSE": f"{row.loss or 0:.4f}",
            "Share": f"{100 * row.share:.1f} %",
        }
        for row in rows
    ]
