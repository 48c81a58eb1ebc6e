"""What a page's script does with sliders and photos, in a browser without the application."""

import pytest

from kdexplorer import web

pytestmark = pytest.mark.browser

PAGE = """
<div class="vega-bindings"><input type="range" name="epoch" min="1" max="10" step="1" value="1"></div>
<div class="vega-bindings"><input type="range" name="epoch" min="5" max="10" step="5" value="5"></div>
<div class="st-key-photo_input"><div data-testid="stFileUploader"><input type="file"></div></div>
"""


@pytest.fixture
def page(chromium):
    page = chromium.new_page()
    page.set_content(PAGE)
    scripts = web.read("explain_refusal.js", "shrink_upload.js", "page_controls.js")
    scripts += "\nwindow.controls = { followEpoch, shrinkAndChoose, watchUploads };"
    page.add_script_tag(content=scripts, type="module")
    page.wait_for_function("window.controls")
    yield page
    page.close()


def test_a_slider_that_knows_fewer_epochs_does_not_move_the_others_back(page):
    move = """() => {
      const [moved, other] = document.querySelectorAll("[name=epoch]");
      document.addEventListener("input", ({ target }) => window.controls.followEpoch(target));
      return ["3", "10", "9"].map((value) => {
        moved.value = value;
        moved.dispatchEvent(new Event("input", { bubbles: true }));
        return [moved.value, other.value];
      });
    }"""
    assert page.evaluate(move) == [["3", "5"], ["10", "10"], ["9", "10"]]


@pytest.mark.parametrize("first", ["large.png", "refused.png"])
def test_of_two_photos_the_later_one_is_taken_whichever_is_read_sooner(page, first):
    give = """async (first) => {
      const input = document.querySelector("[type=file]"), taken = [];
      input.addEventListener("change", () => taken.push(input.files[0].name));
      let later;
      const wait = new Promise((done) => (later = done));
      window.createImageBitmap = async ({ name }) => {
        if (name === "second.png") return { width: 1, height: 1 };
        await wait;
        if (name === "refused.png") throw new Error();
        return { width: 1, height: 1 };
      };
      const file = (name) => new File(["x"], name, { type: name === "refused.png" ? "image/heic" : "image/png" });
      const slow = window.controls.shrinkAndChoose(input, file(first));
      await window.controls.shrinkAndChoose(input, file("second.png"));
      later();
      await slow;
      return [taken, document.querySelectorAll(".kd-refused").length, input.files.length];
    }"""
    assert page.evaluate(give, first) == [["second.png"], 0, 1]


def test_of_dropped_files_the_image_is_taken(page):
    drop = """async () => {
      window.controls.watchUploads();
      window.createImageBitmap = async ({ type }) => {
        if (type !== "image/png") throw new Error();
        return { width: 1, height: 1 };
      };
      const dataTransfer = new DataTransfer();
      for (const [name, type] of [["notes.pdf", "application/pdf"], ["photo.png", "image/png"]]) {
        dataTransfer.items.add(new File(["x"], name, { type }));
      }
      const options = { bubbles: true, composed: true, cancelable: true, dataTransfer };
      document.body.dispatchEvent(new DragEvent("drop", options));
      await new Promise((done) => setTimeout(done, 300));
      return [document.querySelector("[type=file]").files[0]?.name, document.querySelectorAll(".kd-refused").length];
    }"""
    assert page.evaluate(drop) == ["photo.png", 0]
