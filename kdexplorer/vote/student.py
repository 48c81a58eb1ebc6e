"""A student distilled from the room's votes beside one from hard labels, over the questions' pictures alone.

A handful of pictures makes no useful classifier. What can be compared is whether the room's doubts help where nothing
else is known: both students of a seed have the same initial weights and see the same batches, at 16 × 16 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kdexplorer.analysis.statistics import format_p, seed_test
from kdexplorer.datasets import Normalization
from kdexplorer.vote.analysis import UNLIKELY
from kdexplorer.vote.records import Question, StudentComparison, VoteError

ARCHITECTURE = "resnet8"
SEEDS = 5
STEPS = 60
"""Each on all pictures, shifted by up to two pixels and mirrored at random."""
LEARNING_RATE, MOMENTUM = 0.05, 0.9
TEST_IMAGES = 1000
"""At most, of the test split, the questions' own left out."""


def usable(questions: Sequence[Question]) -> list[Question]:
    """The closed questions with a label and votes, of the last one's data set."""
    found = [one for one in questions if one.label is not None and any(one.totals)]
    return [one for one in found if (one.dataset, one.classes) == (found[-1].dataset, found[-1].classes)]


def compare_students(
    questions: Sequence[Question],
    images: np.ndarray,
    labels: np.ndarray,
    normalization: Normalization,
    pause: Callable[[], object] = lambda: None,
    seeds: int = SEEDS,
    steps: int = STEPS,
) -> StudentComparison:
    """Trains two students for each seed on the CPU; minimizes the cross-entropy to the room's or to the hard labels.

    Args:
        questions: see `usable`.
        images: uint8 `[N, 3, 32, 32]`, other test images.
        labels: int `[N]`, theirs.
        normalization: of the students' input.
        pause: called between two students.
        seeds: how many.
        steps: of each student.

    Raises:
        VoteError: without a question or a test image.
    """
    if not questions or not len(labels):
        raise VoteError("Close a question about a test image with votes first.")
    pictures = _halve(np.stack([one.pixels for one in questions]))
    hard = np.eye(len(questions[0].classes))[[one.label or 0 for one in questions]]
    counts = np.array([one.totals for one in questions], dtype=np.float64)
    room = counts / counts.sum(axis=1, keepdims=True)
    small = _halve(images)
    accuracies: dict[str, list[float]] = {"room": [], "hard": []}
    for seed in range(seeds):
        for name, targets in (("room", room), ("hard", hard)):
            pause()
            logits = _train_and_predict(pictures, targets, small, normalization, seed, steps)
            accuracies[name].append(float((logits.argmax(axis=1) == labels).mean()))
    return StudentComparison(
        questions=tuple(one.key for one in questions), room=tuple(accuracies["room"]), hard=tuple(accuracies["hard"]),
        test_images=len(labels), steps=steps, differing=int((np.abs(room - hard).max(axis=1) > 0).sum()),
    )  # fmt: skip


def _train_and_predict(
    pictures: np.ndarray, targets: np.ndarray, images: np.ndarray, normalization: Normalization, seed: int, steps: int
) -> np.ndarray:
    """Logits `[N, K]` of a student that was trained on the pictures `[P, 3, H, W]` with targets `[P, K]`."""
    import torch
    import torch.nn.functional as F

    from kdexplorer.analysis.inference import predict
    from kdexplorer.datasets.augmentation import augment, normalize
    from kdexplorer.networks import build

    network = build(ARCHITECTURE, targets.shape[1], seed)
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    inputs, wanted, order = torch.from_numpy(pictures), torch.from_numpy(targets).float(), np.arange(len(pictures))
    for step in range(steps):
        batch = normalize(augment(inputs, order, seed, step, 0, padding=2, flip="random"), normalization)
        loss = F.cross_entropy(network(batch), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    return np.concatenate([predict(network, images[k : k + 250], normalization) for k in range(0, len(images), 250)])


def _halve(images: np.ndarray) -> np.ndarray:
    """uint8 `[N, 3, 32, 32]` to `[N, 3, 16, 16]`, means of four pixels: a quarter of the time."""
    blocks = images.reshape(*images.shape[:2], images.shape[2] // 2, 2, images.shape[3] // 2, 2)
    return np.round(blocks.mean(axis=(3, 5))).astype(np.uint8)


def describe_students(found: StudentComparison) -> str:
    """The result, with what it does not say."""
    count = len(found.questions)
    pictures = f"{count} picture{'s' if count > 1 else ''}"
    if not found.differing:
        return (
            f"On {pictures} every vote is for the hard label, so the room's soft labels are the hard labels and both "
            "students are the same."
        )
    differences = [100 * (room - hard) for room, hard in zip(found.room, found.hard, strict=True)]
    room, hard = (100 * float(np.mean(one)) for one in (found.room, found.hard))
    test = seed_test(differences)
    text = (
        f"Trained on {pictures} only, a student distilled from the room's votes gets {room:.1f} % of "
        f"{found.test_images} other test images right, one from hard labels {hard:.1f} % "
        f"(means of {len(differences)} seeds"
    )
    if test is None:
        return f"{text}). One seed cannot decide which labels are better."
    text += f"; difference {test.difference:+.1f} points, 95 % t interval {test.low:+.1f} to {test.high:+.1f})."
    if test.p < UNLIKELY:
        better = "votes" if test.difference > 0 else "hard labels"
        verdict = f"With these pictures the {better} are better by more than chance over seeds ({format_p(test.p)})."
    else:
        verdict = f"The difference between the two kinds of labels may be chance over seeds ({format_p(test.p)})."
    return f"{text} {verdict} The interval covers other seeds, not other pictures or another room."
