"""The command line's notation: a student in one word, and the commands that repeat a run; an objective as a formula.

`ARCHITECTURE[:PRESET-OR-METHOD[:KEY=VALUE…][+METHOD[:KEY=VALUE…]…]]`, such as `resnet20:response:T=4:alpha=0.7` or
`resnet20:kd:T=4:weight=0.7+at:weight=1000`.
"""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Mapping
from typing import Any

from kdexplorer.config import SCRATCH, Objective, RunConfig, StudentConfig
from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.methods import UnknownSettings, all_methods, find_method
from kdexplorer.presets import PRESETS, RECIPES
from kdexplorer.schema import RECORDED, validate

_LAB_KEYS = {"alpha": "kd", "beta": "at"}
"""The lab's names for the weights of these methods' terms, where the methods in use have no setting of that name."""
_TEXT_KEYS = ("name", "initial")
_STUDENT_KEYS = {"smoothing": "label_smoothing", "label_smoothing": "label_smoothing", "ce": "ce_weight"} | {
    key: key for key in ("ce_weight", *_TEXT_KEYS)
}
"""Keys that belong to the student rather than to a term: spelling to field."""


def parse_student(text: str, recorded: bool = False) -> StudentConfig:
    """Reads a student; see the module. What a program has `recorded` may name what is not installed now.

    A key belongs to the nearest of the words joined by `+` before it that has such a setting, in full or in the
    method's short spelling (`T`), else to the student: `name`, `initial` (a checkpoint to start from), `ce_weight`,
    `smoothing`. `alpha=0.7` also sets `ce_weight` to 0.3, as in the lab's formula.

    Raises ConfigError on an unknown architecture, preset, method or key, or a value out of bounds.
    """
    architecture, *rest = text.split(":")
    words = rest.pop(0).split("+") if rest else [SCRATCH]
    student: dict[str, Any] = {"architecture": architecture, "terms": []}
    group = [_add_terms(student, text, word, recorded) for word in words]
    for pair in rest:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"'{text}': '{pair}' is not KEY=VALUE, as in T=4")
        value, *more = [value] if key in _TEXT_KEYS else re.split(r"\+(?=[A-Za-z])", value)
        _set(student, group, words[-1] in PRESETS, text, key, value)
        group = [_add_terms(student, text, word, recorded) for word in more] or group
        words += more
    values = {"name": f"{architecture}-{'+'.join(words)}"} | student
    return validate(StudentConfig, values, where=text, context=RECORDED if recorded else None)


def _add_terms(student: dict[str, Any], text: str, word: str, recorded: bool) -> list[dict[str, Any]]:
    """Adds the terms of a preset or a method to a student and returns them."""
    if word in PRESETS:
        preset = copy.deepcopy(PRESETS[word])
        student["ce_weight"] = preset["ce_weight"]
        added = preset["terms"]
    elif word in (keys := [method.key for method in all_methods()]) or (recorded and word.isidentifier()):
        added = [{"method": word}]
    else:
        raise ConfigError(f"'{text}': {unknown_name('preset or method', word, [*PRESETS, *keys])}")
    student["terms"] += added
    return added


def _set(
    student: dict[str, Any], group: list[list[dict[str, Any]]], may_add: bool, text: str, key: str, value: str
) -> None:
    """Puts a value where its key belongs; `group` has the terms of each word; a lab's key `may_add` its own."""
    candidates = ([(term, name) for term in terms if (name := _setting(term["method"], key))] for terms in group[::-1])
    matching = next((found for found in candidates if found), [])
    sets_weight = key == "alpha" and (not matching or matching[0][1] == "weight")  # some methods have such a setting
    alpha = _read(value) if sets_weight else 1.0
    if not isinstance(alpha, float) or not 0 < alpha <= 1:  # here: the validation would speak of the CE weight
        raise ConfigError(f"'{text}': alpha should be a number above 0 and at most 1, not '{value[:60]}'")
    if len(matching) > 1:
        raise ConfigError(f"'{text}': {key} could mean several terms: write each method with its own keys")
    if matching:
        term, name = matching[0]
        term[name] = _read(value)
    elif key in _STUDENT_KEYS:
        student[_STUDENT_KEYS[key]] = value if key in _TEXT_KEYS else _read(value)
    elif key in _LAB_KEYS and may_add:
        term = {"method": _LAB_KEYS[key], "weight": _read(value)}
        student["terms"].append(term)
        group.append([term])
    else:
        methods = [find_method(term["method"]) for terms in group for term in terms]
        own = [name for method in methods for name in (*_settings(method.key), *method.short_keys)]
        raise ConfigError(f"'{text}': {unknown_name('key', key, dict.fromkeys([*own, *_STUDENT_KEYS]))}")
    if sets_weight:
        student["ce_weight"] = round(1 - alpha, 12)


def _settings(method: str) -> list[str]:
    return [name for name in find_method(method).Settings.model_fields if name != "method"]


def _setting(method: str, key: str) -> str | None:
    """The setting of a method that a key means, or None."""
    found = find_method(method)
    name = found.short_keys.get(key, key)
    is_open = issubclass(found.Settings, UnknownSettings) and key not in _STUDENT_KEYS
    return name if is_open or name in _settings(method) else None


def _read(value: str) -> float | str:
    """A number where it is one; whether the setting takes it is for the validation to say."""
    try:
        return float(value)
    except ValueError:
        return value


def format_student(student: StudentConfig) -> str:
    """The notation that `parse_student` reads back to the same student."""
    values = student.model_dump(mode="json")
    preset = find_preset(values)
    words = [student.architecture, preset or "+".join(map(_format_term, student.terms)) or SCRATCH]
    if preset is None and student.ce_weight != 1.0:
        words.append(f"ce_weight={format_number(student.ce_weight)}")
    if student.label_smoothing:
        words.append(f"smoothing={format_number(student.label_smoothing)}")
    if student.initial is not None:
        words.append(f"initial={student.initial}")
    if student.name != usual_name(values):
        words.append(f"name={student.name}")
    return ":".join(words)


OBJECTIVES = {name: Objective(**values).model_dump(mode="json") for name, values in PRESETS.items()}
"""The presets with the defaults of what they leave out."""


def find_preset(objective: Mapping[str, Any]) -> str | None:
    """The preset with these terms and this weight of cross-entropy."""
    own = objective["ce_weight"], objective["terms"]
    return next((name for name, one in OBJECTIVES.items() if (one["ce_weight"], one["terms"]) == own), None)


def usual_name(student: Mapping[str, Any]) -> str:
    """A student's name where none is given: `resnet8-response`, or with the methods of another objective."""
    objective = find_preset(student) or "+".join(term["method"] for term in student["terms"]) or SCRATCH
    return f"{student['architecture']}-{objective}"


def _format_term(term: Any) -> str:
    changed = term.model_dump(exclude={"method"}, exclude_defaults=True, exclude_none=True).items()
    return ":".join([term.method, *(f"{key}={format_number(v)}" for key, v in changed)])


def format_number(value: Any) -> str:
    """A number as short as it reads back to the same; what is none, such as a switch, as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return min((text for text in (f"{value:g}", repr(value)) if float(text) == value), key=len, default=repr(value))


def train_command(config: RunConfig) -> str:
    """The command that repeats this run: its data set and what differs from the defaults."""
    students = shlex.join(format_student(student) for student in config.students)
    return " ".join(["python -m kdexplorer train", *format_options(config), f"--students {students}"])


def format_options(config: RunConfig) -> list[str]:
    """The data set and the options of a run that differ from its recipe's; its students are no option."""
    options, own = [], RECIPES[config.recipe]
    for name, field in RunConfig.model_fields.items():
        value = getattr(config, name)
        if name == "filter_momentum" and name in own and value is None:  # no option takes the recipe's away
            value = config.momentum
        if name == "dataset" or (name not in ("students", "version") and value != own.get(name, field.default)):
            options.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}"))
    return options


def describe_objective(objective: Objective) -> str:
    """The weighted sum with each method's settings: `0.3 · CE + 0.7 · KD (temperature 4)`."""
    cross_entropy = f"{format_number(objective.ce_weight)} · CE"
    if objective.label_smoothing:
        cross_entropy += f" (label smoothing {format_number(objective.label_smoothing)})"
    terms = [cross_entropy] if objective.ce_weight else []
    for method in objective.methods:
        settings = method.settings.model_dump(exclude={"method", "weight"})
        words = ", ".join(f"{key.replace('_', ' ')} {format_number(v)}" for key, v in settings.items())
        terms.append(f"{format_number(method.settings.weight)} · {method.label}" + (f" ({words})" if words else ""))
    return " + ".join(terms)


def describe_terms(objective: Mapping[str, Any]) -> str:
    """An objective's distillation terms, all settings filled in, in one line: `0.7 KD + 1000 AT`."""
    terms = ((_format_value(term["weight"]), find_method(term["method"]).label) for term in objective["terms"])
    return " + ".join(map(" ".join, terms))


def objective_formula(objective: Mapping[str, Any]) -> str:
    """An objective in LaTeX with its numbers, a line for each term."""
    lines = []
    if objective["ce_weight"] or not objective["terms"]:
        smoothing = objective["label_smoothing"]
        formula = r"\mathrm{CE}(p^s, \tilde{y})" if smoothing else r"\mathrm{CE}(p^s, y)"
        settings = {r"\text{smoothing}": smoothing} if smoothing else {}
        lines.append(_term_formula(objective["ce_weight"], formula, settings))
    for term in objective["terms"]:
        method = find_method(term["method"])
        symbols = {name: short for short, name in method.short_keys.items()}
        given = {name: value for name, value in term.items() if name not in ("method", "weight")}
        settings = {symbols.get(name, rf"\text{{{name.replace('_', ' ')}}}"): value for name, value in given.items()}
        lines.append(_term_formula(term["weight"], method.formula, settings))
    return r"\begin{aligned}L ={}& " + r" \\ &{}+ ".join(lines) + r"\end{aligned}"


def _term_formula(weight: Any, formula: str, settings: dict[str, Any]) -> str:
    texts = [f"{symbol} = {_format_value(value)}" for symbol, value in settings.items()]
    term = rf"{_format_value(weight)}\,{formula}" + (r",\quad " + r",\; ".join(texts) if texts else "")
    return re.sub(r"(?<=\d)e([+-])0*(\d+)", lambda found: rf" \cdot 10^{{{found[1].strip('+')}{found[2]}}}", term)


def _format_value(value: Any) -> str:
    """A setting's value; a number that is missing is a question mark, and other text is text in LaTeX too."""
    if value is None:
        return "?"
    return rf"\text{{{value}}}" if isinstance(value, (str, bool)) else f"{value:g}"
