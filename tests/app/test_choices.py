"""What Streamlit's bound widgets cannot do: values without a widget. Links are in `tests/pages/test_page_links.py`."""

from streamlit.testing.v1 import AppTest

from kdexplorer.app.state import choices


def _pinned():
    import streamlit as st

    from kdexplorer.app.state import choices

    st.button("Drag", on_click=choices.pin, args=("alpha", 0.25))
    choices.pick_alpha()


def test_a_dragged_value_replaces_a_preset_and_a_late_message_cannot_bring_the_preset_back():
    at = AppTest.from_function(_pinned).run()
    at.button_group[0].set_value(0.9).run()
    late = at._tree.get_widget_states()  # what the browser knows before it has drawn what follows
    at.button[0].click().run()
    assert (at.query_params["alpha"], at.button_group[0].value) == ("0.25", None)
    at._run(late)
    assert at.query_params["alpha"] == "0.25"
    at.button_group[0].set_value(0.9).run()  # a preset after a drag
    assert at.query_params["alpha"] == "0.9"


def test_a_message_from_before_the_links_change_does_not_bring_its_old_value_back():
    at = AppTest.from_function(_pinned)
    at.query_params["alpha"] = "0.9"
    at.run().button[0].click().run()
    at.query_params["alpha"] = "0.9"  # the browser does not know the new link yet
    at.run()
    assert at.query_params["alpha"] == "0.25"


def test_only_numbers_within_the_bounds_are_pinned():
    assert not any(choices.pin(name, value) for name, value in (("T", "4"), ("T", 1e9), ("no", 4), (["T"], 4)))
