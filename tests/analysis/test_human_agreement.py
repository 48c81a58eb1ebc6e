"""Networks and human labels: how close they are, and distilled students against their scratch baselines."""

import numpy as np
import pytest

from kdexplorer.analysis import human_agreement
from kdexplorer.analysis.difference import Difference
from kdexplorer.analysis.human_agreement import AgreementRow, cross_entropy_to_humans, fit_temperature
from kdexplorer.datasets import get_dataset

DATA = {"dataset": "cifar10", "evaluation_images": 10_000}
FACTS = {"classes": get_dataset("cifar10").classes, "data": DATA, "run": "r"}
LABELS = np.random.default_rng(0).integers(0, 10, 10_000)


def shares_of(step):
    """Annotators who disagree about every second image: 70 % the label, 20 % a class `step` further, 10 % one more."""
    shares = np.eye(10)[LABELS]
    for times, share in enumerate((0.7, 0.2, 0.1)):
        shares[np.arange(0, 10_000, 2), (LABELS[::2] + times * step) % 10] = share
    return shares


HUMAN = shares_of(1)


def test_the_numbers_are_those_of_a_paired_comparison(tmp_path, make_checkpoint, monkeypatch):
    """The student predicts what annotators do, sharpened; its baseline other classes, and is wrong on 100 images."""
    monkeypatch.setattr(human_agreement, "evaluation_labels", lambda checkpoint: LABELS)
    sharpened, others = (2 * np.log(shares + 1e-3) for shares in (HUMAN, shares_of(3)))
    others[:100] = np.roll(sharpened[:100], 5, axis=1)
    distilled = FACTS | {"objective": {"terms": [{"method": "kd"}]}}
    networks = [
        make_checkpoint(tmp_path / "baseline", seed=1, logits=others, **FACTS),
        make_checkpoint(tmp_path / "student", seed=2, logits=sharpened, **distilled),
        make_checkpoint(tmp_path / "without-logits", seed=3, **FACTS),
    ]
    baseline, student = human_agreement.build_rows(networks, HUMAN)  # the third has no stored logits
    logits = {c.name: c.logits().astype(float) for c in networks[:2]}
    closest = {name: fit_temperature(HUMAN, values) for name, values in logits.items()}
    costs = {name: cross_entropy_to_humans(HUMAN, logits[name], closest[name]) for name in logits}
    assert baseline.all_images is None
    assert student.all_images.other == "baseline"
    assert student.at_one == pytest.approx(cross_entropy_to_humans(HUMAN, logits["student"]).mean())
    assert student.temperature == pytest.approx(closest["student"])
    assert student.least == pytest.approx(costs["student"].mean())
    difference = costs["student"] - costs["baseline"]
    both = (logits["student"].argmax(axis=1) == LABELS) & (logits["baseline"].argmax(axis=1) == LABELS)
    for paired, part in ((student.all_images, difference), (student.both_right, difference[both])):
        assert paired.estimate == pytest.approx(part.mean())
        assert paired.half == pytest.approx(1.96 * part.std() / len(part) ** 0.5)
        assert paired.count == len(part)
    assert (student.both_right.count, student.wrong_classes.count) == (9_900, 5_000)  # where annotators disagree
    assert student.wrong_classes.estimate < -0.5
    monkeypatch.setattr(human_agreement, "evaluation_labels", lambda checkpoint: None)  # only what needs no labels
    without = human_agreement.build_rows(networks, HUMAN)[1]
    assert (without.all_images, without.both_right, without.wrong_classes) == (student.all_images, None, None)


@pytest.mark.parametrize(("mean", "said"), [(-0.02, "closer"), (0.02, "further away"), (0.005, "no clear difference")])
def test_the_sentence_follows_the_interval(mean, said):
    paired = Difference(mean, (mean - 0.01, mean + 0.01), other="baseline")
    row = AgreementRow("student", 0.5, 2.0, 0.4, paired, paired)
    text = human_agreement.describe_agreement([AgreementRow("baseline", 0.5, 1.0, 0.5), row])
    found = {words: text.count(f"{words} on ") for words in ("closer", "further away", "no clear difference")}
    assert found == dict.fromkeys(found, 0) | {said: 2}
    assert "student against baseline" in text
    assert "wrong classes" not in text
    assert human_agreement.describe_agreement([AgreementRow("baseline", 0.5, 1.0, 0.5)]) is None
