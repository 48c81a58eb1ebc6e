"""Temperature scaling: one number per network that corrects its level of confidence.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. The temperature is fitted on other
images than those that it scales: the images are divided into folds, and each fold has the temperature that fits the
others. So scaled figures are as honest as the unscaled ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdexplorer.analysis.metrics import cross_entropy, expected_calibration_error, softmax

FOLDS = 5
"""An image's fold is its position modulo this number, so every fold has all parts of a split that is sorted."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 50.0
"""Where a temperature is searched."""


Scaled = Mapping[str, tuple[np.ndarray, float]]
"""Logits after temperature scaling and their temperature, by network; see `scale_logits`."""


@dataclass(frozen=True)
class ScaledMetrics:
    """A network after temperature scaling: the mean of the folds' temperatures, and the figures of all images."""

    temperature: float
    cross_entropy: float  # nats
    calibration_error: float  # 0 to 1


def fit_temperature(targets: np.ndarray, logits: np.ndarray) -> float | None:
    """The temperature at which the mean cross-entropy to the targets is least; None where there is no such T.

    Both are `[N, classes]`, or `[classes]` of one image; targets are probabilities: human labels, or hard labels as
    one-hot rows. The cross-entropy is convex in 1/T, so there is one minimum or none: none where the targets' mean
    logit `sum p z` is the network's largest (the lower T, the closer) or not above its average one (the higher T,
    the closer), and none outside `MIN_TEMPERATURE` to `MAX_TEMPERATURE`.
    """
    logits = np.asarray(logits, dtype=np.float64)
    mean = float((targets * logits).sum(axis=-1).mean())
    if not logits.mean() < mean < logits.max(axis=-1).mean():
        return None
    low, high, inverse = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE, 1.0
    for _ in range(60):  # Newton's method on the derivative, which rises with 1/T; halving where it leaves the bracket
        shares = softmax(logits, 1 / inverse)
        first = (shares * logits).sum(axis=-1)
        slope, curvature = float(first.mean()) - mean, float(((shares * logits**2).sum(axis=-1) - first**2).mean())
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        following = inverse - slope / curvature if curvature > 0 else low
        following = following if low < following < high else (low * high) ** 0.5
        if abs(following / inverse - 1) < 1e-6:
            break
        inverse = following
    temperature = 1 / inverse
    return temperature if 1.01 * MIN_TEMPERATURE < temperature < 0.99 * MAX_TEMPERATURE else None


def scale_logits(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Each image's logits `[N, classes]` divided by the temperature that fits the other folds, and the mean of these.

    A fold whose other images have no best temperature, as where all of them are classified correctly, keeps T = 1.
    `labels` are int `[N]`. Deterministic.
    """
    folds, targets = np.arange(len(labels)) % FOLDS, np.eye(logits.shape[1])[labels]
    temperatures = np.ones(FOLDS)
    for fold in range(min(FOLDS, len(labels))):
        others = folds != fold
        if others.any():
            temperatures[fold] = fit_temperature(targets[others], logits[others]) or 1.0
    return np.asarray(logits, dtype=np.float64) / temperatures[folds, None], float(temperatures.mean())


def scale_known(logits: Mapping[str, np.ndarray | None], labels: np.ndarray | None) -> Scaled:
    """The networks with logits of every labeled image."""
    if labels is None:
        return {}
    known = {name: own for name, own in logits.items() if own is not None and len(own) == len(labels)}
    return {name: scale_logits(own, labels) for name, own in known.items()}


def scaled_metrics(logits: np.ndarray, labels: np.ndarray) -> ScaledMetrics:
    """Cross-entropy and expected calibration error of logits `[N, classes]` after temperature scaling; see above."""
    scaled, temperature = scale_logits(logits, labels)
    return ScaledMetrics(temperature, cross_entropy(scaled, labels), expected_calibration_error(scaled, labels))
