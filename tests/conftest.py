"""What several test modules share: a runs folder of their own, tiny data, tiny networks.

torch is imported where it is used: the process that only hands tests out to others need not load it.
"""

import functools
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.app import CHROMIUM, FAKE_CAMERA, ROOT, browser, running
from kdexplorer.analysis.results import evaluation_labels
from kdexplorer.datasets import get_dataset
from kdexplorer.networks import build
from kdexplorer.processes import limit_thread_spinning
from kdexplorer.runs.card import Card
from kdexplorer.runs.checkpoints import bundled_checkpoints, save_checkpoint, to_half_precision
from tests.tab import DESKTOP, PHONE, Tab, shared

limit_thread_spinning()  # as the command line does: else two threads wait for one another in a loop
# Where no bytecode may be written, every one of a hundred processes would compile the whole package.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
GPUS = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is loaded: tests compare bits, which are the processor's


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Several processes for the whole default run; for chosen or marked tests one, which starts sooner and counts.

    One more than there are cores, up to four: tests in the browser wait a quarter of their time.
    """
    chosen = config.args_source is config.ArgsSource.ARGS or config.getoption("keyword")
    return 0 if chosen or "not slow" not in config.getoption("markexpr") else min(4, 1 + (os.cpu_count() or 1))


TOGETHER = {
    "the application": (
        "tests/pages/test_browser",
        "tests/app/test_load.py",
        "tests/web/test_live.py::TestInTheApplication",
    ),
    "a page in a file": ("tests/handout/test_browser_handout.py", "tests/web/test_live.py", "tests/web/test_web.py"),
    "the image decoder": ("tests/images/test_bounds.py",),
    "a run that nothing interrupts": ("tests/training/test_state.py",),
    "the wheel": ("tests/test_wheel.py",),
    "every chart": ("tests/charts/test_every_chart.py",),
}
"""What one process makes once for many tests, and where these begin; every other test goes where there is room."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests that share something costly go to one process, the rest one by one.

    xdist has `--dist loadgroup` for that, but 3.8 does not find the groups under pytest 9.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((what for what, where in TOGETHER.items() if nodeid.startswith(where)), nodeid)

    return Scheduling(config, log)


def pytest_sessionstart(session):
    """Where a browser is required, its absence is a failure, not a skip; and Node's, which runs the same script."""
    if os.environ.get("KDEXPLORER_REQUIRE_BROWSER") and (CHROMIUM is None or shutil.which("node") is None):
        pytest.exit("KDEXPLORER_REQUIRE_BROWSER is set and Chromium or Node is missing: install it", returncode=1)


_figures = Counter()


@pytest.fixture(scope="session")
def reliability():
    """What the README's reliability table counts: name to number, printed after `-m reliability`."""
    return _figures


def pytest_terminal_summary(terminalreporter, config):
    """The figures of `python -m pytest -m reliability`, and how many of its tests failed."""
    if "reliability" not in str(config.getoption("markexpr")).replace("not reliability", ""):
        return
    terminalreporter.section("reliability")
    failed = sum(len(terminalreporter.stats.get(kind, ())) for kind in ("failed", "error"))
    for name, figure in [*_figures.items(), ("tests that failed", failed)]:
        terminalreporter.line(f"| {name} | {figure:,} |")


REAL_DATA = {name: os.environ[name] for name in ("KDEXPLORER_DATA", "KDEXPLORER_CIFAR10H") if os.environ.get(name)}
"""Where the user has real data, which only tests that ask for `real_root` see."""


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory):
    """Tests see the same whatever the user's environment says, and wait for neither the disk nor shapes drawn again."""
    from kdexplorer.datasets import synthetic

    draw = functools.lru_cache(maxsize=64)(synthetic.draw_shapes)

    def draw_shapes(count, seed=0, progress=None):
        if progress:
            progress(count, count)
        return draw(count, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDEXPLORER_DATA", str(tmp_path_factory.mktemp("data")))  # no real data, not ./data either
        for name in ("KDEXPLORER_CIFAR10H", "KDEXPLORER_PRESENTER_TOKEN", "KDEXPLORER_CHECKPOINTS"):
            patch.delenv(name, raising=False)
        patch.setattr(os, "fsync", lambda _: None)  # nothing here outlives a power cut
        patch.setattr(synthetic, "draw_shapes", draw_shapes)
        yield


@pytest.fixture(autouse=True)
def runs_root(tmp_path_factory, monkeypatch):
    """No test writes into the user's runs, or reads what the test before has left among the data."""
    home = tmp_path_factory.mktemp("home")
    for name in ("runs", "data"):
        (home / name).mkdir()
        monkeypatch.setenv(f"KDEXPLORER_{name.upper()}", str(home / name))
    return home / "runs"


@pytest.fixture
def data_folder(runs_root):
    """Where the data of a test are searched: an empty folder of its own, in another one."""
    return runs_root.with_name("data")


@pytest.fixture(scope="session")
def anyio_backend():
    """What runs tests that are coroutines and marked as `anyio`: the event loop of the application."""
    return "asyncio"


@pytest.fixture
def command(capsys):
    """`command(*words, code=0)` runs a command, which ends with that code; returns what it printed, `out` and `err`."""
    from kdexplorer.cli.main import main

    def run(*words, code=0):
        capsys.readouterr()
        assert main(words) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def tiny(monkeypatch):
    """A synthetic set that is drawn in a tenth of a second."""
    sizes = get_dataset("synthetic").sizes
    monkeypatch.setitem(sizes, "train", 120)
    monkeypatch.setitem(sizes, "test", 60)


@pytest.fixture
def real_root(monkeypatch):
    """The folder that the user's KDEXPLORER_DATA names, where it contains CIFAR-10; the test sees that environment."""
    for name, value in REAL_DATA.items():
        monkeypatch.setenv(name, value)
    root = REAL_DATA.get("KDEXPLORER_DATA")
    if not root or not get_dataset("cifar10").is_available():
        pytest.skip("needs CIFAR-10: set KDEXPLORER_DATA to the folder that contains it")
    return Path(root)


LEG_FIELDS = ("run", "initial", "epochs", "seed", "history", "recipe")
"""What `make_checkpoint` puts into the card's one leg of training."""


@pytest.fixture(scope="session")
def make_checkpoint():
    """Writes a checkpoint with random weights: `make_checkpoint(path, architecture, seed, logits, **changes)`.

    `changes` are fields of the card, or of its one leg of training (`LEG_FIELDS`).
    """
    import torch

    from kdexplorer.networks import count_parameters

    @functools.cache
    def draw_weights(architecture: str, seed: int, classes: int):
        network = build(architecture, classes, seed=seed)
        with torch.no_grad():  # batch norm's statistics
            network(torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
        return to_half_precision(network), count_parameters(network)

    def make(path: Path, architecture: str = "resnet8", seed: int = 0, logits: np.ndarray | None = None, **changes):
        dataset = get_dataset("synthetic")
        weights, parameters = draw_weights(architecture, seed, len(changes.get("classes", dataset.classes)))
        leg = {name: changes.pop(name) for name in LEG_FIELDS if name in changes}
        card = {
            "name": path.name,
            "architecture": architecture,
            "parameters": parameters,
            "classes": dataset.classes,
            "normalization": dataset.normalization,
            "objective": {"ce_weight": 1.0},
            "data": {"dataset": "synthetic", "evaluation_split": "test", "evaluation_images": 120},
            "legs": [{"epochs": 1, **leg}] if leg else [],
            "test_accuracy": 0.1,
            "test_cross_entropy": 2.5,
        }
        return save_checkpoint(path, weights, Card.model_validate(card | changes), logits)

    return make


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An empty folder of bundled networks to fill, and beside it of tables."""
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    return tmp_path / "bundled"


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app(app_folder):
    """The URL of an application with the bundled networks and the sample images; each test leaves it as it was."""
    from kdexplorer.training.estimate import Estimate, store_estimate

    measured = Estimate(seconds=60, evaluation=1, epoch=5, images_per_second=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDEXPLORER_RUNS", str(app_folder / "runs"))
        store_estimate(measured)  # else the first visitor of Launch has the machine measured
    with running(app_folder, OMP_NUM_THREADS="1") as url:
        yield url
    log = (app_folder / "log.txt").read_text(errors="replace")
    assert "Traceback" not in log
    assert "ScriptRunContext" not in log


@pytest.fixture
def app_runs(app, app_folder, monkeypatch):
    """The runs folder of `app`, where its questions are too, for this process as well; empty again at the end."""
    from kdexplorer.vote.store import open_store

    root = app_folder / "runs"
    monkeypatch.setenv("KDEXPLORER_RUNS", str(root))
    yield root
    open_store().clear()
    for path in root.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            shutil.rmtree(path)


def pytest_runtest_setup(item):
    """Ends the browser after a file's last test in it: its event loop counts as running, so no other may run.

    Each test has one thread: on tiny networks threads mostly wait for one another, and a run sets them for the process.
    """
    import torch

    torch.set_num_threads(1)
    if not item.get_closest_marker("browser"):
        if item.path != shared.used_in:
            shared.close()
    elif CHROMIUM is None:
        pytest.skip("Chromium is missing")
    else:
        shared.used_in = item.path


def pytest_sessionfinish():
    shared.close()


@pytest.fixture
def chromium(tmp_path_factory):
    """A headless Chromium whose camera shows a clip."""

    def start():
        from benchmarks.live import write_clip

        clip = tmp_path_factory.mktemp("clip") / "clip.y4m"
        write_clip(clip, 320, 240, 20)
        return shared.open.enter_context(browser(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={clip}"))

    return shared.get("chromium", start)


def use(name, chromium, app, **options):
    tab = shared.get(name, lambda: Tab(chromium.new_context(reduced_motion="reduce", **options), app))
    tab.forget()
    yield tab
    tab.check()


@pytest.fixture
def tab(chromium, app):
    """A tab of a desktop's size on `app`."""
    for tab in use("tab", chromium, app):
        tab.page.emulate_media(color_scheme="light")
        yield tab.resize(DESKTOP)


@pytest.fixture
def phone(chromium, app):
    """A tab of a phone on `app`."""
    width, height = PHONE
    yield from use("phone", chromium, app, has_touch=True, is_mobile=True, viewport={"width": width, "height": height})


@pytest.fixture
def open_page(monkeypatch):
    """`open_page(name, **query)` runs a page without a browser; no run of it may end in what looks like a traceback.

    The test before has cached nothing. AppTest starts every run by searching all installed packages for components,
    which a server does once.
    """
    import streamlit as st
    from streamlit.components.v2 import manifest_scanner
    from streamlit.testing.v1 import AppTest

    run = AppTest._run

    def healthy(self, *args, **kwargs):
        run(self, *args, **kwargs)
        assert not self.exception
        return self

    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", list)
    monkeypatch.setattr(AppTest, "_run", healthy)
    st.cache_data.clear()
    st.cache_resource.clear()

    def open_page(name=None, **query):
        at = AppTest.from_file(ROOT / "kdexplorer" / "app" / "main.py", default_timeout=120)
        if name:
            at.switch_page(str(ROOT / "pages" / f"{name}.py"))
        for key, value in query.items():
            at.query_params[key] = value
        return at.run()

    return open_page


@pytest.fixture(scope="session")
def bundled(clean_environment):
    """The bundled networks, and their stored logits and labels of the test split; documents' figures come from them."""
    entries = {checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()}
    logits = {name: checkpoint.logits() for name, checkpoint in entries.items()}
    return SimpleNamespace(entries=entries, logits=logits, labels=evaluation_labels(entries["resnet56"]))
