"""What a visitor chooses: kept for the session under the name that it has in the link.

A choice is a widget that Streamlit binds to the link (`bind="query-params"`): its key is its name there, its default is
left out, and a page without the widget keeps the value and leaves the parameter out. What Streamlit (1.67) cannot do is
here, each with a test in `tests/app/test_choices.py`, `tests/pages/test_page_links.py` or `tests/pages/test_pages.py`:

- A default that depends on other choices or on the page: what was not chosen follows it (`settle`).
- A link that names an option otherwise than the widget: labels change, `?method=at` stays.
- A value without a widget: the image, and T and α, which the browser's charts move (`get`, `put`, `publish`).
- A link inside the app that names the default: Streamlit drops it and keeps what was chosen before (`settle`).
- To say that a link's value is unknown: Streamlit leaves it out in silence.
- What a link has chosen on one page holds on the next: Streamlit forgets it with the widget (`carry`).
- What the browser asks before it knows that the link has changed: its old value is not chosen again (`get`).
- The browser's Back: what its address leaves out was not chosen yet (`get`), or has no value of its own (`pick_one`).
- Links from before it bound widgets: lists were one text with commas, toggles `on` or `off` (`translate_link`).
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import streamlit as st
from streamlit.errors import StreamlitAPIException

from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.server.streamlit_internals import goes_back
from kdexplorer.charts.temperature import T_MAX, T_MIN

T, ALPHA = 4.0, 0.7
"""Where nothing is pinned."""
PINNED = {"T": (T, T_MIN, T_MAX), "alpha": (ALPHA, 0.0, 1.0)}
"""Initial values of sliders, which links carry: default and bounds."""
ALPHAS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Presets of alpha."""

_USUAL, _LINKED, _BOUND, PAGE = "usual_choices", "linked_choices", "bound_choices", "page_of_choices"
_RETURNS = "choices_return"
V = TypeVar("V")
Name = TypeVar("Name", str, str | None)


def translate_link() -> None:
    """Brings a link from before into today's form; the script begins anew."""
    new: dict[str, str | list[str]] = {}
    for name, text in st.query_params.items():
        if name in ("students", "networks", "runs") and "," in text:
            new[name] = [one for one in text.split(",") if one] or ""
        elif name in ("off_diagonal", "scaled", "superclasses") and text in ("on", "off"):
            new[name] = "true" if text == "on" else "false"
    if "of" in st.query_params:  # a link from Compare: Streamlit drops what is called as a widget of the page before
        new["teacher"] = st.query_params.pop("of")
    if new:
        st.query_params.update(new)
        st.rerun()


def carry(page: str) -> None:
    """Before a page is drawn: what a link has chosen on another one before, and was not changed there, holds here too.

    Streamlit (1.67) keeps a value under its key only after a second run of the page that a link has set it on.
    """
    before, st.session_state[PAGE] = st.session_state.get(PAGE), page
    st.session_state[layout.WARNINGS] = st.container()  # of a page without a header
    st.session_state[_RETURNS] = goes_back() and before != page
    if before not in (None, page):
        for texts in st.session_state.get(_LINKED, {}).values():
            del texts[:-1]
        for name in st.session_state.get(_BOUND, ()):
            if name in st.session_state and name not in st.query_params:
                st.session_state[name] = st.session_state[name]


def settle(name: str, options: Collection[Any], default: Any, optional: bool = False) -> None:
    """Before a choice is shown: what was not chosen, or is no option here, becomes this page's default.

    So does what was chosen before, where the link names the default; Streamlit's own is None where that may be empty.
    """
    usual = st.session_state.setdefault(_USUAL, {})
    st.session_state.setdefault(_BOUND, {})[name] = None
    value = st.session_state.get(name)
    is_option = value is not None if isinstance(default, list) else value in options
    is_option |= value is None and optional and name in st.session_state
    linked = st.query_params.get_all(name)
    follows = not is_option or (name in usual and value == usual[name] and not linked)
    follows |= bool(linked) and linked == as_texts(default) and not optional
    if not follows:
        usual.pop(name, None)  # chosen, also on pages where it is the default
        return
    if value != default and (name in st.session_state or optional):
        st.session_state[name] = default
    usual[name] = default


def follow(name: str, default: Any) -> None:
    """Gives a choice this page's default, as if nothing had been chosen."""
    st.session_state[name] = st.session_state.setdefault(_USUAL, {})[name] = default


def choose(**values: Any) -> None:
    """Chooses values of bound widgets, before they are drawn."""
    st.session_state.update(values)
    for name in values:
        st.session_state.get(_USUAL, {}).pop(name, None)


def is_chosen(name: str) -> bool:
    """Whether a link or the visitor has chosen something else than what a page shows by itself."""
    value = st.session_state.get(name)
    return name in st.query_params or (value is not None and value != st.session_state.get(_USUAL, {}).get(name))


def _warn(name: str, reason: str, what: str = "is ignored") -> None:
    """A warning below the header: the choice itself may be hidden, or behind a button."""
    st.session_state.get(layout.WARNINGS, st).warning(f"The link's '{name}' {what}: {as_text(reason)}.")


def _bind(name: str) -> Any:
    """None for the run in which Back has come from a page with the same choice, which Streamlit drops from the link."""
    if not (goes_back() and st.session_state.get(_RETURNS)) or name in st.query_params:
        return "query-params"
    if is_chosen(name) and (value := st.session_state[name]) is not False:
        st.query_params[name] = "true" if value is True else as_texts(value)
    return None


def check_link(name: str, known: Collection[str], kind: str) -> None:
    """Reports names in the link that do not exist; Streamlit leaves them out."""
    held = as_texts(st.session_state[name]) if name in st.session_state else []  # chosen here, not by the link
    if unknown := [text for text in st.query_params.get_all(name) if text and text not in known and text not in held]:
        _warn(name, f"there is no {kind} '{unknown[0][:60]}'")


def pick_option(
    name: str, label: str, options: Iterable[V], text: Callable[[V], str] = str, default: V | None = None, **widget: Any
) -> V:
    """Draws buttons of which one is selected, at first `default` or the first of `options`; returns its option.

    All pages share the choice; `name` is its name in the link, and `str` of the option its value there.
    """
    by_text = {str(option): option for option in options}
    first = next(iter(by_text)) if default is None else str(default)
    chosen = pick_one(
        name, label, list(by_text), first, kind="option", buttons=True,
        format_func=lambda key: as_text(text(by_text[key])), **widget,
    )  # fmt: skip
    return by_text[chosen]


def pick_one(
    name: str,
    label: str,
    options: Sequence[str],
    default: Name,
    known: Collection[str] = (),
    kind: str = "network",
    buttons: bool = False,
    format_func: Callable[[str], str] = str,
    **widget: Any,
) -> Name:
    """Draws the choice of one of several names, as a list or as buttons, and returns it.

    All pages share the choice under its name in the link. Where there is none, or it is no option on this page, it is
    `default`. A link with a name that is none of `known`, or else of the options, is reported: `kind` says what they
    are. With `index=None`, None is a choice too.
    """
    options, optional = list(options), "index" in widget
    is_bound = all(format_func(option) == option for option in options)
    if is_bound:
        check_link(name, known or options, kind)
        settle(name, options, default, optional)
    else:
        st.session_state[name] = choose_one(name, options, default, kind, known, optional)
    widget |= {"key": name, "format_func": format_func, "persist_state": "session"}
    widget["bind"] = _bind(name) if is_bound and not (optional and goes_back()) else None
    if buttons:
        chosen = st.segmented_control(label, options, default=default, required=True, wrap=True, **widget)
    else:
        chosen = st.selectbox(
            label, options, **({"index": options.index(str(default)) if default is not None else None} | widget)
        )
    return chosen


def pick_several(
    name: str,
    label: str,
    options: Sequence[str],
    default: Sequence[str],
    limit: int,
    known: Collection[str] = (),
    kind: str = "network",
    **widget: Any,
) -> list[str]:
    """Draws the choice of up to `limit` names and returns them; see `pick_one`."""
    check_link(name, known or options, kind)
    settle(name, options, list(default))
    if len(chosen := st.session_state.get(name, [])) > limit:  # a browser offers no more
        st.session_state[name] = chosen[:limit]
    if len({*st.query_params.get_all(name)} & {*options}) > limit:
        _warn(name, f"the first {limit} are shown", "has too many names")
    return st.multiselect(
        label, options, default, key=name, max_selections=limit, bind=_bind(name), persist_state="session", **widget
    )


def pick_toggle(name: str, label: str, default: bool = False, **widget: Any) -> bool:
    """Draws a toggle; returns whether it is on, which the link carries as `true` or `false`."""
    check_link(name, ("true", "false"), "state")
    st.session_state.setdefault(_BOUND, {})[name] = None
    return st.toggle(label, default, key=name, bind=_bind(name), persist_state="session", **widget)


def pick_tab(name: str, tabs: Sequence[str]) -> tuple[str, Any]:
    """Draws tabs; returns the open one, which the link carries, and its place."""
    check_link(name, tabs, "tab")
    places = zip(tabs, st.tabs(tabs, key=name, bind="query-params", on_change="rerun"), strict=True)
    return next((tab, place) for tab, place in places if place.open)


def choose_one(
    name: str, options: Collection[str], default: Name, kind: str, known: Collection[str] = (), optional: bool = False
) -> Name:
    """The current choice of one of several names, without a bound widget, also in the link; see `pick_one`."""

    def parse(text: str) -> str:
        if text not in (known or options):
            raise ValueError(f"there is no {kind} '{text[:60]}'")
        return text

    get(name, parse)
    settle(name, options, default, optional)
    chosen = st.session_state.get(name, default)
    publish(name, None if chosen == default else chosen)
    return chosen


def get(name: str, parse: Callable[[str], Any]) -> Any:
    """The current value of a choice without a bound widget: from the link if that has changed, else the session's.

    What the link said on this page before changes nothing, except by the browser's Back: it comes from a browser that
    does not know yet what `publish` wrote. None as long as nothing has been chosen. `parse` turns the link's text into
    a value, lists with commas; it raises ValueError for what must not be used.
    """
    text, texts = ",".join(st.query_params.get_all(name)), _texts(name)
    if text != texts[-1] and (text not in texts or goes_back()):
        texts.append(text)
        if text:
            try:
                st.session_state[name] = parse(text)
            except (ValueError, OverflowError) as error:
                st.session_state.pop(name, None)
                _warn(name, str(error))
        elif goes_back():
            st.session_state.pop(name, None)
    return st.session_state.get(name)


def _texts(name: str) -> list[str]:
    """What the link has said of a choice on this page so far, the latest last; "" where it was left out."""
    return st.session_state.setdefault(_LINKED, {}).setdefault(name, [""])


def put(name: str, value: Any) -> None:
    """Chooses a value, also in the link."""
    st.session_state[name] = value
    publish(name, value)


def publish(name: str, value: Any) -> None:
    """Writes what a page shows without a bound widget into the link; None leaves it out."""
    new, old = [] if value is None else as_texts(value), st.query_params.get_all(name)
    _texts(name).extend([",".join(old), ",".join(new)] if new != old else [])
    with contextlib.suppress(StreamlitAPIException):  # the run before had the widget: the link is still Streamlit's
        if value is None:
            st.query_params.pop(name, None)
        elif new != old:
            st.query_params[name] = new if isinstance(value, list) else new[0]


def as_texts(value: Any) -> list[str]:
    """A value as the link has it."""
    return value if isinstance(value, list) else [f"{value:g}" if isinstance(value, float) else str(value)]


def forget(name: str) -> None:
    """Removes a choice from the session and the link, so that the default applies again."""
    if name in st.session_state.get(_BOUND, ()):
        follow(name, None)  # of what has no value Streamlit takes the link's, which is still that of the run before
    else:
        st.session_state.pop(name, None)
    publish(name, None)


def pinned_by_visitor(name: str) -> float | None:
    """As `pinned`, but None where neither a link nor the visitor has pinned a value."""
    _, low, high = PINNED[name]

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text[:30]}' is not a number") from None
        if not low <= value <= high:  # NaN is not, either
            raise ValueError(f"{text[:30]} is not between {low:g} and {high:g}")
        return value

    return get(name, parse)


def pinned(name: str, default: float | None = None) -> float:
    """A pinned number, without a widget: the temperature `T`, or `alpha`, the teacher's weight in the lab's formula.

    `default` replaces the usual one while nothing is pinned.
    """
    value = pinned_by_visitor(name)
    publish(name, value)
    return next(one for one in (value, default, PINNED[name][0]) if one is not None)


def pin(name: object, value: object) -> bool:
    """Pins a number that comes from a browser, rounded to two decimals; False where there is no such number."""
    if not isinstance(name, str) or name not in PINNED or not isinstance(value, (int, float)):
        return False
    _, low, high = PINNED[name]
    if not low - 0.01 <= value <= high + 0.01:  # the slider's ends are rounded
        return False
    put(name, high if value > 0.998 * high else round(max(low, float(value)), 2))
    st.session_state[f"moves_{name}"] = st.session_state.get(f"moves_{name}", 0) + 1
    return True


def pick_alpha(default: float | None = None) -> float:
    """Draws alpha's presets and returns it; none is selected where it has another value.

    After a slider has pinned it the presets are another widget: what the browser sends before it knows of that contains
    the old preset, which is no click on it.
    """
    moves, value = st.session_state.get("moves_alpha", 0), pinned("alpha", default)
    key = f"preset_alpha_{moves}" if moves else "preset_alpha"
    st.session_state[key] = value if value in ALPHAS else None

    def take() -> None:
        if moves == st.session_state.get("moves_alpha", 0):
            put("alpha", st.session_state[key])

    st.segmented_control("Set α", ALPHAS, format_func="{:g}".format, key=key, on_change=take, wrap=True)
    return value
