"""How good a network is, how sure that is, how like its teacher, and at what cost.

Of SciPy only plain functions of numbers are used: the rest (`scipy.stats`, `log_softmax`) asks whether its input is a
tensor once anybody has begun to import torch, and fails while torch is half loaded: just when a hall opens the link.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """`log softmax(logits / temperature)` along the last axis, float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose largest logit is the label's, 0 to 1."""
    return float((logits.argmax(axis=1) == labels).mean())


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of `-log p(label)` in nats."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def wilson_interval(correct: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of Wilson, "Probable inference", JASA 1927, for a share, 0 to 1."""
    from scipy.special import ndtri

    share, z2 = correct / count, float(ndtri((1 + confidence) / 2)) ** 2
    middle = share + z2 / (2 * count)
    reach = (z2 * (share * (1 - share) + z2 / (4 * count)) / count) ** 0.5
    low, high = ((middle + side * reach) / (1 + z2 / count) for side in (-1, 1))
    return (0.0 if correct == 0 else low), (1.0 if correct == count else high)


def calibration_bins(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> list[dict[str, float]]:
    """The reliability diagram: per bin of confidence its bounds, count, mean confidence and accuracy."""
    probabilities = np.exp(log_softmax(logits))
    confidence, right = probabilities.max(axis=1), logits.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": bin_ / bins,
            "high": (bin_ + 1) / bins,
            "count": int((index == bin_).sum()),
            "confidence": float(confidence[index == bin_].mean()),
            "accuracy": float(right[index == bin_].mean()),
        }
        for bin_ in range(bins)
        if (index == bin_).any()
    ]


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3; 0 to 1."""
    rows = calibration_bins(logits, labels, bins)
    return sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(labels)


def per_class_accuracy(logits: np.ndarray, labels: np.ndarray, classes: int = 10) -> list[float]:
    """The share of each class's images that are right (recall), 0 to 1; NaN where a class has none."""
    right = logits.argmax(axis=1) == labels
    return [
        float(right[labels == label].mean()) if (labels == label).any() else float("nan") for label in range(classes)
    ]


def agreement(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """The share of images on which both networks answer the same class, 0 to 1."""
    return float((logits.argmax(axis=1) == teacher_logits.argmax(axis=1)).mean())


def kl_divergence(teacher_logits: np.ndarray, student_logits: np.ndarray, temperature: float = 1.0) -> float:
    """The mean of `KL(teacher || student)` at a temperature, in nats, without the factor T^2."""
    teacher, student = log_softmax(teacher_logits, temperature), log_softmax(student_logits, temperature)
    return float((np.exp(teacher) * (teacher - student)).sum(axis=1).mean())


def mcnemar(logits: np.ndarray, other_logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """McNemar's exact test between two networks on the same images (Psychometrika 1947).

    Returns:
        `gained`: images that only the first gets right; `lost`: only the other; `difference` in accuracy;
        `p`: two-sided, exact binomial.
    """
    from scipy.special import bdtr

    first, other = logits.argmax(axis=1) == labels, other_logits.argmax(axis=1) == labels
    gained, lost = int((first & ~other).sum()), int((other & ~first).sum())
    p = min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5))) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "difference": (gained - lost) / len(labels), "p": p}


def paired_test(right: np.ndarray, other_right: np.ndarray) -> dict[str, float]:
    """Whether one recipe beats another on the same images, when each was trained from several seeds.

    An image counts by how many more of the one's seeds get it right, so the same image under several seeds is one
    observation and not several. Under the null hypothesis each image's count is as likely with the other sign: the
    distribution of the sum is computed exactly. With one seed this is McNemar's exact test.

    Args:
        right, other_right: bool `[seeds, images]`, the same seeds and images.

    Returns:
        `gained`, `lost`: images on which the one (the other) has more seeds right; `difference` in mean accuracy;
        `p`: two-sided, exact. It speaks of other images, not of other seeds.
    """
    from scipy.special import gammaln

    score = right.sum(axis=0, dtype=np.int64) - other_right.sum(axis=0, dtype=np.int64)
    sizes, counts = np.unique(np.abs(score[score != 0]), return_counts=True)
    pmf = np.ones(1)  # of the sum, from -reach to reach
    for size, count in zip(sizes, counts, strict=True):
        steps = np.zeros(2 * size * count + 1)
        heads = np.arange(count + 1)
        ways = gammaln(count + 1) - gammaln(heads + 1) - gammaln(count - heads + 1)
        steps[:: 2 * size] = np.exp(ways - count * np.log(2))
        pmf = np.convolve(pmf, steps)
    reach = len(pmf) // 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(score.sum()))
    return {
        "gained": int((score > 0).sum()),
        "lost": int((score < 0).sum()),
        "difference": float(score.sum()) / right.size,
        "p": min(1.0, float(pmf[far].sum())),
    }


def paired_interval(difference: np.ndarray) -> dict[str, float]:
    """The mean of two networks' differences `[N]` on the same images, and `half` of its 95 % interval (normal)."""
    half = 1.96 * difference.std() / max(1, len(difference)) ** 0.5
    return {"difference": float(difference.mean()), "half": float(half), "images": len(difference)}


def holm(p_values: list[float]) -> list[float]:
    """p values after the correction for many looks of Holm, Scandinavian Journal of Statistics 1979, in their order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def seed_interval(values: list[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval for the mean over seeds; None for a single seed, which says nothing about others."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return None
    middle, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * error
    return middle - reach, middle + reach


def confusion(logits: np.ndarray, labels: np.ndarray, classes: int = 10) -> np.ndarray:
    """How often each class is taken for each: `[classes, classes]`, rows are true, each row sums to 1 (or is 0)."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def summary(logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None = None) -> dict[str, Any]:
    """Everything that follows from stored logits: one row of the table."""
    right = int((logits.argmax(axis=1) == labels).sum())
    low, high = wilson_interval(right, len(labels))
    row: dict[str, Any] = {
        "accuracy": right / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "cross_entropy": cross_entropy(logits, labels),
        "calibration_error": expected_calibration_error(logits, labels),
        "images": len(labels),
    }
    if teacher_logits is not None:
        row["teacher_agreement"] = agreement(logits, teacher_logits)
        row["teacher_kl"] = kl_divergence(teacher_logits, logits)
    return row


MULTIPLY_ADDS = {
    "resnet8": 12_239_488,
    "resnet20": 40_551_040,
    "resnet32": 68_862_592,
    "resnet44": 97_174_144,
    "resnet56": 125_485_696,
    "resnet110": 252_887_680,
    "resnet18": 555_422_720,
    "resnet34": 1_159_402_496,
    "resnet50": 1_297_829_888,
    "wrn_16_2": 101_106_944,
    "wrn_40_2": 327_599_360,
    "mobilenet_v2": 87_976_448,
}
"""What `multiply_adds` counts for ten classes, so that a table needs no torch. A test holds the two together."""


def multiply_adds(architecture: str) -> int:
    """Multiply-adds of one 32x32 image, convolutions and linear layers, counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from kdexplorer.models import build

    network = build(architecture).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() // 2


def latency(architecture: str, batch: int = 1, repetitions: int = 30) -> float:
    """Seconds that a batch takes on this machine's processor in float32: the median, after a warm-up."""
    import torch

    from kdexplorer.models import build, folded

    network = folded(build(architecture))
    images = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for repetition in range(repetitions + 3):
            begin = time.perf_counter()
            network(images)
            if repetition >= 3:
                seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


def class_similarity(logits: np.ndarray, groups: np.ndarray, temperature: float, classes: int = 10) -> np.ndarray:
    """The mean soft label of each group of images: what a network holds to be alike.

    Args:
        logits: `[N, classes]`.
        groups: `[N]` int, the class of each image: its label, or a network's answer where labels are not at hand.
        temperature: above 0.

    Returns:
        `[classes, classes]` float64; each row is the mean of the group's probabilities, or NaN where it is empty.
    """
    probabilities = np.exp(log_softmax(logits, temperature))
    rows = [probabilities[groups == group] for group in range(classes)]
    return np.stack([row.mean(axis=0) if len(row) else np.full(classes, np.nan) for row in rows])
