"""The typed rows of results tables."""

from __future__ import annotations

from dataclasses import dataclass

from kdexplorer.config import SCRATCH, Objective


@dataclass(frozen=True)
class PairedDifference:
    """A network's accuracy minus another's on the same images, with McNemar's test where their logits are available."""

    name: str
    """The other network."""
    difference: float
    p: float | None = None
    gained: int | None = None
    """Images that only the first network gets right."""
    lost: int | None = None
    """Images that only the other gets right."""


@dataclass(frozen=True)
class ResultRow:
    """What is known of a network; None is unknown. Shares are 0 to 1, cross-entropies and KL in nats."""

    name: str
    architecture: str
    objective_key: str
    method: str
    """The objective's label; empty for weights of unknown origin."""
    objective: float | None
    """The value that training minimized, on the evaluation split."""
    objective_terms: Objective | None
    terms: dict[str, float]
    """Cross-entropy and each term's unweighted loss on the evaluation split, by name."""
    cross_entropy: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    """Wilson's 95 % interval."""
    images: int
    evaluated_on: str
    """The evaluation images; equal where the images are."""
    parameters: int
    multiply_adds: int
    latency: float | None
    """Seconds for one image."""
    size: int | None
    """Bytes of the weights' file."""
    train_images: int | None
    epochs: int | None
    seed: int | None
    run: str | None
    seconds: float | None
    """Of training, over all runs."""
    device: str | None
    calibration_error: float | None = None
    human_cross_entropy: float | None = None
    """Cross-entropy to the human labels at T = 1."""
    teacher_agreement: float | None = None
    teacher_kl: float | None = None
    """KL(teacher ‖ network) at T = 1."""
    difference: float | None = None
    """Accuracy minus that of the table's baseline; with McNemar's `p`, `gained` and `lost`."""
    p: float | None = None
    gained: int | None = None
    lost: int | None = None
    scratch_baseline: str | None = None
    teacher: str | None = None
    to_scratch_baseline: PairedDifference | None = None
    to_teacher: PairedDifference | None = None

    @property
    def is_distilled(self) -> bool:
        """Whether the network was trained with a distillation method, see `lineage.is_distilled`."""
        return self.objective_key != SCRATCH
