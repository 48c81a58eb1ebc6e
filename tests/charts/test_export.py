"""Charts as files: what stands in them, their size, their rows, and texts that must not do anything."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pytest
from PIL import Image

from kdexplorer.charts import common, export, replay, taxonomy
from kdexplorer.charts.common import NetworkLogits
from kdexplorer.charts.gradient import gradient_push
from kdexplorer.charts.soft_labels import mirrored
from kdexplorer.charts.studies import differences
from kdexplorer.charts.style import TEACHER
from kdexplorer.charts.temperature import slider_value
from kdexplorer.charts.vega import DrawingError, Vega
from tests.charts.drawing import texts
from tests.charts.test_every_chart import many_images, one_image
from tests.studies.sample import make_table

SOURCE, LINK = "KD Explorer · A & B <i>", "https://example.org/soft_labels?image=25&T=4"
HOSTILE = '</text><script>alert(1)</script>"&\x07'
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def vega():
    with Vega(limit=3600) as started:
        yield started


def to_svg(vega, *args, **kwargs):
    return export.to_svg(export.Figure(*args, **kwargs), vega)


def to_png(vega, *args, **kwargs):
    return export.to_png(export.Figure(*args, **kwargs), vega)


def one_chart():
    rows = [{"x": 1.5, "y": 2, "name": "a"}, {"x": -0.25, "y": 3, "name": "b"}]
    points = alt.Chart(alt.InlineData(values=rows)).mark_point().encode(x="x:Q", y="y:Q", color="name:N")
    return common.spec([points], common.title("The title", "more of it"), "What it shows", 100)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def type_sizes(svg):
    return [float(size) for size in re.findall(r'font-size="([0-9.]+)px"', svg)]


@pytest.mark.parametrize("slide", [False, True])
def test_it_has_title_source_and_link_on_white(slide, vega):
    svg = to_svg(vega, one_chart(), SOURCE, LINK, slide=slide)
    root = ElementTree.fromstring(svg)
    assert {"The title", "more of it", SOURCE, LINK} <= set(texts(svg))
    assert root.find(f"{SVG}title").text == SOURCE
    assert root.find(f"{SVG}desc").text == "What it shows"
    assert root.find(f"{SVG}rect").attrib == {"width": root.get("width"), "height": root.get("height"), "fill": "white"}
    assert root.find(f"{SVG}a").get("href") == LINK
    assert "currentColor" not in svg


def test_a_png_has_twice_the_size_and_a_slide_is_16_to_9_with_larger_type(vega):
    for slide in (False, True):
        root = ElementTree.fromstring(to_svg(vega, one_chart(), SOURCE, LINK, slide=slide))
        image = Image.open(io.BytesIO(to_png(vega, one_chart(), SOURCE, LINK, slide=slide)))
        assert image.size == (2 * int(root.get("width")), 2 * int(root.get("height")))
        assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    assert image.size == (3200, 1800)
    small, large = (min(type_sizes(to_svg(vega, one_chart(), SOURCE, slide=slide))) for slide in (False, True))
    assert large >= 2 * small - 0.01


def test_a_tall_chart_is_complete_on_a_slide(vega):
    svg = to_svg(vega, one_image(100)["mirrored"], SOURCE, LINK, slide=True)
    root = ElementTree.fromstring(svg)
    shrink = float(re.search(r"scale\(([0-9.]+)\)", svg)[1])
    drawing = root.find(f"{SVG}g/{SVG}svg")
    assert shrink * float(drawing.get("height")) < int(root.get("height"))
    assert shrink * float(drawing.get("width")) <= int(root.get("width"))


def test_a_parameter_takes_the_value_of_the_page(vega):
    networks = [NetworkLogits("big", TEACHER, np.arange(3.0)), NetworkLogits("small", "kd", np.arange(3.0))]
    chart = mirrored(networks[0], networks[1:], "abc", 1, 4.0)
    assert "Soft labels at T = 4.00" in texts(to_svg(vega, chart, SOURCE))
    assert "Soft labels at T = 8.00" in texts(to_svg(vega, chart, SOURCE, values={"logT": slider_value(8.0)}))


def test_hostile_texts_stay_text(vega):
    logits = np.arange(3.0)
    chart = gradient_push(
        NetworkLogits(HOSTILE, TEACHER, logits),
        NetworkLogits("small", "kd", logits),
        [HOSTILE, "=1+1", "c"],
        0,
        4.0,
        0.7,
    )
    svg = to_svg(vega, chart, HOSTILE, f"javascript:{HOSTILE}")
    root = ElementTree.fromstring(svg)
    assert not root.findall(f".//{SVG}script")
    assert not root.findall(f".//{SVG}a")
    assert HOSTILE.replace("\x07", "") in texts(svg)


def test_the_end_of_vega_is_an_error_of_this_chart_alone():
    spec = one_chart()
    with Vega() as vega, pytest.raises(DrawingError):
        vega.draw(json.dumps(spec | {"width": 300}).replace("The title", "\\u0007"))
    with Vega() as vega:
        assert to_svg(vega, spec, SOURCE)
        with pytest.raises(DrawingError):
            vega.draw("{}")


def test_a_long_link_is_cut_in_the_text_alone(vega):
    long = "https://example.org/?x=" + 1000 * "a"
    root = ElementTree.fromstring(to_svg(vega, one_chart(), SOURCE, long))
    assert root.find(f"{SVG}a").get("href") == long
    assert len(root.find(f"{SVG}a").findall(f".//{SVG}text")) <= 2 * export.LINES


@pytest.fixture(scope="module")
def charts():
    league = differences(make_table(), "scratch")
    return one_image(10) | many_images(10) | {"taxonomy without a choice": taxonomy.taxonomy(), "league": league}


def test_each_chart_becomes_a_file(charts, vega):
    for name, spec in charts.items():
        svg = to_svg(vega, spec, SOURCE, LINK)
        assert ElementTree.fromstring(svg).get("width") == str(export.DOCUMENT.width), name
        assert SOURCE in texts(svg), name
        assert read(export.to_csv(spec)), name


def test_the_table_has_the_numbers_of_the_chart(charts):
    rows = [{"x": float(row["x"]), "y": int(row["y"]), "name": row["name"]} for row in read(export.to_csv(one_chart()))]
    assert rows == [{"x": 1.5, "y": 2, "name": "a"}, {"x": -0.25, "y": 3, "name": "b"}]
    spec = charts["soft labels by epoch"]
    written = {(row["network"], row["epoch"], row["class"]): float(row["p"]) for row in read(export.to_csv(spec))}
    drawn = [row for rows in spec["datasets"].values() for row in rows]
    assert written == {(row["network"], str(row["epoch"]), row["class"]): row["p"] for row in drawn}


def test_the_table_names_data_once_and_leaves_out_images(charts):
    grown = replay.replay_curves(charts["curves"], 1, 3)
    assert read(export.to_csv(grown)) == read(export.to_csv(charts["curves"]))
    cells = read(export.to_csv(charts["grid"]))
    assert "url" not in cells[0]
    assert "data:" not in export.to_csv(charts["grid"])


def test_a_spreadsheet_computes_nothing():
    values = ["=1+1", "+cmd", "-2+3", "@x", " =1", "\t=1", "-2.5", "a=b", -1, None]
    chart = {"datasets": {"rows": [{"=name": value} for value in values]}}
    column, *cells = [row[0] if row else "" for row in csv.reader(io.StringIO(export.to_csv(chart)))]
    assert column == "'=name"
    assert cells == ["'=1+1", "'+cmd", "'-2+3", "'@x", "' =1", "'\t=1", "-2.5", "a=b", "-1", ""]


def test_names_of_files_are_plain():
    assert export.file_name("Soft labels", "test image 25") == "kd-explorer-soft-labels-test-image-25"
    assert export.file_name("../é\n%", "α") == "kd-explorer-e"
    assert len(export.file_name("a" * 500)) <= 100
