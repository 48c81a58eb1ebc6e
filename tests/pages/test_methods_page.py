"""The page Methods: each kind of instrument, settings, links."""

import pytest

from kdexplorer.methods import all_methods
from tests.charts.drawing import heading
from tests.pages.reading import specs, text


@pytest.mark.parametrize(
    ("key", "expected"),
    [("dkd", "the push on each logit"), ("at", "where the gradient changes small-response"), ("rkd", "● teacher")],
)
def test_each_family_has_its_instrument(family, open_page, key, expected):
    at = open_page("methods", method=key)
    assert any(expected in heading(spec) for spec in specs(at))
    formulas = "".join(element.value for element in at.latex)
    assert all(method.formula in formulas and method.summary in text(at) for method in all_methods())
    assert f'"{key}"' in at.code[0].value
    assert at.dataframe[0].value["Key"].tolist() == [one.key for one in all_methods()]


@pytest.mark.parametrize("key", ["dkd", "altered_kd", "tf_kd"])
def test_networks_with_other_classes_than_the_test_images_are_probed_too(own, make_checkpoint, open_page, key):
    for name, seed in (("teacher", 0), ("student", 1)):
        make_checkpoint(own / name, "resnet8", seed, classes=("cat", "dog", "cow"))
    assert "no hard label" in text(open_page("methods", method=key, teacher="teacher", students="student"))


def test_a_setting_changes_the_formula_and_one_out_of_bounds_is_reported(family, open_page):
    at = open_page("methods", method="telepathy")
    assert "telepathy" in at.warning[0].value
    assert at.selectbox(key="method").value == "kd"
    at.number_input(key="setting_kd_temperature").set_value(8.0).run()
    assert "T = 8" in at.latex[0].value
    assert not at.error
    at.number_input(key="setting_kd_temperature").set_value(1000.0).run()
    assert "temperature" in at.error[0].value
    assert "T = 4" in at.latex[0].value
    at.multiselect(key="students").set_value([]).run()
    assert "Choose a student" in text(at)
