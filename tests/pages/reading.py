"""What a page shows, as AppTest sees it."""

import json

import pyarrow.ipc
from streamlit.proto.WidgetStates_pb2 import WidgetStates

from benchmarks.app import ROOT
from tests.images.image_files import encode, photo

PHOTO = encode(photo())  # a PNG file


def text(at):
    """All words of the page."""
    kinds = (at.title, at.header, at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def specs(at):
    """The charts' specifications."""
    return [json.loads(element.proto.spec) for element in at.get("vega_lite_chart")]


def params(spec):
    """A chart's parameters by name."""
    return {param["name"]: param.get("value") for param in spec["params"]}


def link_labels(at):
    """The labels of the page's links to other pages."""
    return [link.proto.label for link in at.get("page_link")]


def button(at, label):
    """The button with this label."""
    return next(one for one in at.button if one.label == label)


def open_popover(at, key):
    """Opens what is only computed while it is open."""
    at.session_state[key] = True
    return at.run()


def open_tab(at, name):
    """Opens a tab of Soft labels."""
    at.query_params["tab"] = name
    return at.run()


def turn_to(at, page):
    """Opens another page in the same session. Browsers tell the server of no widget of the page before."""
    at.switch_page(str(ROOT / "pages" / f"{page}.py"))
    at._run(WidgetStates())
    return at


def follow(at, page, **query):
    """Presses a link to another page that carries these choices."""
    at.query_params.clear()
    at.query_params.update(query)
    return turn_to(at, page)


def upload(at, name, content):
    """Chooses a file on a page with a picture."""
    next(one for one in at.file_uploader if "shown" in one.key).set_value((name, content, "image/png")).run()
    return at


def dataset(at, chart, name):
    """The rows of a chart's named data set; `chart` is the chart's position on the page."""
    found = next(one for one in at.get("vega_lite_chart")[chart].proto.datasets if one.name == name)
    return pyarrow.ipc.open_stream(found.data.data).read_all().to_pylist()


def results_table(at):
    """The whole table of results on Compare, not the short one before it."""
    return max((element.value for element in at.dataframe), key=lambda value: value.shape[1])
