"""Pinned numbers: a preset, a slider in the browser, and what comes between."""

from streamlit.testing.v1 import AppTest

from kdexplorer.app.state import choices


def _script():
    import streamlit as st

    from kdexplorer.app.state import choices

    st.button("Drag", on_click=choices.pin, args=("T", 2.5))
    choices.pick_pinned("T")


def test_a_dragged_value_replaces_a_preset_and_a_late_message_cannot_bring_the_preset_back():
    at = AppTest.from_function(_script).run()
    at.button_group[0].set_value(8.0).run()
    late = at._tree.get_widget_states()  # what the browser knows before it has drawn what follows
    at.button[0].click().run()
    assert (at.query_params["T"], at.button_group[0].value) == ("2.5", None)
    at._run(late)
    assert at.query_params["T"] == "2.5"


def test_a_preset_after_a_drag_is_taken():
    at = AppTest.from_function(_script).run()
    at.button[0].click().run()
    at.button_group[0].set_value(8.0).run()
    assert at.query_params["T"] == "8"


def test_only_numbers_within_the_bounds_are_pinned():
    assert not any(choices.pin(name, value) for name, value in (("T", "4"), ("T", 1e9), ("no", 4), (["T"], 4)))
