"""The choice that every page shares: networks, temperature, alpha (and the image, see `picture`), also in the URL.

A value comes from the URL when that says something new, else from the session, else from the page's default. What
comes from the URL is checked like anything from outside: a name that no network has, or an image that is not there,
is dropped with a word.

    teacher, students = choice.pick_networks(default=("scratch", "response"))   # draws two widgets
    temperature = choice.temperature()
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from kdexplorer import comparison, relatives
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.ui import cached
from kdexplorer.ui.charts_soft import T_MAX, T_MIN

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
ALPHAS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
MAX_STUDENTS = 4

_MEMORY, _URL = "choice", "choice_url"


def through_the_door() -> None:
    """Every page's first line: starts again through `streamlit_app.py` where Streamlit went round it.

    A folder called `pages` makes Streamlit (1.67, `runtime/pages_manager.py`) begin in its old multipage mode: until
    the first `st.navigation` of a server's life, a deep link runs the page file alone, with neither navigation nor
    page configuration. Ending that mode and running again resolves the same link to the same page.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


def memory() -> dict[str, Any]:
    """What was chosen in this session, by name."""
    return st.session_state.setdefault(_MEMORY, {})


def get(name: str, default: Any, parse: Callable[[str], Any]) -> Any:
    """The current value of a shared choice.

    Args:
        name: also its name in the URL.
        default: what it is until somebody chooses.
        parse: turns the URL's text into a value; raises ValueError on anything that must not be used.
    """
    kept = memory()
    seen = st.session_state.setdefault(_URL, {})
    text = st.query_params.get(name)
    if text is not None and text != seen.get(name):
        seen[name] = text
        try:
            kept[name] = parse(text)
        except (ValueError, OverflowError) as error:
            kept.pop(name, None)
            st.warning(f"The link's '{name}' was not used: {as_text(str(error))}.")
    return kept.get(name, default)


def as_text(words: str) -> str:
    """Words from outside, for a place that reads Markdown: shown as they are, no link, no image, no formula."""
    escaped = re.sub(r"([\\`*_\[\]<>#!|~$:&])", r"\\\1", words)
    return escaped.replace("//", "/\u2060/").replace("www.", "www\u2060.")  # what Markdown makes a link by itself


def put(name: str, value: Any, text: str | None = None) -> None:
    """Remembers a choice and writes it into the URL (`text`, or the value itself)."""
    memory()[name] = value
    publish(name, str(value) if text is None else text)


def publish(name: str, text: str) -> None:
    """Puts text into the URL, where it is not there already."""
    st.session_state.setdefault(_URL, {})[name] = text
    if st.query_params.get(name) != text:
        st.query_params[name] = text


def forget(name: str) -> None:
    """Makes a choice what it was before anybody chose."""
    memory().pop(name, None)
    st.session_state.setdefault(_URL, {}).pop(name, None)
    st.query_params.pop(name, None)


def touched(name: str) -> bool:
    """Whether anybody (or the URL) has chosen this value."""
    return name in memory()


def networks() -> dict[str, Checkpoint]:
    """All networks by name; says what to do and ends the page where there is none."""
    found = cached.all_checkpoints()
    if not found:
        st.info("There is no network to show yet. Train one on the page Launch, or restore the folder checkpoints.")
        st.stop()
    return found


def default_teacher(found: dict[str, Checkpoint]) -> str:
    """The lightest bundled network that others learnt from: a hall waits for it. Else any such, else the largest."""
    every = relatives.teachers({name: c for name, c in found.items() if "/" not in name})
    if every:
        return min(every, key=lambda name: found[name].card["parameters"])
    return next(iter(relatives.teachers(found) or found))


def teacher(found: dict[str, Checkpoint]) -> str:
    """The chosen teacher, without a widget."""
    return get("teacher", None, _named(found, "network")) or default_teacher(found)


def choose_teacher(name: str) -> None:
    """Makes a network the teacher; students that were chosen because the former one taught them go with it."""
    found = networks()
    former, kept = memory().get("teacher") or default_teacher(found), set(memory().get("students") or [])
    theirs, own = (set(relatives.pupils(found, found[one])) if one in found else set() for one in (former, name))
    if kept <= theirs and not kept & own:
        forget("students")
    put("teacher", name)


def key_of(name: str) -> str | None:
    """The name by which pages know a network that a run's configuration names, perhaps by its folder; or None."""
    found = cached.all_checkpoints()
    if name in found:
        return name
    return next((key for key, c in found.items() if c.path.resolve() == Path(name).resolve()), None)


def short_names(chosen: Sequence[Checkpoint]) -> list[str]:
    """A name for each on charts: its own, with the end of its run's id where two share one."""
    keys = {c.path: key for key, c in cached.all_checkpoints().items()}
    return list(comparison.short_names([keys.get(c.path, c.name) for c in chosen]).values())


def pick_one(
    name: str,
    label: str,
    options: Sequence[str],
    usual: str | None,
    key: str,
    known: Collection[str] | None = None,
    what: str = "network",
    optional: bool = False,
    **widget: Any,
) -> str | None:
    """Draws the choice of one of several and returns it.

    Args:
        name: the shared choice's, also in the URL.
        label: the widget's.
        options: what can be chosen here.
        usual: the choice until there is another one, and where that cannot be chosen here.
        key: the widget's.
        known: what a link may name without being told off, `options` if not given: a network may exist, yet not fit.
        what: the options' kind, for that sentence.
        optional: whether none of them is a choice as well.
        widget: more of `st.selectbox`.
    """
    parse = _named(options if known is None else known, what)
    chosen = get(name, usual, parse)
    chosen = chosen if chosen in options or (optional and chosen is None) else usual
    st.session_state[key] = chosen
    widget |= {"index": None} if optional else {}
    st.selectbox(label, options, key=key, on_change=remember, args=(name, key), **widget)
    if touched(name) and chosen:
        publish(name, chosen)
    return chosen


def pick_several(
    name: str,
    label: str,
    options: Sequence[str],
    usual: Sequence[str],
    key: str,
    most: int,
    known: Collection[str] | None = None,
    what: str = "network",
    **widget: Any,
) -> list[str]:
    """Draws the choice of up to `most` of several and returns it; see `pick_one`. In the URL commas part the names."""
    parse = _named(options if known is None else known, what)
    chosen = get(name, usual, lambda text: [parse(part) for part in text.split(",") if part][:most])
    chosen = [one for one in chosen if one in options]
    st.session_state[key] = chosen
    st.multiselect(label, options, key=key, max_selections=most, on_change=remember, args=(name, key), **widget)
    if touched(name):
        publish(name, ",".join(chosen))
    return chosen


def _named(known: Collection[str], what: str) -> Callable[[str], str]:
    """A parser for the URL: a name that is known."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"there is no {what} '{text[:60]}'")
        return text

    return parse


def pick_networks(default: Sequence[str] = ("scratch", "response")) -> tuple[Checkpoint, list[Checkpoint]]:
    """Draws the choice of a teacher and up to four students; `default` lists methods of the teacher's students."""
    found = networks()
    left, right = st.columns([1, 2])
    with left:
        teacher = found[pick_one("teacher", "Teacher", list(found), default_teacher(found), "pick_teacher")]
    others = [name for name, c in found.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
    family = relatives.family(found, teacher)
    usual = [family[method] for method in default if method in family] or others[:1]
    with right:
        chosen = pick_several(
            "students",
            "Students",
            others,
            usual,
            "pick_students",
            MAX_STUDENTS,
            known=found,
            placeholder="Choose up to four students",
        )
    return teacher, [found[name] for name in chosen]


def number_within(low: float, high: float) -> Callable[[str], float]:
    """A parser for the URL: a finite number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text[:30]}' is not a number") from None
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{text[:30]} is not between {low:g} and {high:g}")
        return value

    return parse


def temperature() -> float:
    """The pinned temperature, without a widget."""
    return get("T", 4.0, number_within(T_MIN, T_MAX))


def alpha() -> float:
    """The weight on the teacher's term, without a widget."""
    return get("alpha", 0.7, number_within(0.0, 1.0))


def pick_temperature() -> float:
    """Draws the presets and returns the pinned temperature: where sliders start, and what the URL carries."""
    return _pick_number("T", "Pinned temperature", temperature(), TEMPERATURES, "T = {:g}")


def pick_alpha() -> float:
    """Draws the presets and returns the pinned weight on the teacher's term."""
    return _pick_number("alpha", "Pinned α", alpha(), ALPHAS, "{:g}")


def _pick_number(name: str, label: str, pinned: float, presets: Sequence[float], form: str) -> float:
    """Draws presets of a shared number; none is marked where a link pinned another value."""
    key = f"pick_{name}"
    st.session_state[key] = pinned if pinned in presets else None
    st.segmented_control(
        label, presets, format_func=form.format, key=key, on_change=remember, args=(name, key), wrap=True
    )
    if touched(name):
        publish(name, f"{pinned:g}")
    return pinned


def remember(name: str, key: str) -> None:
    """A widget's callback (`on_change=choice.remember, args=(name, key)`): what was chosen is the shared choice."""
    value = st.session_state[key]
    if value is None:
        forget(name)
        memory()[name] = None
        return
    if name == "teacher":
        choose_teacher(value)
        return
    memory()[name] = value
    text = ",".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
    publish(name, text)


def keep(name: str, key: str) -> None:
    """A widget's callback for what every page shares, but no link carries."""
    memory()[name] = st.session_state[key]
