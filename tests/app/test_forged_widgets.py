"""Values that no browser would send, within the bounds of `guard`, for every widget of every page."""

import itertools

import pytest

from kdexplorer.app.layout import TITLES
from kdexplorer.app.server import guard
from kdexplorer.app.server.streamlit_internals import WStates, ignore_other_kinds
from kdexplorer.studies.study import MAX_VALUES


def forge(at):
    """The page's widget states with every value replaced by another of its kind; no button is pressed."""
    states = at._tree.get_widget_states()
    for widget in states.widgets:
        kind = widget.WhichOneof("value")
        if kind == "string_array_value":
            widget.string_array_value.data[:] = [str(number).zfill(300) for number in range(200)]
        elif kind == "double_value":
            widget.double_value = 1e300
        elif kind == "int_value":
            widget.int_value = 2**62
        elif kind == "string_value":
            widget.string_value = "x" * min(guard.VALUE - 100, 800_000 // len(states.widgets))  # all: 1 MB
    return states


KINDS = {
    "string_value": "x", "double_value": 0.5, "int_value": 7, "bool_value": True, "trigger_value": True,
    "json_value": "[{]", "string_trigger_value": {"data": "x"}, "string_array_value": {"data": ["x"]},
    "double_array_value": {"data": [0.5, 9.0]}, "int_array_value": {"data": [1, 2, 3]},
    "file_uploader_state_value": {"uploaded_file_info": [{"file_id": "x"}]}, "json_trigger_value": "{}",
}  # fmt: skip


def exchange_kinds(at):
    """The page's widget states with a value of another kind for every widget."""
    states, kinds = at._tree.get_widget_states(), itertools.cycle(KINDS)
    own = {one.id: one.WhichOneof("value") for one in states.widgets}
    states.ClearField("widgets")
    for name in own:
        kind = next(kind for kind in kinds if kind != own[name])
        states.widgets.add(id=name, **{kind: KINDS[kind]})
    return states


@pytest.mark.parametrize("page", TITLES)
def test_no_forged_value_ends_a_page(open_page, page, monkeypatch):
    at = open_page(page, **({"customize": "true"} if page == "launch" else {}))
    monkeypatch.setattr(WStates, "__getitem__", WStates.__getitem__)  # restored afterwards
    ignore_other_kinds()
    at._run(forge(at))
    at.run()
    if page == "launch":
        form = at.session_state["run_form"]
        assert max(len(form["name"]), len(form["students"][0]["name"])) <= 64
        at.toggle(key="is_sweep").set_value(True).run()
        at._run(forge(at))
        assert len(at.session_state["form_sweep_temperatures"]) == MAX_VALUES
    at._run(exchange_kinds(at))
