"""The registry of methods: what every method owes its reader, and that files alone decide what it has."""

import pkgutil
import re
import sys

import pytest

from kdexplorer import methods
from kdexplorer.methods import FAMILIES, all_methods

METHODS = all_methods()


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


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
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
