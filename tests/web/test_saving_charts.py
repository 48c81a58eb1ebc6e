"""Charts as files, made in a browser: what stands in them, their size, their rows, and texts that must do nothing."""

import base64
import csv
import io
import re
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pytest
from PIL import Image

from kdexplorer import web
from kdexplorer.charts import common
from kdexplorer.charts.common import NetworkLogits, Source
from kdexplorer.charts.gradients import gradient_push
from kdexplorer.charts.soft_labels import columns
from kdexplorer.charts.style import TEACHER
from kdexplorer.handout.vega import bundle_library
from tests.charts.drawing import rows_of, texts
from tests.charts.test_every_chart import charts  # noqa: F401, a fixture
from tests.tab import shared

pytestmark = pytest.mark.browser

SOURCE, LINK = "KD Explorer · A & B <i>", "https://example.org/soft_labels?image=25&T=4"
HOSTILE = '</text><script>alert(1)</script>"&\x07'
SVG = "{http://www.w3.org/2000/svg}"
DRAW = """async (spec) => {
  const place = document.querySelector("#chart");
  const options = { ast: true, renderer: "svg", actions: false, defaultStyle: false };
  window.view = (await vegaEmbed(place, spec, options)).view;
  return KDSave.findView(place) === window.view;
}"""
MAKE = "async ([kind, chart]) => await KDSave.makeFile(kind, { ...chart, view: window.view })"


@pytest.fixture
def tab(chromium):
    def load():
        tab = chromium.new_page()
        tab.set_default_timeout(120_000)
        tab.set_content('<div id="chart" style="width: 500px"></div>')
        for script in (bundle_library(), web.read("save_chart.js")):
            tab.add_script_tag(content=f"{script};window.KDSave = typeof KDSave === 'undefined' ? null : KDSave")
        return tab

    return shared.get("saving charts", load)


def draw(tab, spec):
    assert tab.evaluate(DRAW, spec)


def save(tab, spec, kind="svg", **changes):
    """The content of the file that the drawn chart becomes."""
    chart = {"name": "Chart", "source": SOURCE, "link": LINK, "description": spec["description"]}
    file = tab.evaluate(MAKE, [kind, chart | {"tables": list(spec["datasets"].values())} | changes])
    assert file["name"] == f"kd-explorer-chart{'-slide' if changes.get('slide') else ''}.{kind}"
    return file["text"]


def one_chart(rows=None):
    rows = rows or [{"x": 1.5, "y": 2, "name": "a"}, {"x": -0.25, "y": 3, "name": "b"}]
    points = alt.Chart(alt.InlineData(values=rows)).mark_point().encode(x="x:Q", y="y:Q", color="name:N")
    return common.spec([points], "The title", "more of it", "What it shows", 100)


def test_it_has_title_source_and_link_on_white_and_a_slide_is_16_to_9_with_larger_type(tab):
    draw(tab, one_chart())
    before, sizes = tab.locator("#chart").inner_html(), []
    for slide in (False, True):
        svg = save(tab, one_chart(), slide=slide)
        root = ElementTree.fromstring(svg)
        assert {"The title", "more of it", SOURCE, LINK} <= set(texts(svg))
        assert root.find(f"{SVG}title").text == SOURCE
        assert root.find(f"{SVG}desc").text == "What it shows"
        size = {"width": root.get("width"), "height": root.get("height")}
        assert root.find(f"{SVG}rect").attrib == size | {"fill": "white"}
        assert root.find(f"{SVG}a").get("href") == LINK
        assert "currentColor" not in svg
        image = Image.open(io.BytesIO(base64.b64decode(save(tab, one_chart(), "png", slide=slide).partition(",")[2])))
        assert image.size == (2 * int(root.get("width")), 2 * int(root.get("height")))
        assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
        sizes.append(min(float(size) for size in re.findall(r'font-size="([0-9.]+)px"', svg)))
    assert image.size == (3200, 1800)
    assert sizes[1] >= 2 * sizes[0] - 0.01
    assert tab.locator("#chart").inner_html() == before


def test_of_two_files_that_are_asked_for_at_once_both_are_made(tab):
    draw(tab, one_chart())
    chart = {"name": "Chart", "source": SOURCE, "link": LINK, "description": "", "tables": []}
    save_both = """async (chart) => {
      const saved = [], { click } = HTMLAnchorElement.prototype;
      HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };
      await Promise.all(["svg", "png"].map((kind) => KDSave.save(kind, { ...chart, view: window.view })));
      HTMLAnchorElement.prototype.click = click;
      return saved;
    }"""
    assert tab.evaluate(save_both, chart) == ["kd-explorer-chart.svg", "kd-explorer-chart.png"]


def test_a_tall_chart_is_complete_on_a_slide(tab):
    classes = [f"class {index}" for index in range(100)]
    networks = [NetworkLogits(role, role, np.arange(100.0)) for role in (TEACHER, "scratch", "kd")]
    spec = columns(Source(networks, classes, 3, 4.0))
    draw(tab, spec)
    root = ElementTree.fromstring(save(tab, spec, slide=True))
    shrink = float(re.search(r"scale\(([0-9.]+)\)", root.find(f"{SVG}g").get("transform"))[1])
    drawing = root.find(f"{SVG}g/{SVG}svg")
    assert shrink * float(drawing.get("height")) < int(root.get("height"))
    assert shrink * float(drawing.get("width")) <= int(root.get("width"))


def test_hostile_texts_stay_text(tab):
    logits = np.arange(3.0)
    networks = NetworkLogits(HOSTILE, TEACHER, logits), NetworkLogits("small", "kd", logits)
    spec = gradient_push(Source([*networks], (HOSTILE, "=1+1", "c"), 0, 4.0, 0.7), networks[1])
    draw(tab, spec)
    svg = save(tab, spec, source=HOSTILE, link=f"javascript:{HOSTILE}")
    root = ElementTree.fromstring(svg)
    assert not root.findall(f".//{SVG}script")
    assert not root.findall(f".//{SVG}a")
    assert HOSTILE.replace("\x07", "") in texts(svg)


def test_a_long_link_is_cut_in_the_text_alone(tab):
    long = "https://example.org/?x=" + 1000 * "a"
    draw(tab, one_chart())
    link = ElementTree.fromstring(save(tab, one_chart(), link=long)).find(f"{SVG}a")
    assert link.get("href") == long
    assert len(link.findall(f".//{SVG}text")) <= 6


def test_each_chart_becomes_a_file_with_the_rows_that_it_draws(tab, charts):  # noqa: F811
    for name, spec in charts.items():
        draw(tab, spec)
        svg = save(tab, spec)
        assert ElementTree.fromstring(svg).get("width") == "960", name
        assert SOURCE in texts(svg), name
        cells = list(csv.DictReader(io.StringIO(save(tab, spec, "csv"))))
        assert cells, name
        assert not any(str(value).startswith("data:") for row in cells for value in row.values()), name
        if name == "soft labels by epoch":
            written = {(row["network"], row["epoch"], row["class"]): float(row["p"]) for row in cells}
            assert written == {(row["network"], str(row["epoch"]), row["class"]): row["p"] for row in rows_of(spec)}


def test_a_spreadsheet_computes_nothing(tab):
    values = ["=1+1", "+cmd", "-2+3", "@x", " =1", "\t=1", "-2.5", "a=b", -1, None]
    spec = one_chart([{"=name": value} for value in values])
    column, *cells = [row[0] if row else "" for row in csv.reader(io.StringIO(save(tab, spec, "csv")))]
    assert column == "'=name"
    assert cells == ["'=1+1", "'+cmd", "'-2+3", "'@x", "' =1", "'\t=1", "-2.5", "a=b", "-1", ""]


def test_rows_that_are_equal_stay_and_other_tables_add_what_is_new(tab):
    """Two seeds may have the same accuracy."""
    tables = [[{"x": 0.7}, {"x": 0.9}], [{"x": 0.5}, {"x": 0.5}, {"x": 0.7}]]
    text = tab.evaluate(MAKE, ["csv", {"name": "", "of": "", "tables": tables}])["text"]
    assert text.split() == ["x", "0.5", "0.5", "0.7", "0.9"]


def test_what_the_file_is_of_is_in_its_name(tab):
    draw(tab, one_chart())
    for (name, of), expected in {
        ("Soft labels", "test image 25"): "kd-explorer-soft-labels-test-image-25",
        ("../é\n%", "α"): "kd-explorer-e",
        ("a" * 500, ""): f"kd-explorer-{'a' * 88}",
    }.items():
        assert tab.evaluate(MAKE, ["csv", {"name": name, "of": of, "tables": []}])["name"] == f"{expected}.csv"
