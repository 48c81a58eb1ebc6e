"""Who may import whom, and how long a file and a function may be."""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import kdexplorer

PACKAGE = Path(kdexplorer.__file__).parent
ROOT = PACKAGE.parent

LAYERS = (
    {"errors", "schema", "files", "processes", "plugins"},
    {"images"},
    {"networks"},
    {"methods"},
    {"datasets"},
    {"config", "presets", "notation"},
    {"runs"},
    {"analysis"},
    {"training"},
    {"studies"},
    {"charts"},
    {"figures"},
    {"web"},
    {"story"},
    {"vote"},
    {"handout"},
    {"library"},
    {"app"},
    {"cli"},
    {"__main__"},
)
"""The parts of the package, the lowest first: a part imports its own modules and those of lower layers."""

RANKS = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]


@functools.cache
def imports_of(path):
    """The names that a file imports at any depth of its code, annotations' own imports too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(name):
    """The part of the package that a dotted name belongs to, or None."""
    words = name.split(".")
    return words[1] if words[0] == "kdexplorer" and len(words) > 1 and words[1] in RANKS else None


def test_imports_point_downwards():
    for path in FILES:
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        others = {part_of(name) for name in imports_of(path)} - {None, own}
        assert not [part for part in others if RANKS[part] > RANKS[own]], path
        beside = [part for part in others if RANKS[part] == RANKS[own]]
        assert not beside or own in LAYERS[0] | {"config", "presets", "notation"}, path


def test_what_pages_share_imports_no_page_and_points_downwards():
    floors = ("layout", "server", "state", "parts")
    for path in (PACKAGE / "app").rglob("*.py"):
        own = path.relative_to(PACKAGE / "app").with_suffix("").parts[0]
        words = [name.split(".") for name in imports_of(path) if name.startswith("kdexplorer.app.")]
        above = [word[2] for word in words if word[2] not in floors[: 1 + floors.index(own)]] if own in floors else []
        assert not above, path


def test_no_module_imports_itself_through_others():
    graph = {module: (imports_of(path) & set(MODULES)) - {module} for module, path in zip(MODULES, FILES, strict=True)}
    graphlib.TopologicalSorter(graph).prepare()  # its error names the circle


def test_only_the_application_knows_streamlit():
    for path in FILES:
        known = {name.split(".")[0] for name in imports_of(path)}
        assert "pages" not in known, path
        assert "streamlit" not in known or path.relative_to(PACKAGE).parts[0] == "app", path


def test_private_parts_of_streamlit_are_used_in_one_module():
    """`streamlit.components.v2` and the exceptions are public; what breaks with the others stands in that module."""
    private = ("proto", "runtime", "web", "config", "net_util", "elements", "delta_generator", "navigation", "util")
    own = PACKAGE / "app/server/streamlit_internals.py"
    for path in [*FILES, ROOT / "streamlit_app.py", *(ROOT / "pages").glob("*.py")]:
        used = {name for name in imports_of(path) if name.startswith(tuple(f"streamlit.{part}" for part in private))}
        assert not used or path == own, path


CHARTS = [module for module in MODULES if module.startswith("kdexplorer.charts")]


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        ("import kdexplorer; kdexplorer.RunConfig", "torch pandas streamlit"),
        (
            "import kdexplorer.training.train, kdexplorer.studies.driver, kdexplorer.cli.main\n"
            "import sys; assert 'torch' in sys.modules",
            "streamlit pandas ray altair",
        ),
        (
            "import kdexplorer.config, kdexplorer.notation, kdexplorer.runs.checkpoints, kdexplorer.cli.main\n"
            f"import kdexplorer.analysis.metrics, {', '.join(CHARTS)}\n"
            "from kdexplorer import datasets, methods, networks; [one.label for one in methods.all_methods()]\n"
            "[one.stages for one in networks.all_architectures()]; [one.classes for one in datasets.all_datasets()]",
            "torch torchvision streamlit",
        ),
        ("from kdexplorer.training import estimate; estimate.stored_estimate()", "torch"),
        # The compiler would take seconds and 90 MB.
        ("from kdexplorer.networks import build_empty; build_empty('resnet50')", "torchvision torch._dynamo"),
        (
            "from streamlit.testing.v1 import AppTest\n"
            "assert not AppTest.from_file('kdexplorer/app/main.py', default_timeout=120).run().exception",
            "torch",
        ),
    ],
    ids=["the library", "training", "charts and descriptions", "the stored estimate", "a network", "the overview"],
)
def test_what_is_not_needed_is_not_loaded(code, unloaded):
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    assert not set(loaded) & set(unloaded.split())


@pytest.mark.parametrize("path", sorted(ROOT.glob("pages/*.py")), ids=lambda path: path.stem)
def test_a_page_is_short_and_no_string_stands_alone_on_it(path):
    """Streamlit would write it at the page's top, as it does with every value that nobody takes."""
    text = path.read_text()
    assert len(text.splitlines()) <= 150
    rest = ast.parse(text).body[1:]
    assert not [line for line in rest if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)]


def test_modules_and_functions_can_be_read():
    for path in FILES:
        code = path.read_text()
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        functions = [one for one in ast.walk(ast.parse(code)) if isinstance(one, kinds)]
        long = [one.name for one in functions if one.end_lineno - one.lineno >= 60]
        assert (len(code.splitlines()) <= 400, long) == (True, []), path
