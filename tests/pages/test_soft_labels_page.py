"""Soft labels without a browser: temperature, tabs, human labels."""

import numpy as np
import pytest

from kdexplorer.analysis.human_agreement import cross_entropy_to_humans
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.checkpoints import WEIGHTS, open_checkpoint
from tests.pages.reading import PHOTO, dataset, open_popover, open_tab, params, results_table, specs, text, upload
from tests.pages.runs import CIFAR10_CARD, distilled


def test_the_first_state_and_every_tab_with_labels_and_without(family, monkeypatch, open_page):
    at = open_page("soft_labels")
    assert at.selectbox(key="teacher").value == "teacher"
    assert at.multiselect(key="students").value == ["small-scratch", "small-response"]
    assert params(specs(at)[0])["logT"] == 2  # T = 4
    counts = {"Gradient on the student": 2, "Curves over T": 5, "Class similarity": 4, "Logits": 1}
    assert [tab.label for tab in at.tabs] == list(counts)  # without human labels
    for tab, count in counts.items():
        open_tab(at, tab)
        assert len(specs(at)) == count, tab
        assert "the class that the teacher predicts" not in text(at)  # there are labels
    assert at.dataframe[0].value["class"].tolist()[:2] == ["airplane", "automobile"]
    open_popover(at, "picture_source")
    assert "2,000 of 2,000 images" in text(at)
    assert "These are the first of the test split" in text(at)
    (family / "small-scratch" / WEIGHTS).unlink()
    open_popover(at, "handout_offer")
    assert WEIGHTS in at.error[0].value  # and the handout is without that network
    assert "handout" in [element.proto.id.rpartition("-")[2] for element in at.get("download_button")]
    monkeypatch.setattr(type(get_dataset("cifar10")), "test_labels", lambda self, root=None: None)
    assert "the class that the teacher predicts" in text(open_tab(open_page("soft_labels"), "Class similarity"))


def test_the_gradient_is_of_the_shown_student_and_starts_at_its_trained_alpha(family, make_checkpoint, open_page):
    card = distilled(open_checkpoint(family / "teacher")) | CIFAR10_CARD
    card["objective"] = {"ce_weight": 0.1, "terms": [{"method": "kd", "weight": 0.9}]}
    make_checkpoint(family / "small-response", "resnet8", 2, np.zeros((10_000, 10)), run="r", **card)
    at = open_page("soft_labels")
    assert (at.button_group(key="preset_alpha").value, params(specs(at)[1])["alpha"]) == (0.9, 0.9)
    at.button_group(key="student").set_value("small-scratch").run()
    assert at.button_group(key="preset_alpha").value == 0.7
    at.button_group(key="preset_alpha").set_value(0.3).run()
    of_scratch = at.latex[1].value
    at.button_group(key="student").set_value("small-response").run()
    assert at.button_group(key="preset_alpha").value == 0.3
    assert at.latex[1].value != of_scratch
    at.button_group(key="preset_alpha").set_value(None).run()
    assert at.button_group(key="preset_alpha").value == 0.9
    at.button_group(key="moment").set_value("Start of training").run()
    assert {row["ds"] for row in dataset(at, 1, "rows")} == {0}
    for figure in ("gradient", "method"):
        assert "small-scratch" in specs(open_page(figure=figure, student="small-scratch"))[0]["description"]
    assert params(specs(open_page("soft_labels", alpha="0.4"))[1])["alpha"] == 0.4


def test_human_labels_have_a_tab_and_a_column_on_compare_and_errors_a_message(family, human, tmp_path, open_page):
    at = open_page("soft_labels", image="3")
    assert len(specs(at)) == 2  # with the gradient
    open_tab(at, "Human labels")
    assert f"{human[3].max():.0%}" in specs(at)[1]["description"]
    assert len(specs(at)) == 4
    table = next(element.value for element in at.markdown if element.value.startswith("| Network"))
    row = next(line for line in table.splitlines() if "small-response" in line)
    expected = cross_entropy_to_humans(human, open_checkpoint(family / "small-response").logits()).mean()
    assert f"{expected:.3f}" in row
    column = results_table(open_page("compare")).set_index("name")["human_cross_entropy"]
    assert column["small-response"] == pytest.approx(expected)
    assert "choose one to see their labels" in text(upload(at, "photo.png", PHOTO))  # of a test image
    assert len(specs(at)) == 1
    (tmp_path / "cifar10h-counts.npy").write_bytes(b"nothing")
    at = open_page("soft_labels")
    assert "cifar10h-counts.npy" in at.error[0].value
    assert len(specs(at)) == 2
