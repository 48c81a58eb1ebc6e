"""How fast teacher and students classify in the page: Chromium's fake camera shows a clip that this script draws.

    python -m benchmarks.live --teacher resnet56 --students resnet20-scratch resnet20-response [--seconds 10]

For the teacher with its students, and for the students alone: images classified per second while the camera runs and
the temperature is dragged, the time of one image in the worker, and the page's frame times meanwhile. Then the same
loops without camera and worker on the page's main thread, at full speed and with the processor slowed down (Chromium
slows down no worker, so the camera's figures say nothing about a slow phone). Last, the size of the networks in a page.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.app import FAKE_CAMERA, browser
from kdexplorer import web
from kdexplorer.charts.style import role_of
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint

RATE = 120
"""Frames a second of the clip: more than any network classifies, so that the clip never limits the rate."""

PAGE = """<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none';
script-src 'unsafe-inline'; style-src 'unsafe-inline'; worker-src blob:"><title>live</title><style>{styles}</style>
<body><script>{script}; const settings = {settings}; const view = KDLive.mount(document.body, settings);</script>"""

DRAG = """async (seconds) => {
  const root = document.querySelector(".kd-live");
  const slider = root.querySelector(".kd-slider input");
  const [frames, each] = [[], []];
  const [from, begin] = [Number(root.dataset.pictures), performance.now()];
  let [before, seen] = [begin, from];
  while (performance.now() - begin < 1000 * seconds) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - before);
    before = now;
    slider.value = 2 + 2 * Math.sin(now / 300);
    slider.dispatchEvent(new Event("input"));
    if (Number(root.dataset.pictures) !== seen) each.push(Number(root.dataset.milliseconds));
    seen = Number(root.dataset.pictures);
  }
  return {rate: (1000 * (seen - from)) / (performance.now() - begin), each, frames};
}"""

ALONE = """async ([seconds, chosen]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const networks = settings.networks.slice(...chosen).map((n) => KDInfer.load(n.description, bytes(n.weights)));
  const rgba = new Uint8ClampedArray(4 * 480 * 480).map((_, i) => (i * 31) % 251);
  const look = () => {
    const pixels = KDInfer.shrink(rgba, 480, 480);
    networks.forEach((network) => KDInfer.run(network, pixels));
  };
  for (let i = 0; i < 20; i++) look();
  const begin = performance.now();
  let count = 0;
  for (; performance.now() - begin < 1000 * seconds; count++) look();
  return (1000 * count) / (performance.now() - begin);
}"""


def write_clip(path: Path, width: int = 640, height: int = 480, frames: int = 120) -> None:
    """A YUV4MPEG2 clip at `RATE`: the first test images, enlarged, moving past."""
    samples = get_dataset("cifar10").gallery().images
    large = [Image.fromarray(one.transpose(1, 2, 0)).resize((height, height)) for one in samples[:5]]
    strip = Image.new("YCbCr", (height * len(large) + width, height))
    for place, image in enumerate([*large, large[0], large[1]]):
        strip.paste(image.convert("YCbCr"), (place * height, 0))
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(frames):
            left = frame * height * len(large) // frames
            luma, *chroma = strip.crop((left, 0, left + width, height)).split()
            file.write(b"FRAME\n" + luma.tobytes())
            for plane in chroma:
                file.write(plane.resize((width // 2, height // 2), Image.Resampling.BOX).tobytes())


def page_of(networks: Sequence[Checkpoint]) -> str:
    """A page with these networks embedded, the teacher first."""
    described = [web.describe_network(one.name, role_of(one, networks[0]), web.export_network(one)) for one in networks]
    settings = json.dumps(web.build_settings(described, 4.0)).replace("<", "\\u003c")
    return PAGE.format(styles=web.read("live.css"), script=web.build_script(), settings=settings)


def row(name: str, found: dict[str, Any]) -> str:
    """A line of figures with the camera."""
    frames = sorted(found["frames"])
    each = found["each"] or [float("nan")]
    return (
        f"{name:<34} {found['rate']:6.1f} images/s  {statistics.median(each):6.1f} ms each   page's frames: "
        f"{statistics.median(frames):.1f} ms, 95th {frames[int(0.95 * (len(frames) - 1))]:.1f}, worst {frames[-1]:.1f}"
    )


def with_camera(page: Any, seconds: float, students: int) -> None:
    """The camera runs while the temperature is dragged."""
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".kd-live[data-pictures]").wait_for()
    page.wait_for_timeout(1000)
    print(row(f"camera, teacher and {students} students", page.evaluate(DRAG, seconds)))
    page.locator(".kd-predictions thead input").first.uncheck()
    page.wait_for_timeout(1000)
    print(row(f"camera, {students} students", page.evaluate(DRAG, seconds)))


def on_the_main_thread(page: Any, seconds: float, students: int) -> None:
    """Without camera and worker: what a processor as slow as the slowed one would do."""
    infer = web.read("infer.js")
    session = page.context.new_cdp_session(page)
    for throttle in (1, 4):
        session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
        for who, chosen in (("teacher and students", [0]), ("students", [1])):
            rate = page.evaluate(f"(given) => {{ {infer}; return ({ALONE})(given); }}", [seconds, chosen])
            print(f"{f'{who}, processor / {throttle}':<34} {rate:6.1f} images/s")


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet56")
    parser.add_argument("--students", nargs="+", default=["resnet20-scratch", "resnet20-response"])
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    networks = [find_checkpoint(name) for name in (options.teacher, *options.students)]
    html = page_of(networks)
    with tempfile.TemporaryDirectory() as folder:
        clip, file = Path(folder, "clip.y4m"), Path(folder, "live.html")
        write_clip(clip)
        file.write_text(html, encoding="utf-8")
        with browser(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={clip}") as chromium:
            for act in (with_camera, on_the_main_thread):
                page = chromium.new_page(viewport={"width": 1440, "height": 900})
                page.set_default_timeout(600_000)
                page.goto(file.as_uri())
                act(page, options.seconds, len(options.students))
                page.close()
    weights = sum(len(base64.b64encode(web.export_network(c).weights)) for c in networks)
    code = len(web.build_script()) + len(web.read("live.css"))
    print(f"\nin a page: {weights / 1e6:.2f} MB of weights as base64, {code / 1e3:.0f} kB of script and styles")


if __name__ == "__main__":
    main()
