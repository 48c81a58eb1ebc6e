"""The registry of methods: what every method owes its reader, and that files alone decide what it has."""

import copy
import pkgutil
import re
import sys

import pytest
import torch
from pydantic import ValidationError

from kdexplorer import methods
from kdexplorer.methods import FAMILIES, Method, all_methods
from kdexplorer.networks import Outputs

METHODS = all_methods()
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)


def test_every_file_of_the_package_is_in_the_registry_once():
    files = {module.name for module in pkgutil.iter_modules(methods.__path__)} - {"base"}
    assert {method.__module__.rpartition(".")[2] for method in METHODS} == files
    assert len({method.key for method in METHODS}) == len(METHODS) == len({method.label for method in METHODS})
    order = [(FAMILIES.index(method.family), method.key) for method in METHODS]
    assert order == sorted(order)


EXTRA = """
from kdexplorer.methods.base import Method

class Extra(Method):
    key, label, family = "a_extra", "Extra", "relation"
    reference, formula, summary, needs = "", "", "", frozenset({"logits"})
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"a_extra"', '"kd"', "Extra.*KD.*'kd'|KD.*Extra.*'kd'"),
        ('"a_extra"', '"a-extra"', "'a-extra' may have letters, digits and _ only"),
        ('"relation"', '"other"', "'other'.*response, feature, relation"),
        ('key, label, family = "a_extra", "Extra", "relation"', "key = 'a_extra'", "Extra lacks label, family"),
        ("class Extra", "clas Extra", "extra is left out: SyntaxError"),
    ],
)
def test_a_faulty_file_is_left_out_and_named(tmp_path, monkeypatch, caplog, old, new, words):
    (tmp_path / "extra.py").write_text(EXTRA.replace(old, new))
    monkeypatch.setattr(methods, "__path__", [methods.__path__[0], str(tmp_path)])
    found = all_methods.__wrapped__()
    sys.modules.pop("kdexplorer.methods.extra", None)
    assert len(found) == len(METHODS)
    assert re.search(words, caplog.text)


@each_method
def test_a_method_and_every_setting_is_described_and_settings_have_defaults(method):
    for text in (method.key, method.label, method.reference, method.formula, method.summary):
        assert text.strip() == text != ""
    assert method.key == method.key.lower()
    assert method.needs <= {"logits", "stages", "embedding"}
    assert method.Settings().method == method.key
    for name, field in method.Settings.model_fields.items():
        assert not field.is_required(), name
        assert name == "method" or field.description, name
    assert set(method.short_keys.values()) <= set(method.Settings.model_fields) - {"method"}
    assert not set(method.short_keys) & set(method.Settings.model_fields)
    with pytest.raises(ValidationError):
        method.Settings(method="another")
    for weight in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            method.Settings(weight=weight)


@each_method
def test_methods_with_equal_settings_are_equal_whatever_their_weights(method):
    one, heavier = method(weight=1.0), method(weight=2.0)
    assert one == heavier
    assert len({one, heavier, copy.copy(one)}) == 1
    assert all(one != other() for other in METHODS if other is not method)
    for name, value in method().settings.model_dump(exclude={"method", "weight"}).items():
        another = "top" if isinstance(value, str) else 2 * value
        assert method(one.settings.model_copy(update={name: another})) != one


def test_the_base_keeps_of_the_teacher_what_a_method_needs():
    outputs = Outputs(torch.zeros(1, 2), [torch.zeros(1, 1, 2, 2)], torch.zeros(1, 3))

    def kept(*needs):
        return type("Sketch", (Method,), {"key": "sketch", "needs": frozenset(needs)})().reduce_teacher(outputs)

    assert kept("logits") == Outputs(outputs.logits, [], None)
    assert kept("logits", "stages") == Outputs(outputs.logits, outputs.stages, None)
    assert kept("embedding") == Outputs(outputs.logits, [], outputs.embedding)
