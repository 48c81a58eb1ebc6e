"""Shifted pictures: does a distilled student keep its lead when the images become worse?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.analysis.difference import Difference, correct, decide, over_images
from kdexplorer.analysis.inference import predict_batches
from kdexplorer.analysis.measures import Evaluation
from kdexplorer.datasets import Split, available_dataset, get_dataset
from kdexplorer.datasets.augmentation import normalize
from kdexplorer.datasets.base import Normalization
from kdexplorer.errors import ConfigError
from kdexplorer.networks.outputs import F, torch
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.studies.experiments import base
from kdexplorer.studies.experiments.base import Claim, Experiment, Plot, Point, Results
from kdexplorer.studies.table import Table, describe_network, evaluate_row, find_changed

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork

IMAGES, SMALL_IMAGES, BATCH = 1_000, 200, 250
CLEAN = "as they are"
SHIFTS: dict[str, tuple[str, float]] = {
    CLEAN: ("clean", 0),
    "noise, 10 levels": ("noise", 10), "noise, 20 levels": ("noise", 20),
    "blur, 0.7 pixels": ("blur", 0.7), "blur, 1.2 pixels": ("blur", 1.2),
    "contrast halved": ("contrast", 0.5), "a quarter of the contrast": ("contrast", 0.25),
    "adversarial, 1 level": ("adversarial", 1), "adversarial, 2 levels": ("adversarial", 2),
    "transferred, 2 levels": ("transferred", 2),
}  # fmt: skip
"""Kind and strength by name: the noise's standard deviation and the adversarial step in levels of 255, the blur's
standard deviation in pixels, the share of the contrast that is left. Transferred: a step on `SOURCE`'s gradient."""
NATURAL = ["noise, 20 levels", "blur, 1.2 pixels", "a quarter of the contrast"]
ADVERSARIAL, TRANSFERRED = ["adversarial, 2 levels"], ["transferred, 2 levels"]
STRONG = NATURAL + ADVERSARIAL
TEACHER = "resnet56"
SOURCE = "resnet18-scratch"
"""Trained on labels alone, of another family than all that are attacked: neither a student nor its baseline is nearer
to it by construction."""
PAIRS = {
    "resnet20-response": "resnet20-scratch", "resnet8-response": "resnet8-scratch",
    "resnet8-combined": "resnet8-scratch",
}  # fmt: skip
"""Distilled students and their scratch baselines."""
NETWORKS = (TEACHER, "resnet20-scratch", "resnet20-response", "resnet8-scratch", "resnet8-response", "resnet8-combined")


def measure(table: Table, small: bool) -> Iterator[Table]:
    """Network by network, a table after each condition."""
    split = get_dataset(available_dataset("cifar10")).load("test")
    images = split.first(SMALL_IMAGES if small else IMAGES)
    steps = dict[str, np.ndarray]()
    described = f"first {len(images):,} test images of CIFAR-10"
    if table.images not in (None, len(images)):
        raise ConfigError(f"{EXPERIMENT.key}: the table has other images than are measured now: move it elsewhere.")
    table, of_source = Table() if find_changed(table) else table, describe_network(find_checkpoint(SOURCE))
    for name in NETWORKS:
        checkpoint, network = find_checkpoint(name), None
        entries = {one.name: one for one in (*table.entries, describe_network(checkpoint), of_source)}
        known = {row.part for row in table.rows if row.entry == name}
        for shift, (kind, strength) in SHIFTS.items():
            if shift in known:
                continue
            network = checkpoint.network() if network is None else network
            source = {"adversarial": name, "transferred": SOURCE}.get(kind)
            if source is not None and source not in steps:
                attacked = find_checkpoint(source)
                steps[source] = gradient_signs(attacked.network(), images, attacked.card.normalization)
            pixels = shift_images(images.images, kind, strength, steps.get(source or ""))
            logits = predict_batches(network, pixels, checkpoint.card.normalization, BATCH)
            row = evaluate_row(name, Evaluation(logits, images.labels), ("accuracy", "calibration_error"), shift)
            added = {"rows": [*table.rows, row], "entries": list(entries.values())}
            table = table.model_copy(update=added | {"evaluated_on": described, "images": len(images)})
            yield table


def judge(results: Results) -> list[Claim]:
    """What each distilled student loses beyond its baseline."""
    claim = "Distilled students lose less under shifts than students without a teacher"
    lost, adversarial, transferred = (_compare(results, shifts) for shifts in (NATURAL, ADVERSARIAL, TRANSFERRED))
    if len(lost) + len(adversarial) + len(transferred) < len(PAIRS) * len(STRONG + TRANSFERRED):
        return [Claim(claim, "Not all networks are measured yet.", "cannot be decided", "the missing networks")]
    verdict = decide(list(lost.values()))
    less, more = (sum(one.sign == sign for one in lost.values()) for sign in (1, -1))
    undecided = base.describe_undecided(lost) if verdict == "cannot be decided" else ""
    evidence = (
        f"Points that a student loses less than its scratch baseline: {_list(lost)} (simultaneous 95 % intervals over "
        f"{next(iter(lost.values())).count:,} images, exact paired tests with Holm's correction; these trained "
        f"networks). Of {len(lost)}, {less} are clearly above zero and {more} below.{undecided} Apart from the "
        "verdict, a step on each network's own gradient: "
        f"{_list(adversarial)}. A step on the gradient of {SOURCE}, the same pixels for all: {_list(transferred)}."
        f"{_describe_calibration(results)}"
    )
    return [Claim(claim, evidence, verdict, base.say_what_decides(lost))]


def figure(results: Results) -> Plot:
    """Each distilled student's lead over its baseline, under each condition."""
    roles = {entry.name: entry.key for entry in results.measured.entries}
    points, images = list[Point](), ""
    for shift in SHIFTS:
        for student in PAIRS:
            if (pair := _right(results, student, shift)) is not None:
                lead = over_images(*pair)
                low, high = lead.ends
                points.append(Point(student, 100 * lead.estimate, label=shift, low=low, high=high))
                images = f"mean and 95 % interval over {lead.count:,} test images"
    return Plot(
        "dots", "A student's lead when images become worse", images,
        "lead over scratch (percentage points)", tuple(points),
        {student: roles[student] for student in PAIRS if student in roles}, rule=0,
    )  # fmt: skip


def shift_images(images: np.ndarray, kind: str, strength: float, signs: np.ndarray | None = None) -> np.ndarray:
    """uint8 images `[N, 3, H, W]` after a shift, kind and strength as in `SHIFTS`, uint8; deterministic.

    `signs`, int8 `[N, 3, H, W]`, are the direction of an adversarial step.
    """
    pixels = images.astype(np.float32)
    if kind == "noise":
        pixels += np.random.default_rng(0xC1FA).normal(0, strength, images.shape).astype(np.float32)
    elif kind == "blur":
        from scipy.ndimage import gaussian_filter

        pixels = gaussian_filter(pixels, (0, 0, strength, strength), mode="reflect")
    elif kind == "contrast":
        mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
        pixels = mean + strength * (pixels - mean)
    elif kind in ("adversarial", "transferred"):
        assert signs is not None
        pixels += strength * signs
    return pixels.round().clip(0, 255).astype(np.uint8)


def gradient_signs(network: StagedNetwork, images: Split, normalization: Normalization) -> np.ndarray:
    """The sign of cross-entropy's gradient on the pixels, int8 `[N, 3, H, W]`: where to step to raise the loss.

    Goodfellow, Shlens & Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, the fast gradient sign.
    """

    def signs(start: int) -> torch.Tensor:
        part = images.take(np.arange(start, min(start + BATCH, len(images))))
        inputs = normalize(torch.from_numpy(np.array(part.images)), normalization).requires_grad_()
        loss = F.cross_entropy(network(inputs).float(), torch.from_numpy(part.labels))
        return torch.autograd.grad(loss, inputs)[0].sign().to(torch.int8)

    return torch.cat([signs(start) for start in range(0, len(images), BATCH)]).numpy()


def _compare(results: Results, shifts: list[str]) -> dict[str, Difference]:
    """By how much less each student loses than its baseline under each shift: one family, without what is unknown.

    Of each image it counts what student and baseline get right, as they are and shifted: the exact test of their signs.
    """
    found = {}
    for name, shift in product(PAIRS, shifts):
        shifted, clean = (_right(results, name, part) for part in (shift, CLEAN))
        if shifted is not None and clean is not None:
            own, other = np.stack([shifted[0], clean[1]]), np.stack([shifted[1], clean[0]])
            half = over_images(own, other)  # of a mean of two predictions
            low, high = half.interval or (0.0, 0.0)
            found[f"{name}, {shift}"] = replace(
                half, estimate=2 * half.estimate, interval=(2 * low, 2 * high), detectable=2 * (half.detectable or 0)
            )
    return correct(found)


def _right(results: Results, student: str, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Which images the student and its baseline get right, bool `[N]` each; None if unknown."""
    found = {row.entry: results.measured.right(row) for row in results.measured.rows if row.part == part}
    right, other_right = found.get(student), found.get(PAIRS[student])
    return None if right is None or other_right is None else (right, other_right)


def _list(lost: Mapping[str, Difference]) -> str:
    return "; ".join(f"{name} {100 * one.estimate:+.2f} ({one.simultaneous.bounds()})" for name, one in lost.items())


def _describe_calibration(results: Results) -> str:
    """Whether distilled students are better calibrated under the strong shifts, of which all are measured."""
    errors: dict[str, list[float]] = {}
    for row in results.measured.rows:
        if row.part in STRONG:
            errors.setdefault(row.entry, []).append(row.measures["calibration_error"])
    means = {one: (float(np.mean(errors[one])), float(np.mean(errors[other]))) for one, other in PAIRS.items()}
    better = sum(own < other for own, other in means.values())
    count = {0: "worse for all", len(means): "better for all"}.get(better, f"better for {better} of {len(means)}")
    listed = "; ".join(
        f"{student} {100 * own:.1f} %, its baseline {100 * other:.1f} %" for student, (own, other) in means.items()
    )
    return f" Under these shifts calibration is {count}: expected calibration error {listed}."


EXPERIMENT = Experiment(
    order=7,
    key="shifted-images",
    title="Shifted pictures",
    question="Does the lead of a distilled student survive noise, blur, low contrast, and adversarial steps?",
    literature=(
        "Distillation can carry over a teacher's robustness (Goldblum et al. 2020, of robust teachers); accuracy falls "
        "under common corruptions for all networks that were trained without them (Hendrycks & Dietterich 2019)."
    ),
    protocol=(
        "ResNet-56, and of its ResNet-20 and ResNet-8 the scratch baselines, the response-based students and the "
        "combined ResNet-8, on the first 1,000 test images: as they are, and with noise, blur and less contrast in two "
        "strengths, and after a step of one or two levels against each network's own gradient (Goodfellow et al. "
        f"2015). Added afterwards: a step of two levels against the gradient of {SOURCE}. Nothing is trained."
    ),
    comparison=(
        "The accuracy that a distilled student loses under a strong shift minus what its scratch baseline loses; the "
        "unit is the image (these trained networks), exact paired tests with Holm's correction for all students and "
        "natural shifts. Supported where each distilled student loses clearly less under each, not supported where one "
        "loses clearly more. Declared at first was the mean over four strong shifts, which hides that they differ; "
        "steps on the own gradient and on another network's are now reported apart."
    ),
    expected="The lead shrinks under strong shifts; distilled students are no more robust than their accuracy says.",
    change="More images: `IMAGES` in the experiment's file. Other strengths: `SHIFTS`.",
    cost="A few minutes of the processor: six networks, ten conditions, 1,000 images.",
    judge=judge,
    figure=figure,
    measure=measure,
)
