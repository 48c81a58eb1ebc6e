"""The live view in Chromium: images and a fake camera, what it says without one, and that nothing is sent."""

import base64
import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.app import CHROMIUM, FLAGS, settle
from benchmarks.live import page_of
from kdexplorer.analysis.inference import predict_with_attention
from kdexplorer.analysis.metrics import entropy, softmax
from kdexplorer.app import live
from kdexplorer.app.parts import downloads
from kdexplorer.app.server.turns import Visitor
from kdexplorer.app.state import cached
from kdexplorer.errors import ImageError
from kdexplorer.handout import page
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.images import decode
from kdexplorer.images.picture import Picture, enlarge_png
from kdexplorer.presets import PRESETS
from kdexplorer.runs.checkpoints import bundled_root, open_checkpoint
from kdexplorer.web import export_network
from tests.images.image_files import encode, photo
from tests.pages.reading import PHOTO, link_labels, open_popover, turn_to
from tests.tab import DESKTOP, Tab, drag, give


@contextlib.contextmanager
def open_tab(chromium):
    """A tab; at its end no script must have failed."""
    tab = Tab(chromium.new_context()).resize(DESKTOP)
    tab.page.requested = tab.requested
    yield tab.page
    tab.page.context.close()
    assert not tab.errors


@pytest.fixture(scope="module")
def family(make_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    return [
        make_checkpoint(folder / "teacher", "resnet20", 1),
        make_checkpoint(folder / "baseline", "resnet8", 2),
        make_checkpoint(folder / "distilled", "resnet8", 3, objective=PRESETS["response"]),
    ]


@pytest.fixture(scope="module")
def html(family, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "live.html"
    file.write_text(page_of(family), encoding="utf-8")
    return file


@pytest.fixture
def camera(chromium):
    """A tab whose camera shows a clip."""
    with open_tab(chromium) as tab:
        yield tab


@pytest.fixture
def opened(camera, html):
    camera.goto(html.as_uri())
    camera.get_by_text("Drop an image here").wait_for()
    return camera


def choose(place, data, name="noise.png", kind="image/png"):
    """Chooses a file in a part of the page."""
    place.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": data})


def wait_for_predictions(tab, count=1):
    tab.wait_for_timeout(50)
    tab.locator(f'.kd-live[data-pictures="{count}"]').wait_for()


def pixels_of(canvas):
    """What is drawn on a canvas, RGBA `[32, 32, 4]`."""
    data = canvas.evaluate("(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 32, 32).data]")
    return np.array(data).reshape(32, 32, 4)


def input_of(tab):
    """The networks' input, the 32 x 32 pixels on the page."""
    return pixels_of(tab.locator(".kd-input canvas"))[..., :3]


def cells(tab, name):
    """A row of the table."""
    row = tab.locator(".kd-predictions tr").filter(has=tab.get_by_role("rowheader", name=name, exact=True))
    return row.locator("td").all_inner_texts()


def check_predictions(tab, family, temperature):
    """The table contains what the package computes of the input."""
    image = input_of(tab).astype(np.uint8).transpose(2, 0, 1)[None]
    outputs = [predict_with_attention(c.network(), image, c.card.normalization) for c in family]
    soft = [softmax(logits[0], temperature) for logits, _ in outputs]
    nats = [entropy(p) for p in soft]
    kl = np.array([(soft[0] * np.log(soft[0] / q)).sum() for q in soft[1:]])

    def numbers(name, first=0):
        return [float(text.split()[-1]) for text in cells(tab, name)[first:]]

    assert cells(tab, "prediction") == [family[0].classes[p.argmax()] for p in soft]
    assert numbers("entropy (nats)") == pytest.approx(nats, abs=6e-3)
    assert numbers("effective classes") == pytest.approx(np.exp(nats), abs=6e-3)
    assert numbers("KL from teacher", 1) == pytest.approx(kl, abs=6e-4)
    assert numbers("T² · KL", 1) == pytest.approx(temperature**2 * kl, abs=6e-4)
    for stage in range(3):
        maps = [by_power[1][stage].ravel() for _, by_power in outputs]
        correlations = [np.corrcoef(one, maps[0])[0, 1] for one in maps[1:]]
        assert numbers(f"stage {stage + 1}", 1) == pytest.approx(correlations, abs=6e-3)


def set_slider(tab, name, value):
    drag(tab.locator("label.kd-slider", has_text=name).locator("input"), value)


class TestInAPage:
    pytestmark = pytest.mark.browser

    @pytest.mark.parametrize(("kind", "size"), [("JPEG", (1300, 900)), ("GIF", (99, 99))])
    def test_another_kind_of_file_gives_the_pixels_of_an_upload(self, opened, kind, size):
        data = encode(photo(*size), kind)
        choose(opened, data, f"w.{kind.lower()}", f"image/{kind.lower()}")
        wait_for_predictions(opened)
        if kind == "GIF":  # no upload; its first frame is one
            data = encode(Image.open(io.BytesIO(data)).convert("RGB"))
        assert np.abs(input_of(opened) - decode.decode_image(data)).max() <= 2

    @pytest.mark.parametrize("way", ["drop", "paste"])
    def test_images_are_dropped_and_pasted(self, opened, way):
        give(opened.locator(".kd-photo"), "noise.png", PHOTO, way)
        wait_for_predictions(opened)
        assert np.abs(input_of(opened) - decode.decode_image(PHOTO)).max() <= 2

    def test_a_file_that_is_no_image_is_explained(self, opened):
        choose(opened, b"GIF89a nothing", "<b>.png")
        opened.get_by_text("<b>.png cannot be read as an image. Choose a PNG, JPEG or WebP file.").wait_for()
        choose(opened, b"no image", "me.heic", "image/heic")
        opened.get_by_text("Save it as JPEG").wait_for()
        assert opened.locator(".kd-live[data-pictures]").count() == 0

    def test_maps_of_any_side_cover_the_picture_as_far_as_they_are_opaque(self, camera, make_checkpoint, tmp_path):
        """AirNets' stages have 15, 7 and 3 pixels a side."""
        networks = [make_checkpoint(tmp_path / name, "air_16", seed) for seed, name in enumerate("ab")]
        (tmp_path / "live.html").write_text(page_of(networks), encoding="utf-8")
        camera.goto((tmp_path / "live.html").as_uri())
        choose(camera, PHOTO)
        wait_for_predictions(camera)
        overlays = camera.locator(".kd-maps canvas").all()
        set_slider(camera, "Opacity", 0)
        assert all((pixels_of(overlay)[..., :3] == input_of(camera)).all() for overlay in overlays)
        set_slider(camera, "Opacity", 1)
        for drawn in map(pixels_of, overlays):
            assert drawn[..., 3].all()
            assert len(np.unique(drawn.reshape(-1, 4), axis=0)) > 4
            assert np.abs(drawn[..., :3] - input_of(camera)).mean() > 20

    def test_a_camera_that_is_asked_for_twice_is_off_after_one_stop(self, opened):
        opened.evaluate(
            """() => {
              const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
              window.streams = [];
              navigator.mediaDevices.getUserMedia = async (what) => {
                const stream = await ask(what);
                window.streams.push(stream);
                await new Promise((resolve) => setTimeout(resolve, 500));
                return stream;
              };
              const button = document.querySelector("button.kd-primary");
              button.click();
              button.click();
            }"""
        )
        opened.get_by_text("images per second").wait_for()
        opened.get_by_role("button", name="Stop the camera").click()
        live = "() => window.streams.flatMap((one) => one.getTracks()).map((one) => one.readyState)"
        assert opened.evaluate(live) == ["ended", "ended"]
        opened.get_by_role("button", name="Start the camera").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("flags", "address", "sentence"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], None, "Camera access was denied"),
        pytest.param([], "http://live.test/", "Browsers open the camera only on https pages", marks=pytest.mark.slow),
    ],
    ids=["refused", "insecure"],
)
def test_without_a_camera_the_view_says_so_and_files_still_work(chromium, html, flags, address, sentence):
    another = chromium.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
    with contextlib.closing(another), open_tab(another) as tab:
        if address:
            tab.route(address, lambda route: route.fulfill(path=html, content_type="text/html"))
        tab.goto(address or html.as_uri())
        tab.get_by_text("Drop an image here").wait_for()
        tab.get_by_role("button", name="Start the camera").click()
        tab.get_by_text(sentence).wait_for()
        assert tab.get_by_role("button", name="Start the camera").is_enabled()
        choose(tab, PHOTO)
        wait_for_predictions(tab)


@pytest.mark.browser
def test_your_own_image_gets_predictions_in_a_handout(camera, family, tmp_path):
    picture = Picture(np.zeros((3, 32, 32), np.uint8), name="dark.png")
    request = HandoutRequest({c.name: c for c in family}, [picture], live=True)
    (tmp_path / "handout.html").write_text(page.build(request), encoding="utf-8")
    camera.goto((tmp_path / "handout.html").as_uri())
    camera.requested.clear()
    camera.locator("#own-image").scroll_into_view_if_needed()
    camera.get_by_text("This is a sample (dark.png").wait_for()
    wait_for_predictions(camera)
    assert not input_of(camera).any()
    check_predictions(camera, family, 4.0)
    choose(camera.locator("#own-image"), PHOTO)
    wait_for_predictions(camera, 2)
    assert camera.get_by_text("This is a sample").count() == 0
    assert camera.locator(".kd-slider", has_text="Temperature").count() == 0  # the page has one
    camera.locator("[data-temperature='1']").click()
    check_predictions(camera, family, 1.0)
    assert [url for url in camera.requested if not url.startswith("blob:")] == []


class TestInTheApplication:
    pytestmark = pytest.mark.browser

    def test_the_frozen_frame_is_saved_and_passed_to_the_other_pages_and_nothing_else_is_sent(self, camera, app):
        sent = []
        camera.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append(1)))
        camera.goto(f"{app}/live?students=resnet8-scratch&students=resnet8-response", wait_until="domcontentloaded")
        settle(camera)
        camera.get_by_text("Drop an image here").wait_for()
        assert len([one for one in camera.requested if one.endswith(".bin")]) == 3
        camera.requested.clear()
        sent.clear()
        camera.get_by_role("button", name="Start the camera").click()
        camera.get_by_text("images per second").wait_for()
        camera.locator(".kd-predictions thead input").first.uncheck()  # only the students
        camera.get_by_role("button", name="Freeze").click()
        camera.wait_for_timeout(700)
        count = camera.locator(".kd-live").get_attribute("data-pictures")
        assert int(count) > 2
        assert cells(camera, "prediction")[0] == "–"
        camera.wait_for_timeout(700)
        assert camera.locator(".kd-live").get_attribute("data-pictures") == count
        with camera.expect_download() as download:
            camera.get_by_role("button", name="Save as PNG").click()
        saved = np.asarray(Image.open(download.value.path()).convert("RGB"))
        assert saved.shape[1] > 1000
        assert len(np.unique(saved.reshape(-1, 3), axis=0)) > 1000  # pictures and bars, not an empty sheet
        assert not sent
        assert [one for one in camera.requested if not one.startswith("blob:")] == []
        set_slider(camera, "Temperature", 1)
        camera.wait_for_timeout(700)
        assert len(sent) <= 1  # the temperature, for the other pages
        assert "T = 2.00" in camera.locator("label.kd-slider", has_text="Temperature").inner_text()
        pixels = input_of(camera)
        camera.get_by_role("button", name="Use this picture").click()
        camera.get_by_role("link", name="Its soft labels").click()
        camera.get_by_text("Your photo, and as the networks see it").wait_for()
        settle(camera)
        shown = camera.locator("[data-testid=stImage] img").first.evaluate(
            """async (image) => {
              const canvas = Object.assign(document.createElement("canvas"), {width: 32, height: 32});
              const context = canvas.getContext("2d");
              context.imageSmoothingEnabled = false;
              context.drawImage(image, 0, 0, 32, 32);
              return [...context.getImageData(0, 0, 32, 32).data];
            }"""
        )
        assert np.abs(np.array(shown).reshape(32, 32, 4)[..., :3] - pixels).mean() < 8  # a JPEG of it
        camera.get_by_role("link", name="Live").first.click()
        camera.get_by_text("Drop an image here").wait_for()
        assert not [one for one in camera.requested if one.endswith(".bin")]  # weights are fetched once


class TestWithoutABrowser:
    @pytest.fixture(autouse=True)
    def networks(self, own, make_checkpoint):
        make_checkpoint(own / "small", "resnet20", 1)
        for seed in range(4):
            make_checkpoint(own / f"s{seed}", "resnet8", seed)
        make_checkpoint(own / "wide", "wrn_16_2", 3)

    def test_a_network_that_is_too_large_is_named_and_the_page_goes_on(self, open_page):
        at = open_page("live", teacher="small", students="s0,wide")
        assert "Not shown: wide." in at.caption[0].value
        assert "Not shown: s3." in open_page("live", teacher="small", students="s0,s1,s2,s3").caption[0].value
        assert not at.error
        assert "does not run" in open_page("live", teacher="wide").info[0].value

    def test_the_handouts_switch_says_how_large_the_networks_are(self, open_page):
        at = open_popover(open_page("soft_labels", teacher="small", students="s0,s1,wide"), "handout_offer")
        known = {name: open_checkpoint(bundled_root() / name) for name in ("small", "s0", "s1")}
        written = sum(len(base64.b64encode(export_network(c).weights)) for c in known.values())
        offer = at.toggle(key="handout_live")
        assert f"(+ {written / 1e6:.1f} MB)" in offer.label
        assert not offer.value
        wide = open_page("soft_labels", teacher="wide", students="s0")  # a teacher that no page can run
        open_popover(wide, "handout_offer")
        assert "handout_live" not in [toggle.key for toggle in wide.toggle]

    def test_a_handout_with_networks_or_another_picture_is_another_file(self, monkeypatch):
        monkeypatch.setattr(page, "bundle_library", lambda: "window.vegaEmbed = null;")
        small = cached.all_networks()["small"]
        one, other = (Picture(np.full((3, 32, 32), 77 * n, np.uint8), name="a photo") for n in range(2))
        requests = (
            HandoutRequest({"small": small}, [picture], live=live) for picture, live in [(one, 0), (one, 1), (other, 0)]
        )
        weights = base64.b64encode(export_network(small).weights).decode()
        files = [downloads.build_handout(request, Visitor()).decode() for request in requests]
        assert [weights in file for file in files] == [False, True, False]
        assert [other.data_url in file for file in files] == [False, False, True]

    def test_a_picture_of_the_live_view_is_shown_to_nobody_else(self, monkeypatch, open_page):
        sent = live.PREFIX + base64.b64encode(enlarge_png(np.full((32, 32, 3), 77, np.uint8), 32)).decode()
        monkeypatch.setattr(live, "_view", lambda **_: SimpleNamespace(picture=sent))

        def captions(at):
            return " ".join(caption.value for caption in turn_to(at, "soft_labels").caption)

        owner = open_page("live", teacher="small", students="s0")
        assert len(link_labels(owner)) == 2
        assert "now show this picture" in owner.success[0].value
        assert "Your photo, and as the networks see it" in captions(owner)
        monkeypatch.setattr(live, "_view", lambda **_: SimpleNamespace(picture=None))
        assert "Your photo" not in captions(open_page("live", **{k: v[0] for k, v in owner.query_params.items()}))


def test_only_the_views_own_pictures_are_taken():
    for picture in (3, "data:text/html,hello", live.PREFIX + "%%%"):
        with pytest.raises(ImageError, match="not a picture from the live view"):
            live._decode(picture)
