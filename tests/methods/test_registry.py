"""Every method: what it owes its reader, that files alone decide what it has, and its loss on unusual batches."""

import pkgutil
import re
import sys

import pytest
import torch

from kdexplorer import methods
from kdexplorer.methods import FAMILIES, all_methods
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.presets import PRESETS

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
        ('"a_extra"', '"objective"', "'objective' means something else"),
        ('{"logits"}', '"logits"', "needs g, i, l, o, s, t: choose of logits, stages, embedding"),
        ('frozenset({"logits"})', '["logits"]', "extra.py is left out: TypeError"),
        ("    ref", "    class Settings(Method.Settings):\n        x: float\n    ref", "error for Settings"),
        ("class Extra", "raise SystemExit\nclass Extra", "extra is left out: SystemExit"),
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
    assert {*PRESETS} <= methods.RESERVED
    assert method.Settings().method == method.key
    for name, field in method.Settings.model_fields.items():
        assert name == "method" or field.description, name
    assert set(method.short_keys.values()) <= set(method.Settings.model_fields) - {"method"}
    assert not set(method.short_keys) & set(method.Settings.model_fields)


STUDENT, TEACHER = get_architecture("resnet8"), get_architecture("wrn_16_2")
SHAPES = ((16, 16, 16), (32, 8, 8), (64, 4, 4)), ((32, 16, 16), (64, 8, 8), (128, 4, 4))


def outputs(network, batch, classes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(network)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=generator).to(dtype).requires_grad_(network == 0)

    return Outputs(draw(classes), [draw(*shape) for shape in SHAPES[network]], draw(SHAPES[network][-1][0]))


def with_logits(*logits, dtype=torch.float32):
    """A student and a teacher with the same logits for each of four images."""
    student, teacher = (torch.tensor(4 * [one], dtype=dtype) for one in logits)
    others = outputs(0, 4, 10, dtype), outputs(1, 4, 10, dtype)
    return others[0]._replace(logits=student.requires_grad_()), others[1]._replace(logits=teacher)


CASES = {
    "two classes": (outputs(0, 4, 2), outputs(1, 4, 2), torch.tensor([0, 1, 1, 0])),
    "classes missing": (outputs(0, 4, 10), outputs(1, 4, 10), torch.tensor([3, 3, 3, 3])),
    "one image": (outputs(0, 1, 10), outputs(1, 1, 10), torch.tensor([9])),
    "extreme logits": (*with_logits(5 * [1e4, -1e4], 5 * [-1e4, 1e4]), torch.arange(4)),  # the reverse preference
    "equal logits": (*with_logits(10 * [0.0], 10 * [0.0]), torch.arange(4)),
    "float16": (*with_logits(5 * [3e4, -3e4], 5 * [-3e4, 3e4], dtype=torch.float16), torch.arange(4)),
    "bfloat16": (outputs(0, 4, 10, torch.bfloat16), outputs(1, 4, 10, torch.bfloat16), torch.arange(4)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_the_loss_is_finite_with_a_finite_gradient_or_a_clear_error(method, case):
    student, teacher, labels = CASES[case]
    method = method()
    torch.manual_seed(0)
    adapter = method.adapter(STUDENT, TEACHER)
    arguments = (student, method.reduce_teacher(teacher.map(torch.detach)), labels)
    if adapter is not None:
        arguments = (*arguments, adapter.to(student.logits.dtype))
    if case == "one image" and method.key == "reviewkd":
        with pytest.raises(ValueError, match="more than 1 value per channel"):  # batch norm of one place
            method.loss(*arguments)
        return
    loss = method.loss(*arguments)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    leaves = [student.logits, *student.stages, student.embedding, *(adapter.parameters() if adapter else ())]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert any(gradient is not None for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
    if case == "two classes":
        assert any(one is not None and one.abs().max() > 1e-6 for one in gradients) == (method.min_classes == 2)
    if not method.uses_labels:
        assert torch.equal(method.loss(*arguments[:2], 0 * labels, *arguments[3:]), loss)
