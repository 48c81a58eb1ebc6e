"""The command line's notation: what it says, what it refuses, and that it reads back to the same."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdexplorer.config import StudentConfig
from kdexplorer.errors import ConfigError
from kdexplorer.methods import all_methods, get_method
from kdexplorer.notation import format_number, format_student, parse_student
from kdexplorer.presets import PRESETS


def kd(weight=0.7, temperature=4.0):
    return {"method": "kd", "weight": weight, "temperature": temperature}


def at(weight=1000.0, power=1):
    return {"method": "at", "weight": weight, "power": power}


def dkd(**settings):
    return get_method("dkd").Settings(**settings).model_dump()


@pytest.mark.parametrize(
    ("text", "objective", "name"),
    [
        # Presets are the lab's objectives,
        ("resnet20:combined", (0.3, [kd(), at()]), "resnet20-combined"),
        # alpha and beta its weights,
        ("resnet8:combined:beta=100", (0.3, [kd(), at(100.0)]), "resnet8-combined"),
        ("resnet8:response:T=2:alpha=0.9", (0.1, [kd(0.9, 2.0)]), "resnet8-response"),
        ("resnet8:response:temperature=3:ce_weight=1", (1.0, [kd(temperature=3.0)]), "resnet8-response"),
        ("resnet8:response:beta=50", (0.3, [kd(), at(50.0)]), "resnet8-response"),
        ("resnet8:scratch:alpha=0.6", (0.4, [kd(0.6)]), "resnet8-scratch"),
        # which leave a method's own alpha and beta alone,
        ("resnet8:dkd:alpha=3:beta=5:weight=2", (1.0, [dkd(alpha=3, beta=5, weight=2)]), "resnet8-dkd"),
        ("resnet8:kd:alpha=0.6+dkd:alpha=3:T=2", (0.4, [kd(0.6), dkd(alpha=3, temperature=2)]), "resnet8-kd+dkd"),
        # and several terms have settings of their own.
        ("resnet8:kd:T=2:weight=0.5:ce=0.5", (0.5, [kd(0.5, 2.0)]), "resnet8-kd"),
        ("resnet8:kd:T=2+at:weight=5:power=2", (1.0, [kd(temperature=2.0), at(5.0, 2)]), "resnet8-kd+at"),
        ("resnet8:kd:T=2+at+kd:T=8", (1.0, [kd(temperature=2.0), at(), kd(temperature=8.0)]), "resnet8-kd+at+kd"),
        ("resnet8:response+at:beta=5", (0.3, [kd(), at(5.0)]), "resnet8-response+at"),
        ("resnet8:at:weight=1e+3:name=x+at", (1.0, [at()]), "x+at"),
    ],
)
def test_a_student_has_the_terms_and_the_name_that_its_notation_says(text, objective, name):
    student = parse_student(text)
    assert (student.ce_weight, [term.model_dump() for term in student.terms]) == objective
    assert (student.name, student.architecture) == (name, text.partition(":")[0])


def test_keys_of_the_student_belong_to_no_term():
    student = parse_student("resnet8:combined:T=2.5:alpha=0.9:beta=50:power=2:smoothing=0.1:initial=run/it:name=mine")
    assert student.model_dump() == {
        "name": "mine", "architecture": "resnet8", "ce_weight": 0.1, "label_smoothing": 0.1, "initial": "run/it",
        "terms": (kd(0.9, 2.5), at(50.0, 2)),
    }  # fmt: skip
    assert parse_student("resnet8") == parse_student("resnet8:scratch")
    assert parse_student("resnet8:scratch:label_smoothing=0.1").label_smoothing == 0.1
    assert [format_number(value) for value in (1e6, True, None)] == ["1e+06", "True", "None"]  # a plugin's settings


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.key)
def test_every_methods_short_keys_mean_its_settings(method):
    for short, name in method.short_keys.items():
        value = format_number(getattr(method.Settings(), name))
        first, second = (parse_student(f"resnet8:{method.key}:{key}={value}").terms for key in (short, name))
        assert first == second == (method.Settings(),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet9:scratch", "architecture.*resnet8.*'resnet9'"),
        ("resnet8:magic", "'magic'.*scratch, response, feature, combined.*kd"),
        ("resnet8:", "''.*scratch"),
        ("resnet8:kd:tau=4", "'tau'.*weight, temperature, T.*smoothing"),
        ("resnet8:combined:weight=3", "weight.*several terms"),
        ("resnet8:response:T", "'T' is not KEY=VALUE"),
        ("resnet8:response:T=hot", "temperature.*number.*'hot'"),
        ("resnet8:response:alpha=much", "alpha.*number.*'much'"),
        ("resnet8:response:alpha=1.5", "alpha.*at most 1.*'1.5'"),
        ("resnet8:response:alpha=0", "alpha.*above 0.*'0'"),
        ("resnet8:reverse_kl:alpha=0.3", "'alpha'.*weight"),
        ("resnet8:scratch:ce_weight=0", "no term.*ce_weight"),
        ("resnet8:scratch:name=../evil", "letters, digits"),
    ],
)
def test_an_invalid_student_is_refused_and_named(text, words):
    with pytest.raises(ConfigError, match=words) as raised:
        parse_student(text)
    assert f"'{text}'" in str(raised.value)


@st.composite
def terms(draw):
    """A method with its defaults, and in their places the numbers that its settings take, by trying."""
    method = draw(st.sampled_from(all_methods()))
    term = method.Settings()
    for name in method.Settings.model_fields:
        value = draw(st.sampled_from([None, 1, 2, 3, 0.1, 0.7, 1 / 3, 4.0, 12.5, 1000.0, 1e6, 1e-7]))
        with contextlib.suppress(ValueError):
            term = method.Settings(**(term.model_dump() | {name: value}))
    return term


@st.composite
def students(draw):
    architecture = draw(st.sampled_from(["resnet8", "wrn_16_2", "mobilenet_v2"]))
    preset = draw(st.sampled_from([None, *PRESETS]))
    objective = PRESETS[preset] if preset else {
        "ce_weight": draw(st.floats(1e-3, 1e6)), "terms": tuple(draw(st.lists(terms(), max_size=4)))
    }  # fmt: skip
    return StudentConfig(
        architecture=architecture,
        name=draw(st.sampled_from(["x", "resnet8-kd", "resnet8-kd+at", "resnet8-response", "a=b+c"])),
        label_smoothing=draw(st.sampled_from([0.0, 0.1, 1 / 3])),
        initial=draw(st.none() | st.text(st.characters(exclude_characters=":", codec="utf-8"), max_size=20)),
        **objective,
    )


@given(students())
@settings(deadline=None)
def test_what_is_formatted_is_read_back_to_the_same(student):
    assert parse_student(format_student(student)) == student


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("resnet20:response:T=4:alpha=0.7", "resnet20:response"),
        ("resnet20:kd+at:ce_weight=0.3", "resnet20:combined:name=resnet20-kd+at"),
        ("resnet20:kd:T=2.50:ce=0.5", "resnet20:kd:temperature=2.5:ce_weight=0.5"),
        ("resnet20", "resnet20:scratch"),
    ],
)
def test_the_shortest_notation_is_written(text, short):
    assert format_student(parse_student(text)) == short
