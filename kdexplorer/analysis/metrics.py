"""How good a network's logits are and how similar to the teacher's: accuracy, calibration, agreement, gradient.

Temperature scaling: one number per network that corrects its level of confidence (Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017, section 4.2). It is fitted on other images than those that it scales: the images are
divided into folds, and each fold has the temperature that fits the others. So scaled measures are as honest as the
unscaled ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FOLDS = 5
"""An image's fold is its position modulo this number, so every fold has all parts of a split that is sorted."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 50.0
"""Where a temperature is searched."""


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Soft labels: `softmax(logits / temperature)` along the last axis, float64 (Hinton et al. 2015, equation 1)."""
    return np.exp(log_softmax(logits, temperature))


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """`log softmax(logits / temperature)` along the last axis, float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def average_logits(logits: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Logits of the mean of several networks' probabilities at T = 1; of one network its own.

    Each is `[N, K]`, of the same images; None without any, where one is unknown, or where shapes differ.
    """
    known = [one for one in logits if one is not None]
    if not known or len(known) < len(logits) or len({one.shape for one in known}) > 1:
        return None
    return known[0] if len(known) == 1 else np.logaddexp.reduce([*map(log_softmax, known)], axis=0) - np.log(len(known))


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose largest logit is the label's, 0 to 1."""
    return float((logits.argmax(axis=1) == labels).mean())


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of `-log p(label)` in nats."""
    return float(cross_entropies(logits, labels).mean())


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`-log p(label)` of each image in nats, float64 `[N]`."""
    return -log_softmax(logits)[np.arange(len(labels)), labels]


def cross_entropy_to_humans(human_labels: np.ndarray, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """`-sum p log softmax(z / T)` of each image in nats, float64 `[...]`; at least the entropy of the human labels.

    Both are `[..., classes]`: the shares of annotators p, and the logits z.
    """
    return -(human_labels * log_softmax(logits, temperature)).sum(axis=-1)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Shannon entropy along the last axis in nats, never -0.0; its `exp` is the effective number of classes."""
    return np.abs((probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=-1))


def calibration_bins(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> list[dict[str, float]]:
    """The reliability diagram: per bin of confidence its bounds, count, mean confidence and accuracy.

    `noise` is the standard deviation that sampling gives the accuracy of a calibrated network with these confidences.
    """
    probabilities = softmax(logits)
    confidence, right = probabilities.max(axis=1), logits.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": bin_ / bins,
            "high": (bin_ + 1) / bins,
            "count": int(own.sum()),
            "confidence": float(confidence[own].mean()),
            "accuracy": float(right[own].mean()),
            "noise": float((confidence * (1 - confidence))[own].sum() ** 0.5 / own.sum()),
        }
        for bin_ in range(bins)
        if (own := index == bin_).any()
    ]


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3, with 15 bins; 0 to 1."""
    rows = calibration_bins(logits, labels)
    return sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(labels)


def calibration_noise(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean `expected_calibration_error` of a calibrated network with these confidences: by sampling alone; 0 to 1.

    The mean size of a normal deviate is √(2/π) standard deviations.
    """
    rows = calibration_bins(logits, labels)
    return float((2 / np.pi) ** 0.5 * sum(row["count"] * row["noise"] for row in rows) / len(labels))


def per_class_accuracy(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """The share of each class's images that are right (recall), 0 to 1; NaN where a class has none."""
    right = logits.argmax(axis=1) == labels
    of_class = [right[labels == label] for label in range(logits.shape[1])]
    return [float(one.mean()) if len(one) else float("nan") for one in of_class]


def kl_divergence(teacher_logits: np.ndarray, student_logits: np.ndarray, temperature: float = 1.0) -> float:
    """The mean of `KL(teacher || student)` at a temperature, in nats, without the factor T^2."""
    return float(kl_by_image(teacher_logits, student_logits, temperature).mean())


def kl_by_image(teacher_logits: np.ndarray, student_logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """`KL(teacher || student)` of each image as in `kl_divergence`, float64 `[N]`."""
    teacher, student = log_softmax(teacher_logits, temperature), log_softmax(student_logits, temperature)
    return (np.exp(teacher) * (teacher - student)).sum(axis=1)


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each class is taken for each: `[classes, classes]`, rows are true, each row sums to 1 (or is 0)."""
    counts = np.zeros((logits.shape[1], logits.shape[1]))
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def sum_classes(probabilities: np.ndarray, superclasses: np.ndarray) -> np.ndarray:
    """The probability of each superclass `[..., G]`: that of its classes `[..., K]` together.

    `superclasses` is the superclass of each class, int `[K]`.
    """
    return probabilities @ np.eye(int(superclasses.max()) + 1)[superclasses]


def class_similarity(
    logits: np.ndarray, groups: np.ndarray, temperature: float, superclasses: np.ndarray | None = None
) -> np.ndarray:
    """The mean soft label of each group of images, `[classes, classes]` float64: which classes a network finds similar.

    `groups` is the class of each image, int `[N]`: its label or a network's prediction. Rows of empty groups are NaN.
    With `superclasses`, see `sum_classes`, these take the place of the classes.
    """
    probabilities = softmax(logits, temperature)
    if superclasses is not None:
        probabilities, groups = sum_classes(probabilities, superclasses), superclasses[groups]
    classes = probabilities.shape[1]
    rows = [probabilities[groups == group] for group in range(classes)]
    return np.stack([row.mean(axis=0) if len(row) else np.full(classes, np.nan) for row in rows])


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


def push_size(student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float) -> np.ndarray:
    """The L1 norm over classes of the gradient of `T² KL` on the student's logits, unweighted, float64 `[...]`.

    `T Σ |p_s(T) - p_t(T)|` for logits `[..., K]`, from Hinton et al. 2015, equation 2. The factor T² balances the
    gradient's 1/T² in the limit of large T only, where this is `Σ |z_s - z_t| / K` for logits of mean 0 (equation 4).
    """
    difference = softmax(student_logits, temperature) - softmax(teacher_logits, temperature)
    return temperature * np.abs(difference).sum(axis=-1)


def fresh_push(teacher_logits: np.ndarray, temperature: float) -> float:
    """The mean `push_size` over images `[N, K]` at the start of training: an untrained student's logits are zero."""
    return float(push_size(np.zeros_like(teacher_logits), teacher_logits, temperature).mean())


def gradient_on_logits(
    student_logits: np.ndarray, teacher_logits: np.ndarray, label: int | None, temperature: float, alpha: float
) -> dict[str, np.ndarray]:
    """The gradient of the lab's response-based loss on the student's logits, for one image.

    `dL/dz = alpha * T * (p_s(T) - p_t(T)) + (1 - alpha) * (p_s - y)`, from Hinton et al. 2015, equation 2, with the
    factor T^2 of the loss. A step of training moves the logits *against* the gradient. Returns `teacher`, `label` (zero
    without one, as for an upload) and their sum `total`, each `[classes]` float64.
    """
    teacher = alpha * temperature * (softmax(student_logits, temperature) - softmax(teacher_logits, temperature))
    hard = np.zeros_like(teacher)
    if label is not None:
        hard = (1 - alpha) * (softmax(student_logits) - np.eye(len(teacher))[label])
    return {"teacher": teacher, "label": hard, "total": teacher + hard}
