"""Saving charts without a browser: nothing is computed before it is asked for, and what a file then is of."""

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from kdexplorer.app.navigation import TITLES
from kdexplorer.app.parts import chart_view
from kdexplorer.charts import vega
from tests.charts.drawing import texts
from tests.pages.reading import open_tab, specs
from tests.pages.runs import make_run


@pytest.fixture
def files(monkeypatch):
    """The files of the open button, by kind, each as a function."""
    found = {}

    def offer(label, data, file_name, mime, **_):
        found[label] = (file_name, mime, data)

    monkeypatch.setattr(chart_view.st, "download_button", offer)
    return found


def popovers(at):
    return [key for key in at.session_state if key.startswith("save_open_")]


def open_save(at, start):
    key = next(key for key in popovers(at) if key.startswith(f"save_open_{start}"))
    at.session_state[key] = True
    return at.run()


@pytest.mark.parametrize("page", TITLES)
def test_every_chart_has_a_closed_button_and_nothing_is_computed(family, open_page, page, monkeypatch):
    monkeypatch.setattr(vega.Vega, "__enter__", lambda self: pytest.fail("Vega was started"))
    monkeypatch.setattr(chart_view, "_offer", lambda *_: pytest.fail("a button is open"))
    at = open_page(page)
    known = {"attention": 1}  # the scale of colors is a part of the maps' file
    assert len(popovers(at)) == len(specs(at)) - known.get(page, 0)


def test_the_files_are_of_what_the_page_shows(family, open_page, files):
    at = open_save(open_page("soft_labels", image="25", T="8"), "soft-labels")
    name, mime, build = files["SVG"]
    assert (name, mime) == ("kd-explorer-soft-labels-cifar-10-test-image-25.svg", "image/svg+xml")
    found = texts(build().decode())
    assert "Soft labels at T = 8.00" in found
    assert "KD Explorer, Soft labels: CIFAR-10 test image 25, teacher → small-scratch, small-response" in found
    name, _, build = files["CSV"]
    assert name.endswith("test-image-25.csv")
    assert build().decode().startswith("network,")
    next(one for one in at.toggle if one.label == "For slides").set_value(True).run()
    name, mime, build = files["PNG"]
    assert (name, mime) == ("kd-explorer-soft-labels-cifar-10-test-image-25-slide.png", "image/png")
    assert Image.open(io.BytesIO(build())).size == (3200, 1800)


def test_a_temperature_that_a_slider_was_moved_to_is_that_of_the_file(family, open_page, files):
    at = open_page("soft_labels", image="25")
    at.session_state["slider_moved"] = "chart_soft_labels"  # the chart is not drawn again
    at.session_state["T"] = 2.0
    open_save(at, "soft-labels")
    assert "Soft labels at T = 2.00" in texts(files["SVG"][2]().decode())


def test_a_slider_that_the_server_does_not_follow_is_set_beside_the_button(family, open_page, files):
    at = open_save(open_page("attention", image="25"), "attention")
    at.slider[-1].set_value(0.0).run()
    svg = files["SVG"][2]().decode()
    ElementTree.fromstring(svg)
    assert 'opacity="0"' in svg
    assert "attention (1 = spread evenly)" in texts(svg)
    at._run(forged(at))
    assert files["SVG"][2]()


def forged(at):
    states = at._tree.get_widget_states()
    for widget in states.widgets:
        if widget.WhichOneof("value") == "double_array_value":
            widget.double_array_value.data[:] = [1e300]
    return states


def test_names_that_are_alike_do_not_meet(own, make_checkpoint, cifar10_card, open_page):
    for number, name in enumerate(("a" * 60 + "-x", "a" * 60 + "-y")):
        make_checkpoint(own / name, "resnet8", number, **cifar10_card)
    at = open_tab(open_page("soft_labels"), "Curves over T")
    assert len(set(popovers(at))) == len(specs(at))


def test_a_run_that_trains_has_no_buttons(runs_root, open_page, monkeypatch):
    run = make_run(students=("scratch", "response"))
    assert popovers(open_page("launch", run=run.run_id))
    monkeypatch.setattr("kdexplorer.app.launch.launch_run.LIVE", ("running", "queued", run.status().state))
    at = open_page("launch", run=run.run_id)
    assert specs(at)
    assert not popovers(at)
