"""What people answered: CIFAR-10H, and the temperature at which a network is closest to them.

Peterson, Battleday, Griffiths & Russakovsky, "Human uncertainty makes classification more robust", ICCV 2019: about 50
people's answers to each of CIFAR-10's 10,000 test images, in the order of the test split. Their licence (CC BY-NC-SA
4.0) is not this project's, so nothing of it is shipped: whoever has the file says where.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kdexplorer.data import CIFAR10_CLASSES, SIZES, data_root
from kdexplorer.errors import DataError
from kdexplorer.images import sample_images
from kdexplorer.metrics import log_softmax

VARIABLE = "KDEXPLORER_CIFAR10H"
FILES = ("cifar10h-counts.npy", "cifar10h-probs.npy")
T_LOW, T_HIGH = 0.05, 50.0
"""Where a closest temperature is looked for; at an end of it none is closest."""


def find() -> Path | None:
    """The file of people's answers: `KDEXPLORER_CIFAR10H` (a file or its folder), else beside CIFAR-10, else None."""
    given = os.environ.get(VARIABLE)
    root = data_root()
    places = [Path(given).expanduser()] if given else [root, root / "cifar10h", root.resolve().parent / "cifar10h"]
    for place in places:
        for path in (place, *(place / name for name in FILES)):
            if path.is_file():
                return path
    return None


def load(path: Path) -> np.ndarray:
    """People's answers as probabilities, float64 `[10000, 10]`, in the order of the test split.

    Raises:
        DataError: when the file is not CIFAR-10H, or its rows are not in the test split's order.
    """
    try:
        answers = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as people's answers ({error}): fetch {FILES[0]} again.") from error
    shape = (SIZES["test"], len(CIFAR10_CLASSES))
    if not isinstance(answers, np.ndarray):
        raise DataError(f"{path} is an archive of several arrays, not people's answers: fetch {FILES[0]}.")
    if answers.shape != shape or answers.dtype.kind not in "iuf":
        raise DataError(f"{path} holds {answers.dtype} of shape {answers.shape}, not people's answers {shape}.")
    answers = answers.astype(np.float64)
    totals = answers.sum(axis=1, keepdims=True)
    if not np.isfinite(answers).all() or answers.min() < 0 or totals.min() <= 0:
        raise DataError(f"{path} holds values that are no counts or shares: fetch {FILES[0]} again.")
    _, labels, indices = sample_images()
    if len(labels) and (answers[indices].argmax(axis=1) == labels).mean() < 0.7:
        raise DataError(f"{path} is not in the order of CIFAR-10's test split: fetch {FILES[0]} again.")
    return answers / totals


def cross_entropy(people: np.ndarray, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """`-sum p log softmax(z / T)` of each image, in nats; at least the entropy of people's answers.

    Args:
        people: probabilities `[..., classes]`.
        logits: `[..., classes]`.
        temperature: above 0.

    Returns:
        float64 `[...]`.
    """
    return -(people * log_softmax(logits, temperature)).sum(axis=-1)


def closest_temperature(people: np.ndarray, logits: np.ndarray) -> float | None:
    """The temperature at which the mean cross-entropy against people is least; None where there is no such T.

    The cross-entropy is convex in 1/T, so there is one minimum or none: none where people's mean logit, `sum p z`, is
    the network's largest (they agree on its first answer: the colder the closer) or not above its average one (they
    answer what it holds to be unlikely: the hotter the closer).

    Args:
        people: probabilities `[N, classes]`, or `[classes]` of one image.
        logits: of the same shape.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    mean = float((people * logits).sum(axis=-1).mean())
    if not logits.mean() < mean < logits.max(axis=-1).mean():
        return None
    ends = np.log([T_LOW, T_HIGH])
    found = minimize_scalar(
        lambda log_t: float(np.mean(cross_entropy(people, logits, np.exp(log_t)))),
        bounds=ends,
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x)) if ends[0] + 0.01 < found.x < ends[1] - 0.01 else None
