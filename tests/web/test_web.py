"""Networks in the browser compute what PyTorch computes, and photos become the same pixels: in Node and Chromium."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from kdexplorer import web
from kdexplorer.analysis.inference import predict_with_attention
from kdexplorer.app.parts.picture import TYPES
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.synthetic import draw_shapes
from kdexplorer.errors import CheckpointError
from kdexplorer.images import decode
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.web import export_network, runs_in_browser
from tests.images.image_files import encode
from tests.tab import shared

INFER = web.read("infer.js")
BUNDLED = {checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()}
BYTES = "const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));"

RUN = """(given) => {
  const network = KDInfer.load(given.description, bytes(given.weights));
  const pixels = bytes(given.pixels);
  return Array.from({length: given.count}, (_, i) => {
    const {logits, maps} = KDInfer.run(network, pixels.subarray(3072 * i, 3072 * (i + 1)));
    return {logits: [...logits], maps: maps.map((map) => [...map])};
  });
}"""
SHRINK = "(given) => [...KDInfer.shrink(bytes(given.rgba), given.width, given.height)]"


def in_node(function, given, script=INFER):
    """What a JavaScript function returns for JSON, in Node."""
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    program = f"{script};{BYTES} const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    program += f"process.stdout.write(JSON.stringify(({function})(given)));"
    done = subprocess.run(
        ["node", "-e", program], input=json.dumps(given), capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout)


@pytest.fixture(params=["node", pytest.param("chromium", marks=pytest.mark.browser)])
def engine(request):
    """`engine(function, given)` in Node or in Chromium."""
    if request.param == "node":
        return in_node
    page = shared.get("empty page", request.getfixturevalue("chromium").new_page)
    page.set_default_timeout(600_000)
    return lambda function, given: page.evaluate(f"(given) => {{ {INFER};{BYTES} return ({function})(given); }}", given)


def as_text(data):
    return base64.b64encode(data).decode()


def normalize(maps):
    """Each map `[H, W]` at unit norm, as attention transfer and the charts take it."""
    return maps / np.linalg.norm(maps.reshape(len(maps), -1), axis=1)[:, None, None]


def check(engine, checkpoint, pixels):
    """Logits and the maps of each stage are what PyTorch computes."""
    exported = export_network(checkpoint)
    given = {"description": json.loads(json.dumps(exported.description)), "weights": as_text(exported.weights)}
    given |= {"pixels": as_text(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).tobytes()), "count": len(pixels)}
    found = engine(RUN, given)
    logits = np.array([one["logits"] for one in found])
    expected, by_power = predict_with_attention(checkpoint.network(), pixels, checkpoint.card.normalization)
    assert np.abs(logits - expected).max() < 2e-3
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()
    for stage, theirs in zip(zip(*(one["maps"] for one in found), strict=True), by_power[1], strict=True):
        ours = np.array(stage).reshape(theirs.shape)
        assert np.abs(ours - theirs).max() < 1e-3
        assert np.abs(normalize(ours) - normalize(theirs)).max() < 1e-3
    assert np.ptp(expected.argmax(axis=1)) > 0  # not one constant prediction


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet8-response", 16), ("resnet20-feature", 8), ("resnet56", 8), ("air_16-response", 12), ("air_64", 4)],
)
def test_the_page_computes_what_pytorch_computes_on_the_same_weights(engine, name, count):
    check(engine, BUNDLED[name], get_dataset("cifar10").gallery().images[:count])


@pytest.mark.reliability
@pytest.mark.parametrize("name", [name for name, network in BUNDLED.items() if runs_in_browser(network)])
def test_every_network_that_runs_in_a_page_agrees_with_pytorch_on_hundreds_of_images(engine, name, reliability):
    pixels = np.concatenate([get_dataset("cifar10").gallery().images, draw_shapes(180, seed=1).images])
    check(engine, BUNDLED[name], pixels)
    reliability["images classified in JavaScript as in PyTorch"] += len(pixels)


def test_truncated_weights_and_large_networks_are_refused(make_checkpoint, tmp_path):
    exported = export_network(make_checkpoint(tmp_path / "r8"))
    load = """(given) => {
      try { KDInfer.load(given.description, bytes(given.weights)); } catch (error) { return error.message; }
      return "loaded";
    }"""
    given = {"description": exported.description, "weights": as_text(exported.weights)}
    assert in_node(load, given) == "loaded"
    assert "r8: its weights are truncated" in in_node(load, given | {"weights": as_text(exported.weights[:-2])})
    with pytest.raises(CheckpointError, match=r"wrn_16_2: .* only resnet8"):
        export_network(make_checkpoint(tmp_path / "wide", "wrn_16_2"))


@pytest.mark.parametrize("size", [(640, 480), (451, 300), (97, 203), (33, 40), (32, 32), (31, 20), (1, 7)])
def test_a_photo_becomes_the_same_pixels_as_in_an_upload(engine, size):
    photo = Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png").convert("RGB")
    photo = photo.resize(size, Image.Resampling.BICUBIC)
    given = {"rgba": as_text(photo.convert("RGBA").tobytes()), "width": size[0], "height": size[1]}
    ours = np.array(engine(SHRINK, given)).reshape(32, 32, 3)
    assert np.abs(ours - decode.decode_image(encode(photo)).astype(int)).max() <= 2


def test_a_photo_is_sent_as_it_is_under_the_names_that_the_page_accepts_and_else_converted():
    names = [*(f"photo.{ending}" for ending in TYPES), "PHOTO.JPG", "photo.jfif", "photo", "jpg"]
    given = [{"name": name, "type": "image/jpeg", "size": 1000} for name in names]
    accepted = in_node("(given) => given.map(isAccepted)", given, web.read("shrink_upload.js"))
    assert accepted == [*[True] * len(TYPES), True, False, False, False]
