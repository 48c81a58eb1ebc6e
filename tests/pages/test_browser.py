"""The pages in a real headless Chromium: sliders that ask the server nothing, uploads, votes, and no other host."""

import re
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from benchmarks.app import running, settle
from kdexplorer.analysis.metrics import kl_divergence
from kdexplorer.app.audience import votes
from kdexplorer.app.compare import SECTIONS
from kdexplorer.app.soft_labels import TABS
from kdexplorer.images import decode
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.studies.experiments import all_experiments
from tests.images.image_files import encode
from tests.tab import DESKTOP, PHONE, PROJECTOR, SLOW, Tab, drag, give

pytestmark = pytest.mark.browser


def test_dragging_the_temperature_moves_the_bars_asks_the_server_once_it_rests_and_holds_on_other_pages(tab):
    tab.open("soft_labels?image=3&T=4")
    slider = tab.chart("Soft labels at T").locator("input[type=range]")
    slider.focus()
    sent = tab.sent
    drag(slider, *np.linspace(2, 1, 20).tolist())
    texts = tab.chart("Soft labels at T = 2.00").locator("text").all_text_contents()
    teacher, student = (find_checkpoint(name).logits()[3] for name in ("resnet56", "resnet20-response"))
    kl = kl_divergence(teacher[None], student[None], 2.0)
    assert f"{kl:.3f}" in texts
    assert f"{4 * kl:.3f}" in texts
    tab.page.wait_for_url(re.compile("T=2(&|$)"))
    tab.settle()
    assert tab.sent == sent + 1
    assert slider.evaluate("slider => slider === document.activeElement")  # the chart was not drawn again
    tab.page.get_by_role("button", name="Next").click()
    tab.page.get_by_text("Test image 4:").wait_for()
    tab.chart("Soft labels at T = 2.00")
    tab.page.get_by_role("link", name="Live").first.click()
    tab.page.locator(".kd-slider output", has_text="T = 2.00").wait_for()
    drag(tab.page.locator(".kd-slider input").first, 3)
    tab.page.wait_for_url(re.compile("T=8(&|$)"))
    tab.page.get_by_role("link", name="Soft labels").first.click()
    tab.chart("Soft labels at T = 8.00")
    tab.page.get_by_text("Test image 4:").wait_for()
    assert "image=4" in tab.page.url


def test_the_gradient_follows_both_sliders(tab):
    tab.open("soft_labels?image=3&T=4&alpha=0.7")
    first, second = tab.chart("their sum").locator("input[type=range]").all()
    drag(second, 0)
    drag(first, 0)
    assert "teacher 0.00" in tab.chart("L = 0.00 · T² KL + 1.00 · CE at T = 1.00").inner_text()


def test_keys_change_picture_and_temperature_and_the_slider_is_the_first_stop(tab):
    tab.open("soft_labels?image=3&T=4")
    slider = tab.chart("Soft labels at T").get_by_role("slider", name="Temperature T")
    assert slider.get_attribute("aria-valuetext") == "T = 4.00"
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    assert slider.evaluate("slider => slider === document.activeElement")
    tab.page.keyboard.press("+")
    tab.chart("Soft labels at T = 4.76")  # 2 ** 2.25
    tab.page.keyboard.press("ArrowLeft")  # the slider's own key
    assert slider.get_attribute("aria-valuetext") == "T = 4.72"
    slider.evaluate("slider => slider.blur()")
    tab.page.keyboard.press("ArrowRight")  # before the slider rests
    tab.page.get_by_text("Test image 4:").wait_for()
    tab.settle()
    tab.page.keyboard.press("?")
    tab.page.get_by_role("dialog", name="Keys").wait_for()
    tab.page.keyboard.press("ArrowRight")  # not while the list is open
    tab.page.keyboard.press("Escape")
    tab.page.get_by_text("Test image 4:").wait_for()
    tab.page.wait_for_url(re.compile(r"image=4&T=4\.72"))
    assert slider.get_attribute("aria-valuetext") == "T = 4.72"  # what was moved holds for the next picture


def test_every_quick_press_counts_and_back_leaves_a_page_with_one(tab):
    own = "tab=Logits&teacher=resnet20-combined"
    tab.open(f"soft_labels?image=3&T=8&{own}").page.get_by_role("link", name="Methods").first.click()
    tab.page.wait_for_url(re.compile("/methods.*image=3"))
    tab.settle().page.go_back()
    tab.page.wait_for_url(re.compile("/soft_labels.*image=3.*tab=Logits"))
    tab.settle().page.locator(".st-key-networks_line").get_by_text("resnet20-combined").wait_for()
    tab.page.locator("h1").click()
    for _ in range(8):
        tab.page.keyboard.press("ArrowRight")
    tab.page.get_by_text("Test image 11:").wait_for()


STATES = [
    *(f"soft_labels?tab={tab}" for tab in TABS),
    *("attention?stage=all", "attention?colors=difference", "launch?customize=true", "methods?method=at"),
    *(f"compare?show={section}" for section in SECTIONS),
    *(f"experiments?experiment={experiment.key}" for experiment in all_experiments()),
]
"""Main states of pages, beside those in which the other tests open them."""


def test_no_page_logs_an_error_in_any_main_state(tab):
    for state in STATES:
        tab.open(state.replace(" ", "+")).check()
        assert not tab.warnings, (state, tab.warnings)


def choose(tab, file):
    tab.page.locator("input[type=file]").set_input_files(file)


def drop(tab, file):
    give(tab.page.locator("[data-testid=stFileUploaderDropzone]"), file.name, file.read_bytes())


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_photo_is_taken_anywhere_on_a_page_with_a_picture(tab, way):
    place = tab.open("soft_labels").page.locator("h1")
    give(place, "photo.png", encode(Image.new("RGB", (60, 40), (200, 60, 40))), way)
    tab.page.get_by_alt_text("Your photo", exact=True).wait_for()


@pytest.mark.parametrize(
    ("hand", "name", "side"), [(drop, "still_large_as_jpeg.png", 2048), (choose, "moving.gif", 99)]
)
def test_a_photo_that_the_server_would_refuse_is_made_smaller_in_the_browser(tab, tmp_path, name, side, hand):
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    picture = Image.fromarray(noise // 128 * 240 + noise % 16)  # mostly black and white, which hardly compresses
    picture.save(tmp_path / name, compress_level=1)
    picture.save(tmp_path / "as.jpg", quality=95)
    assert name.endswith("gif") or (tmp_path / name).stat().st_size > decode.MAX_BYTES
    assert ((tmp_path / "as.jpg").stat().st_size > decode.MAX_BYTES) == name.startswith("still")
    tab.open("soft_labels")
    (tmp_path / "photo.heic").write_bytes(b"no image")
    refusal = tab.page.get_by_role("alert").filter(has_text="Save it as JPEG")
    for show_another in (tab.page.locator(".st-key-pick_Next button").first.click, lambda: hand(tab, tmp_path / name)):
        hand(tab, tmp_path / "photo.heic")
        refusal.wait_for()
        show_another()
        refusal.wait_for(state="detached")
    tab.page.get_by_alt_text("Your photo", exact=True).wait_for()


def test_a_refused_photo_and_the_soft_label_of_a_camera_picture(tab, tmp_path):
    tab.open("soft_labels")
    tab.page.get_by_role("button", name="Source").click()
    tab.page.get_by_text("Upload a photo", exact=True).click()
    sources = tab.page.get_by_test_id("stPopoverBody")
    (tmp_path / "photo.png").write_bytes(b"no image")
    sources.locator("input[type=file]").set_input_files(tmp_path / "photo.png")
    sources.get_by_role("alert").filter(has_text="not a readable").wait_for()
    tab.page.get_by_text("Camera", exact=True).click()
    tab.page.wait_for_function("document.querySelector('video')?.videoWidth > 0")  # the camera's first frame
    tab.page.get_by_role("button", name="Take Photo").click()
    tab.page.get_by_alt_text("Your photo", exact=True).wait_for()
    tab.page.get_by_text("no hard label").first.wait_for()
    tab.page.get_by_role("button", name="Take Photo").wait_for(state="hidden")  # the popover has closed


def test_attention_overlay_and_its_opacity(tab):
    tab.open("attention?image=3&stage=all")
    chart = tab.chart("stage 1")
    pictures = chart.locator("image")
    stages = 3
    networks = chart.inner_text().count("resnet")
    own = 2 * stages * networks  # the photo, and a map over it
    assert pictures.count() == own
    assert all(picture.get_attribute("href").startswith("data:image/png") for picture in pictures.all())
    sent = tab.sent
    drag(chart.locator("input[name=opacity]"), 0.25)
    chart.locator("image[opacity='0.25']").nth(stages * networks - 1).wait_for()
    tab.settle()
    assert chart.locator("image[opacity='0.25']").count() == stages * networks
    assert pictures.count() == own
    drag(chart.locator("input[name=wipe]"), 0.5)  # the teacher's map comes from the left
    pictures.nth(own + stages * (networks - 1) - 1).wait_for()
    drag(chart.locator("input[name=wipe]"), 0)
    pictures.nth(own).wait_for(state="detached")
    box = pictures.nth(own - 2).bounding_box()
    tab.page.mouse.move(box["x"] + 5, box["y"] + 5)
    tab.page.mouse.down()  # as long as a student's map is pressed
    pictures.nth(own + stages - 1).wait_for()
    tab.page.mouse.up()
    pictures.nth(own).wait_for(state="detached")
    assert tab.sent == sent


def test_the_link_of_a_page_is_copied_and_is_a_qr_code(tab):
    tab.open("soft_labels?image=3&T=8")
    tab.page.get_by_role("button", name="Share").click()
    tab.page.get_by_alt_text("QR code of this page's link").wait_for()
    copied = tab.page.get_by_role("button", name="Copied")
    for _ in range(60):  # a button is there before its script
        tab.page.get_by_role("button", name=re.compile("Copy link|Copied")).first.click()
        tab.page.wait_for_timeout(300)
        if copied.count():
            break
    assert copied.count()


@pytest.mark.usefixtures("app_runs")
def test_a_vote_from_a_phone_without_scripts_reaches_every_projector(chromium, tab, app):
    small = chromium.new_context(viewport={"width": 360, "height": 640}, java_script_enabled=False)
    small.set_default_timeout(SLOW)
    other, phone, context = tab.open("audience"), small.new_page(), chromium.new_context(reduced_motion="reduce")
    tab = Tab(context, app).resize(DESKTOP).open("audience?ask=3,5")
    tab.page.get_by_role("button", name="Next question").click()
    tab.page.get_by_alt_text("The picture of the question").wait_for()
    phone.goto(f"{tab.url}/vote")
    assert phone.get_by_role("button").count() == 10, phone.content()
    phone.get_by_role("button", name="ship").click()
    phone.get_by_text("Counted: ship.").wait_for()
    tab.page.get_by_text("1 vote ·").wait_for()
    other.page.get_by_text("1 vote ·").wait_for()
    tab.page.get_by_text("Show the label and the teacher").click()
    drag(tab.chart("teacher, KL").locator("input[type=range]"), 3)
    tab.chart("at T = 8.00")
    phone.get_by_role("button", name="bird").click()
    phone.get_by_text("Counted: bird.").wait_for()
    tab.chart("100%").locator("[aria-label*='class: bird'][aria-label*='share: 1.000']").wait_for()
    tab.chart("at T = 8.00")  # the slider stays where it is when a vote arrives
    tab.page.get_by_role("button", name="Delete all questions").click()  # stays open when the question is closed
    other.page.get_by_role("button", name="Close and reveal").click()
    other.page.get_by_text("1 vote · closed").wait_for()
    tab.page.get_by_text("1 vote · closed").wait_for()
    tab.settle().page.get_by_role("button", name="Yes, delete").click()
    tab.page.get_by_text("No question yet").wait_for()
    tab.check()
    for one in (context, small):
        one.close()


SIZES = """() => [...document.querySelectorAll(".st-key-projector p, h1, .st-key-projector svg text")]
  .filter((one) => one.textContent.trim() && one.getClientRects().length && !one.closest("button"))
  .map((one) => [one.textContent.replaceAll("\u2060", ""), parseFloat(getComputedStyle(one).fontSize),
    one.getBoundingClientRect().bottom])"""


@pytest.mark.usefixtures("app_runs")
@pytest.mark.parametrize("restarted", [False, pytest.param(True, marks=pytest.mark.reliability)])
def test_the_projector_view_is_read_from_the_back_and_outlives_the_server(chromium, app, tmp_path, restarted):
    """Restarted, the server ends in the middle of a question; nothing but its address stays the same."""
    context = chromium.new_context(viewport=dict(zip(("width", "height"), PROJECTOR, strict=True)))
    context.set_default_timeout(SLOW)
    room, phone = context.new_page(), context.new_page()
    phone.set_viewport_size(dict(zip(("width", "height"), PHONE, strict=True)))
    others = [chromium.new_context() for _ in range(votes.FEW - 1)]

    def choose(page, name):
        page.get_by_role("button", name=name).click()
        page.get_by_text(f"Counted: {name}.").wait_for()

    def show(votes, *words):
        room.goto(f"{url}/audience?ask=3,5&view=projector")
        room.get_by_text(votes).wait_for()
        settle(room)
        found = room.evaluate(SIZES)
        assert {*words, "What is it?"} <= {text.partition(", KL ")[0] for text, _, _ in found}
        assert min(size for _, size, _ in found) >= 28
        assert max(bottom for _, _, bottom in found) <= PROJECTOR[1]

    with running(tmp_path) if restarted else nullcontext(app) as url:
        room.goto(f"{url}/audience?ask=3,5")  # a deep link to a server that nobody has visited
        room.get_by_role("link", name="Attention").first.wait_for()
        assert room.title() == "Audience – KD Explorer"
        room.get_by_role("button", name="Projector view").click()
        room.get_by_role("button", name="Leave projector view").wait_for()
        settle(room)  # a second press within a few milliseconds would still send the address of before
        room.get_by_role("button", name="Next question").click()
        assert room.get_by_alt_text("The picture of the question").bounding_box()["width"] >= 350
        code = room.get_by_alt_text("QR code of")
        assert code.bounding_box()["width"] >= 300
        phone.goto(f"{url}/vote")
        choose(phone, "ship")
        room.get_by_text("shown from 3 votes on").wait_for()
        assert code.bounding_box()["width"] >= 300
        for other in others:
            page = other.new_page()
            page.goto(f"{url}/vote")
            choose(page, "ship")
            other.close()
        show("3 votes · open", "ship", "100%", f"{url}/vote")
        assert 80 <= code.bounding_box()["width"] <= 120
    with running(tmp_path, int(url.rpartition(":")[2])) if restarted else nullcontext(app) as again:
        assert again == url
        choose(phone, "bird")
        show("3 votes · open", "bird", "33%", "67%")
        phone.goto(f"{url}/audience")
        phone.get_by_role("button", name="Close and reveal").click()
        room.get_by_text("3 votes · closed").wait_for()  # by itself
        show("3 votes · closed", "teacher")
    context.close()
