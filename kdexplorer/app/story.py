"""The lecture, step by step: `?story=N`, and the speaker's notes in a second window: `?story=notes`.

A step's settings hold until the presenter changes them: at its end what was chosen before returns.
"""

from typing import Any

import streamlit as st

from kdexplorer import web
from kdexplorer.app import figures, layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.server import access
from kdexplorer.app.state import choices
from kdexplorer.errors import ConfigError
from kdexplorer.story import Lecture, Step, open_lecture

STEP, _BEFORE, _REVEALED = "story_step", layout.BEFORE_STEP, "story_revealed"
"""The keys of the step where the lecture goes on, of what was chosen before it, and of the step with its answer."""
HELP = "The lecture, step by step"
_css, _script, _notes_script = (web.read(name) for name in ("story.css", "story.js", "story_notes.js"))
_notes_button = st.components.v2.component(
    "kdexplorer_story", html="<button type='button'>Notes</button>", js=_script, css=_css
)
_notes = st.components.v2.component("kdexplorer_story_notes", html="<main></main>", js=_notes_script, css=_css)


def show() -> None:
    """Draws the step that the address names, or the notes."""
    try:
        lecture = open_lecture()
    except ConfigError:
        if access.is_presenter():
            raise
        raise ConfigError("The lecture's file has an error: the presenter sees which.") from None
    if (text := st.query_params[layout.STORY]) == "notes":
        _show_notes(lecture)
        return
    number = _parse(text, len(lecture.steps))
    _enter(number, lecture.steps[number - 1])
    _draw(lecture, number)


def _parse(text: str, count: int) -> int:
    """A step from the address, 1 to count; anything else is reported."""
    if text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= count:
        return int(text[:4])
    st.warning(f"There is no step '{as_text(text[:20])}': the lecture has {count}.")
    return 1


def _draw(lecture: Lecture, number: int) -> None:
    step, count = lecture.steps[number - 1], len(lecture.steps)
    with st.container(key="story_words"):
        st.title(as_text(step.title), anchor=False)
        st.markdown(as_text(step.sentence))
    is_revealed = st.session_state.get(_REVEALED) == number
    place = st.container(key=f"story_figure_{number}", height="stretch", gap=None)  # it may end the run
    with st.container(key="story_footer", horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{number} / {count}", width="content")
        st.progress(number / count)
        _notes_button(key="story_channel", data={"step": number})
        if (step.answer or step.figure in figures.ANSWERED) and not is_revealed:
            st.button("Reveal", key="story_reveal", on_click=st.session_state.update, args=({_REVEALED: number},))
        if number < count and lecture.steps[number].optional:
            label = f"More: {as_text(lecture.steps[number].title)}"
            st.button(label, key="story_more", on_click=_go_to, args=(number + 1,))
        for name, way in (("Back", -1), ("Next", 1)):
            other = lecture.neighbor(number, way)
            st.button(name, key=f"story_{name.lower()}", disabled=other is None, on_click=_go_to, args=(other,))
        if st.button("Leave", key="story_leave", help=f"To {layout.TITLES[step.page]}"):  # with all that was chosen
            _restore()
            st.query_params.pop(layout.STORY, None)
            st.switch_page(layout.FOLDER / f"{step.page}.py", query_params={})
    with place:
        if step.answer and is_revealed:
            st.markdown(f"**{as_text(step.answer)}**")
        if step.figure:
            figures.draw(step.figure, is_revealed)
        else:
            with st.container(key="story_points", height="stretch", vertical_alignment="distribute"):
                for position, point in enumerate(step.points, start=1):
                    st.markdown(f"{position}\\. {as_text(point)}")


def _show_notes(lecture: Lecture) -> None:
    if not access.is_presenter():
        st.info("Only the presenter sees the notes.")
        access.show_login()
        return
    st.title(as_text(lecture.title), anchor=False)
    steps = [step.model_dump(include={"title", "sentence", "answer", "notes"}) for step in lecture.steps]
    for number, step in enumerate(steps, start=1):
        following = lecture.neighbor(number, 1)
        step["next"] = "the end" if following is None else lecture.steps[following - 1].title
    _notes(key="story_notes", data={"steps": steps})


def begin(number: int = 1) -> None:
    """The callback of Present: the page's link has no choices for the step, as a link to the step may have."""
    _restore()
    st.session_state[_BEFORE] = {}
    st.session_state.pop(STEP, None)
    st.query_params[layout.STORY] = str(number)


def _go_to(number: int) -> None:
    """The callback of what changes the step; its answer is hidden again."""
    st.session_state.pop(_REVEALED, None)
    st.query_params[layout.STORY] = str(number)


def _enter(number: int, step: Step) -> None:
    """Remembers the step; where it begins, its settings apply, unless its link chooses others.

    After a reload the link has what the step has set. With the teacher other students may be shown, see
    `network_picker`: those before return with it.
    """
    if st.session_state.get(STEP) == number and _BEFORE in st.session_state:
        return
    given: dict[str, Any] = step.settings.model_dump(exclude_none=True)
    if _BEFORE not in st.session_state:
        linked = st.query_params.get_all
        given = {name: value for name, value in given.items() if linked(name) in ([], choices.as_texts(value))}
    _restore()
    changed = {"students": None} | given if "teacher" in given and "students" in st.session_state else given
    st.session_state[_BEFORE] = {name: (value, st.session_state.get(name)) for name, value in changed.items()}
    for name, value in given.items():
        choices.put(name, value)
    st.session_state[STEP] = number


def _restore() -> None:
    """What was chosen before a step's settings, for those that the presenter has not changed."""
    for name, (set_, before) in st.session_state.pop(_BEFORE, {}).items():
        if set_ is None or st.session_state.get(name) == set_:
            if before is None:
                choices.forget(name)
            else:  # which a bound widget takes from the link once it was forgotten
                choices.put(name, before)
