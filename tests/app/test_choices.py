"""What Streamlit's bound widgets cannot do: defaults that follow, keys instead of labels, values without a widget."""

from streamlit.testing.v1 import AppTest

from kdexplorer.app.state import choices


def _pinned():
    import streamlit as st

    from kdexplorer.app.state import choices

    st.button("Drag", on_click=choices.pin, args=("alpha", 0.25))
    choices.pick_alpha()


def _family():
    import streamlit as st

    from kdexplorer.app.state import choices

    choices.translate_link()
    teacher = choices.pick_one("teacher", "Teacher", ["a", "b"], "a")
    students = [f"{teacher}{number}" for number in range(4)]
    names = choices.pick_several("students", "Students", students, students[: 3 if st.toggle("Three") else 2], 4)
    st.text(" ".join(names))
    choices.pick_option("curve", "Curve", ["kl", "entropy"], {"kl": "KL", "entropy": "Entropy"}.__getitem__)
    choices.pick_toggle("scaled", "Scaled")


def _open(script, **link):
    at = AppTest.from_function(script)
    at.query_params.update(link)
    return at.run()


def test_a_default_follows_what_it_depends_on_until_a_visitor_chooses():
    at = _open(_family)
    assert at.text[0].value == "a0 a1"
    assert at.toggle[0].set_value(True).run().text[0].value == "a0 a1 a2"
    assert at.selectbox(key="teacher").set_value("b").run().text[0].value == "b0 b1 b2"
    assert at.multiselect(key="students").set_value(["b3"]).run().text[0].value == "b3"
    assert at.toggle[0].set_value(False).run().text[0].value == "b3"


def test_a_link_names_an_options_key_not_its_label():
    at = _open(_family, curve="entropy")
    assert (at.button_group(key="curve").value, at.query_params["curve"]) == ("entropy", "entropy")
    at.button_group(key="curve").set_value("kl").run()
    assert "curve" not in at.query_params
    at.button_group(key="curve").set_value("entropy").run()
    assert at.query_params["curve"] == "entropy"


def test_a_link_from_before_is_translated_once():
    at = _open(_family, students="a2,a1", scaled="on")
    assert (at.text[0].value, at.toggle(key="scaled").value, at.warning.len) == ("a2 a1", True, 0)
    assert (at.query_params["students"], at.query_params["scaled"]) == (["a2", "a1"], "true")
    assert _open(_family, students=",").text[0].value == ""


def test_what_a_link_names_and_does_not_exist_is_reported_and_the_rest_is_used():
    at = _open(_family, students=["a3", "zz"], teacher="<b>", curve="no", scaled="maybe")
    assert at.text[0].value == "a3"
    warned = " ".join(warning.value for warning in at.warning)
    assert all(f"'{name}'" in warned for name in ("teacher", "students", "curve", "scaled"))
    assert not at.run().warning


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


def test_only_numbers_within_the_bounds_are_pinned():
    assert not any(choices.pin(name, value) for name, value in (("T", "4"), ("T", 1e9), ("no", 4), (["T"], 4)))
