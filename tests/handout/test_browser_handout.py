"""The handout opened from the disk in a headless Chromium without a network."""

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from kdexplorer.analysis import metrics
from kdexplorer.datasets import get_dataset
from kdexplorer.handout import page
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.images.picture import Picture
from kdexplorer.runs.checkpoints import find_checkpoint
from tests.pages.test_browser_screens import check_themes
from tests.tab import Tab

NETWORKS = {name: find_checkpoint(name) for name in ("resnet56", "resnet20-scratch", "resnet20-response")}
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    """The path of a handout with three test images and a photo."""
    pictures = get_dataset("cifar10").pictures([3, 5, 8], NETWORKS["resnet56"].classes)
    photo = Picture(np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8), name="<b>me</b>.png")
    request = HandoutRequest(NETWORKS, [*pictures, photo], experiments=True, address="https://kd.example.org")
    path = tmp_path_factory.mktemp("handout") / "handout.html"
    path.write_text(page.build(request), encoding="utf-8")
    return path


DESKTOP, DARK_DESKTOP, PHONE = (1440, "light"), (1440, "dark"), (360, "dark")


def on(*screens):
    """The screens on which a test opens its tab."""
    return pytest.mark.parametrize("tab", screens, indirect=True, ids=str)


@pytest.fixture
def tab(request, chromium, handout):
    """A tab without a network, a desktop's unless `on` says otherwise; in the end nothing was requested or wrong."""
    width, theme = getattr(request, "param", DESKTOP)
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=theme, offline=True)
    tab = Tab(context)
    tab.page.on("console", lambda said: said.type == "warning" and tab.warnings.append(said.text))  # not Vega's alone
    tab.page.goto(handout.as_uri())
    tab.page.wait_for_selector("[data-chart=soft_labels] svg")
    yield tab.page
    context.close()
    assert [url for url in tab.requested if not url.startswith(("data:", "blob:"))] == [handout.as_uri()]
    assert not [*tab.errors, *tab.warnings]


def bars(tab):
    """Where the first chart's bars end."""
    return tab.locator("[data-chart=soft_labels] .mark-rect path").evaluate_all("x => x.map(e => e.getAttribute('d'))")


def test_numbers_agree_with_the_package_to_six_digits(tab):
    tab.locator("#numbers summary").click()
    before = bars(tab)
    for temperature in (0.5, 1.0, 4.0, 20.0):
        tab.locator(f"[data-temperature='{temperature:g}']").click()
        tab.wait_for_function(
            "T => document.querySelector('#numbers th')?.textContent === `T = ${T.toFixed(2)}`", arg=temperature
        )
        rows = [row.locator("th, td").all_inner_texts() for row in tab.locator("#numbers tr").all()]
        found = {line[0]: dict(zip(rows[0][1:], line[1:], strict=True)) for line in rows}
        for name, network in NETWORKS.items():
            teacher, logits = (one.logits()[3].astype(float) for one in (NETWORKS["resnet56"], network))
            soft = metrics.softmax(logits, temperature)
            for k, class_ in enumerate(network.classes):
                assert float(found[class_][name]) == pytest.approx(soft[k], abs=1e-6)
            assert float(found["entropy (nats)"][name]) == pytest.approx(metrics.entropy(soft), abs=1e-6)
            kl = metrics.kl_divergence(teacher[None], logits[None], temperature)
            assert float(found["KL from teacher"][name]) == pytest.approx(kl, abs=1e-6)
            assert float(found["T² · KL"][name]) == pytest.approx(temperature**2 * kl, abs=1e-5)
    assert bars(tab) != before


def wait_for_title(tab, chart, title):
    """Waits until a chart has this title, on however many lines."""
    tab.wait_for_function(
        "([chart, title]) => document.querySelector(`[data-chart=${chart}]`).textContent.replaceAll(' ', '')"
        ".includes(title.replaceAll(' ', ''))",
        arg=[chart, title],
    )


@on(PHONE)
def test_sliders_follow_keyboard_and_pointer(tab):
    tab.locator("#logT").focus()
    before = bars(tab)
    for _ in range(10):
        tab.keyboard.press("ArrowRight")
    assert tab.locator("#T").inner_text() == "T = 4.29"  # 2 ** 2.1
    tab.get_by_text("Soft labels at T = 4.29").wait_for()
    assert bars(tab) != before
    tab.locator("#alpha").scroll_into_view_if_needed()
    wait_for_title(tab, "gradient", "L = 0.90 · T² KL + 0.10 · CE at T = 4.29")  # as the student was trained
    tab.locator("#alpha").fill("0.25")
    wait_for_title(tab, "gradient", "L = 0.25 · T² KL + 0.75 · CE at T = 4.29")
    tab.locator("#opacity").scroll_into_view_if_needed()
    tab.locator("[data-chart=attention] image").first.wait_for()
    tab.locator("#opacity").fill("0.2")
    tab.wait_for_function(  # an expression would be evaluated as a string, which the page forbids
        "() => document.querySelectorAll('[data-chart=attention] image[opacity=\"0.2\"]').length === 9"
    )
    tab.locator("#beta").scroll_into_view_if_needed()
    wait_for_title(tab, "divergence", "Forward KL covers both modes")
    tab.locator("#beta").fill("1")
    wait_for_title(tab, "divergence", "Reverse KL seeks one mode")


def test_axe_finds_nothing_severe_and_every_stop_of_the_keyboard_has_a_name(tab):
    check_themes(tab, lambda _: tab.wait_for_timeout(300))
    assert tab.locator("[tabindex='0']").count()
    assert tab.locator("[tabindex='0']:not([role][aria-label])").count() == 0


def test_another_picture_and_another_student(tab):
    tab.locator("[name=picture]").nth(3).check(force=True)
    assert tab.locator("#caption").inner_text().startswith("<b>me</b>.png, reduced to 32 × 32 pixels")
    tab.locator("[data-chart=soft_labels]").get_by_text("This image has no hard label").wait_for()
    tab.locator("[name=student]").nth(1).check()
    tab.locator("#classes").scroll_into_view_if_needed()
    tab.locator("[data-by=student]").get_by_text("resnet20-response at T = 4.00").wait_for()


def save(tab, chart, kind):
    """The name and content of a chart's file."""
    with tab.expect_download() as found:
        tab.get_by_role("button", name=f"{kind} of the chart: {chart}", exact=True).click()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


@on(DARK_DESKTOP)
def test_charts_are_saved_as_they_are_shown(tab):
    tab.locator("[data-temperature='8']").click()
    tab.get_by_text("Soft labels at T = 8.00").wait_for()
    name, svg = save(tab, "soft labels", "SVG")
    assert name == "kd-explorer-soft-labels-test-image-3-airplane.svg"
    words = " ".join(ElementTree.fromstring(svg).itertext())
    assert "Soft labels at T = 8.00" in words
    assert "handout: resnet56 → resnet20-scratch, resnet20-response. Test image 3" in words
    rows = list(csv.DictReader(io.StringIO(save(tab, "soft labels", "CSV")[1].decode())))
    logits = {row["class"]: float(row["logit"]) for row in rows if row["network"] == "resnet56"}
    assert list(logits.values()) == pytest.approx(NETWORKS["resnet56"].logits()[3].tolist(), abs=1e-6)
    tab.locator("#opacity").scroll_into_view_if_needed()
    tab.locator("[data-chart=attention] image").first.wait_for()
    _, png = save(tab, "attention", "PNG")
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert (pixels[3, 3] == 255).all()  # in the dark theme, too
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 300  # the photo is part of it
    assert "data:" not in save(tab, "attention", "CSV")[1].decode()


@on(DESKTOP, PHONE)
def test_nothing_is_wider_than_the_screen(tab):
    tab.locator("#training").scroll_into_view_if_needed()
    tab.wait_for_timeout(1000)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.locator("math").count() == 4  # three general ones and one of the student's method


def test_paper_lays_out_four_temperatures_for_every_picture(tab):
    tab.pdf(print_background=True)  # causes the page's print layout
    sheets = tab.locator("#print .sheet")
    assert sheets.count() == 4
    for sheet in sheets.all():
        words = sheet.text_content()
        for temperature in ("1.00", "2.00", "4.00", "8.00"):
            assert f"Soft labels at T = {temperature}" in words
    tab.emulate_media(media="print")
    assert not tab.locator(".controls").is_visible()
    assert sheets.first.is_visible()
