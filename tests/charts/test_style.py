"""Looks come from the registry of methods: color by family, marker and dash by method."""

import re
from types import SimpleNamespace

import pytest

from kdexplorer import methods
from kdexplorer.charts import style
from kdexplorer.config import SCRATCH
from kdexplorer.methods import FAMILIES, Method, all_methods

ROLES = [style.TEACHER, SCRATCH, *(method.key for method in all_methods()), "kd+at"]


def network(name, key=SCRATCH, sha256="a"):
    return SimpleNamespace(name=name, sha256=sha256, card=SimpleNamespace(objective_key=key))


def make_method(name, family, **cues):
    described = {"key": name, "label": name.upper(), "family": family, "reference": "", "formula": "", "summary": ""}
    return type(name, (Method,), described | {"needs": frozenset({"logits"})} | cues)


@pytest.fixture
def crowded(monkeypatch):
    """A registry with nine more response-based methods and two others, one of which has cues of its own."""
    added = [make_method(f"m{number}", "response") for number in range(9)]
    added += [make_method("far", "relation"), make_method("near", "relation", marker="star", dash=(1, 9))]
    every = (*all_methods(), *added)
    monkeypatch.setattr(methods, "all_methods", lambda: every)
    monkeypatch.setattr(style, "all_methods", lambda: every)
    return every


def test_a_chosen_teacher_is_the_only_one_else_those_are_that_had_labels_alone_and_are_not_called_scratch():
    roles = [style.role_of(one) for one in (network("a"), network("a-scratch"), network("a", "kd+at"))]
    assert roles == [style.TEACHER, SCRATCH, "kd+at"]
    chosen = network("distilled teacher", "kd", "t")
    assert [style.role_of(one, chosen) for one in (chosen, network("a"))] == [style.TEACHER, SCRATCH]


def test_every_role_has_a_color_and_a_second_cue():
    """A label and a marker, as a character too, are one role's alone; a dash is one role's within its color."""
    looks = [style.look_of(role) for role in [*ROLES, style.HUMAN]]
    marks = [look.mark for look in looks]
    assert (*marks[:2], marks[-1]) == ("●", "■", "✦")  # the last one for what has no character
    assert len({look.label for look in looks}) == len({*marks}) == len(looks)
    assert len({(look.color, look.dash) for look in looks}) == len(looks)


def test_the_family_decides_the_color_and_other_cues_are_a_methods_own_or_those_that_are_left(crowded):
    assert set(style.FAMILY_COLORS) == set(FAMILIES)
    assert all(style.look_of(method.key).color == style.FAMILY_COLORS[method.family] for method in crowded)
    assert style.look_of("kd+at").color == style.SEVERAL_FAMILIES
    within = style.look_of("kd+m0")
    assert (within.color, within.shape, within.label) == (style.look_of("kd").color, "triangle-down", "KD + M0")
    looks = {method.key: style.look_of(method.key) for method in crowded}
    for method in crowded:
        if method.marker:
            assert (looks[method.key].shape, looks[method.key].dash) == (method.marker, method.dash)
    free = [looks[key] for key in ("kd", *(f"m{number}" for number in range(6)))]
    assert len({look.shape for look in free}) == len({look.dash for look in free}) == len(free)
    assert looks["far"].color != looks["kd"].color
    assert style.look_of("m8") == looks["m8"]  # after the last one they repeat


def test_nine_networks_of_one_look_differ_and_three_of_every_method_have_markers_of_their_own():
    """Vega takes a name that it knows or a path; no path is drawn twice, whatever the color."""
    found = style.series({f"student {number}": "kd" for number in range(9)})
    assert len({(one.color, one.shape) for one in found}) == len(found)
    assert [one.color for one in found[:3]] == [style.look_of("kd").color] * 3
    roles = {f"{key} {number}": key for key in ROLES for number in range(3)}
    looks = style.series(roles)
    assert len({one.shape for one in looks}) == len(looks)
    known = {"circle", "square", "triangle-up", "triangle-down", "diamond"}
    assert all(one.shape in known or re.fullmatch(r"M[-0-9.,LAZM]+", one.shape) for one in looks)
