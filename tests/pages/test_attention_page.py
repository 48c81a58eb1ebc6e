"""Attention without a browser: the maps of one image and the comparison over many."""

from dataclasses import replace

import pytest

from kdexplorer.analysis.attention_similarity import StageSimilarity
from kdexplorer.analysis.difference import Difference
from kdexplorer.app import attention
from kdexplorer.runs.checkpoints import open_checkpoint
from tests.pages.reading import dataset, specs, text
from tests.pages.runs import CIFAR10_CARD, distilled
from tests.runs.forgery import edit_card


def compare(at):
    """Compares the students on the first images."""
    at.button_group(key="sample").set_value("200").run()
    return next(one for one in at.button if one.label.startswith("Compare ")).click().run()


def test_students_of_the_same_stages_are_compared_on_request(family, open_page, make_checkpoint):
    make_checkpoint(family / "mobile", "mobilenet_v2", **CIFAR10_CARD)
    at = open_page("attention", students="small-response,mobile")
    counts = [option.content for option in at.button_group(key="sample").proto.options]
    assert counts == [f"first {count} test images" for count in ("200", "1,000", "2,000")]
    assert len(specs(at)) == 1
    at = compare(at)
    assert len(specs(at)) == 2
    table = next(element.value for element in at.markdown if element.value.startswith("| Network"))
    assert table.count("small-response") == 3  # stages
    assert "mobile is left out" in text(at)
    assert "mobile" not in str(specs(at)[-1])
    at.multiselect(key="students").set_value(["mobile"]).run()
    assert len(specs(at)) == 1
    edit_card(make_checkpoint(family / "odd", seed=9, **CIFAR10_CARD), architecture="of_a_plugin")
    at = open_page("attention", students="odd,small-response")
    assert "of_a_plugin" in at.error[0].value
    at.button_group(key="sample").set_value("200").run()
    assert len(specs(at)) == 2  # the other is compared


@pytest.mark.parametrize(("mode", "networks"), [("map", 3), ("difference", 2)])  # the teacher has no difference
def test_maps_of_each_network_and_stage_on_both_scales(family, mode, networks, open_page):
    at = open_page("attention", stage="all")
    assert {cell["network"] for cell in dataset(at, 0, "cells")} == {"teacher", "small-scratch", "small-response"}
    urls = []
    for scale in ("shared", "per map"):
        for key, value in {"colors": mode, "scale": scale, "power": "2"}.items():
            at.button_group(key=key).set_value(value)
        at.run()
        urls.append([cell["url"] for cell in dataset(at, 0, "cells")])
        assert len(urls[-1]) == 3 * networks  # stages
        assert len(set(urls[-1])) == 3 * networks
    assert urls[0] != urls[1]


def test_many_images_take_a_click_and_thousands_take_the_presenter(family, guest, open_page):
    at = open_page("attention", students="small-scratch")
    assert any(button.label == "Compare 1 student on 1,000 images" for button in at.button)
    at.button_group(key="sample").set_value("2000").run()
    assert not any(button.label.startswith("Compare 1 student") for button in at.button)
    assert "only the presenter can start this" in text(at)


@pytest.mark.parametrize(
    ("difference", "interval", "verdict"),
    [(0.05, (0.04, 0.06), "Yes"), (-0.05, (-0.06, -0.04), "No"), (0.01, (-0.01, 0.03), "No clear difference")],
)
def test_the_conclusion_follows_the_numbers(built, tmp_path, make_checkpoint, difference, interval, verdict):
    teacher, other = (open_checkpoint(built / name) for name in ("teacher", "small-response"))
    student = make_checkpoint(tmp_path / "small-response", seed=1, **distilled(teacher, "feature"))
    row = StageSimilarity(
        stage=3, correlation=0.9, low=0.8, high=0.95, chance=0.6, cosine=0.99, mse=1e-4, share=0.5,
        name="small-response", loss=0.1, to_scratch_baseline=Difference(difference, interval),
    )  # fmt: skip
    words = attention.describe_similarity([row], {"small-response": student}, teacher)
    assert words.startswith(f"**{verdict}.**")
    assert f"{0.9 - difference:.3f}" in words
    assert "0.600" in words
    unknown = replace(row, chance=float("nan"))
    assert "nan" not in attention.describe_similarity([unknown], {"small-response": student}, teacher)
    words = attention.describe_similarity([row], {"small-response": other}, teacher)
    assert "**small-response**" in words
    assert verdict not in words
