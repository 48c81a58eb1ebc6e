"""Networks and their scratch twins against people: who is closer, by how much, and by which answers."""

import numpy as np
import pytest

from kdexplorer import cli, data, doubt, images, people, table

FACTS = {
    "classes": list(data.CIFAR10_CLASSES),
    "data": {"dataset": "cifar10", "measured_on": "test", "measured_images": 10_000},
    "run": "r",
}


@pytest.fixture(scope="module")
def labels():
    found = np.random.default_rng(0).integers(0, 10, 10_000)
    _, known, indices = images.sample_images()
    found[indices] = known
    return found


@pytest.fixture(scope="module")
def answers(labels):
    """People who doubt every second image: 70 % the label, 20 % the next class, 10 % the one after."""
    return doubting(labels, 1)


def doubting(labels, step):
    shares = np.eye(10)[labels]
    every = np.arange(0, 10_000, 2)
    for times, share in enumerate((0.7, 0.2, 0.1)):
        shares[every, (labels[::2] + times * step) % 10] = share
    return shares


@pytest.fixture
def networks(tmp_path, make_checkpoint, answers, labels, monkeypatch):
    """The distilled one answers like people, sharpened; its twin doubts other classes, and is wrong on 100 images."""
    monkeypatch.setattr(table, "measured_labels", lambda checkpoint: labels)
    told = 2 * np.log(answers + 1e-3)
    alone = 2 * np.log(doubting(labels, 3) + 1e-3)
    alone[:100] = np.roll(told[:100], 5, axis=1)
    return [
        make_checkpoint(tmp_path / "alone", seed=1, logits=alone, **FACTS),
        make_checkpoint(tmp_path / "told", seed=2, logits=told, method="response", **FACTS),
        make_checkpoint(tmp_path / "silent", seed=3, **FACTS),
    ]


def test_the_numbers_are_those_of_a_paired_comparison(networks, answers, labels):
    alone, told = doubt.rows(networks, answers)  # the third has no stored logits
    z = {c.name: c.logits().astype(float) for c in networks[:2]}
    at = {name: people.closest_temperature(answers, logits) for name, logits in z.items()}
    costs = {name: people.cross_entropy(answers, z[name], at[name]) for name in z}
    assert "all" not in alone
    assert told["at_one"] == pytest.approx(people.cross_entropy(answers, z["told"]).mean())
    assert told["temperature"] == pytest.approx(at["told"])
    assert told["least"] == pytest.approx(costs["told"].mean())
    difference = costs["told"] - costs["alone"]
    both = (z["told"].argmax(axis=1) == labels) & (z["alone"].argmax(axis=1) == labels)
    for key, part in (("all", difference), ("both right", difference[both])):
        assert told[key]["difference"] == pytest.approx(part.mean())
        assert told[key]["half"] == pytest.approx(1.96 * part.std() / len(part) ** 0.5)
        assert told[key]["images"] == len(part)
    assert told["both right"]["images"] == 9_900


def test_wrong_classes_are_compared_where_people_doubt_without_the_label(networks, answers):
    _, told = doubt.rows(networks, answers)
    assert told["wrong classes"]["images"] == 5_000
    assert told["wrong classes"]["difference"] < -0.5


def test_without_labels_only_what_needs_none(networks, answers, monkeypatch):
    monkeypatch.setattr(table, "measured_labels", lambda checkpoint: None)
    _, told = doubt.rows(networks, answers)
    assert "all" in told
    assert not {"both right", "wrong classes"} & told.keys()


def test_the_command_prints_the_table_and_says_what_is_missing(networks, answers, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv(people.VARIABLE, str(tmp_path / "nothing"))
    assert cli.main(["people", "alone", "told"]) == 1
    assert "set KDEXPLORER_CIFAR10H" in capsys.readouterr().err
    np.save(tmp_path / "answers.npy", answers)
    monkeypatch.setenv(people.VARIABLE, str(tmp_path / "answers.npy"))
    assert cli.main(["people", "alone", "told"]) == 0
    head, _, alone, told = capsys.readouterr().out.strip().splitlines()
    assert head.count("|") == alone.count("|") == told.count("|") == 8
    found = doubt.rows(networks, answers)[1]
    assert f"{found['all']['difference']:+.3f} ± {found['all']['half']:.3f}" in told
    assert "±" not in alone
