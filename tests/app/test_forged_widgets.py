"""Values that no browser would send, within the bounds of `guard`, for every widget of every page."""

import pytest

from kdexplorer.app.layout import TITLES
from kdexplorer.app.server import guard
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


@pytest.mark.parametrize("page", TITLES)
def test_no_forged_value_ends_a_page(open_page, page):
    at = open_page(page, **({"customize": "true"} if page == "launch" else {}))
    at._run(forge(at))
    at.run()
    if page == "launch":
        form = at.session_state["run_form"]
        assert max(len(form["name"]), len(form["students"][0]["name"])) <= 64
        at.toggle(key="is_sweep").set_value(True).run()
        at._run(forge(at))
        assert len(at.session_state["form_sweep_temperatures"]) == MAX_VALUES
