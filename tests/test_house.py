"""Who may import whom, and what every public function owes its reader."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import kdexplorer
from kdexplorer import config, models

ROOT = Path(kdexplorer.__file__).parent
MODULES = sorted(path.stem for path in ROOT.glob("*.py") if not path.stem.startswith("__"))


def loaded_by(module):
    """The top-level names in sys.modules after `import module` in a fresh interpreter, and kdexplorer's modules."""
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def imports_of(path):
    """The modules that a file imports at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_training_leaves_streamlit_and_ray_unloaded():
    loaded = loaded_by("kdexplorer.train, kdexplorer.sweep, kdexplorer.cli")
    assert {"torch", "kdexplorer.sweep"} <= loaded
    assert not loaded & {"streamlit", "altair", "pandas", "ray"}


@pytest.mark.parametrize("module", ["config", "runs", "checkpoints", "metrics", "data", "cli"])
def test_what_the_first_page_needs_leaves_torch_unloaded(module):
    loaded = loaded_by(f"kdexplorer.{module}")
    assert f"kdexplorer.{module}" in loaded
    assert not loaded & {"torch", "torchvision", "streamlit"}


def test_runs_starts_the_trainer_and_never_imports_it():
    assert not any("train" in name.split(".") for name in imports_of(ROOT / "runs.py"))
    assert "kdexplorer.train" not in loaded_by("kdexplorer.runs")


BELOW_THE_PAGES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "ui"]
SHARED_WITH_THE_PAGES = {"handout"}  # it draws with the charts of ui/, which load no streamlit themselves


@pytest.mark.parametrize("path", BELOW_THE_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_below_the_pages_knows_neither_streamlit_nor_them(path):
    imported = imports_of(path)
    assert not {name.split(".")[0] for name in imported} & {"streamlit", "pages"}
    drawn = path.relative_to(ROOT).parts[0] in SHARED_WITH_THE_PAGES
    assert drawn or not any(name.startswith("kdexplorer.ui") for name in imported)


@pytest.mark.parametrize("path", sorted(ROOT.parent.glob("pages/*.py")), ids=lambda path: path.stem)
def test_no_string_stands_alone_on_a_page(path):
    """Streamlit would write it at the page's top, as it does with every value that nobody takes."""
    rest = ast.parse(path.read_text()).body[1:]
    assert not [line for line in rest if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)]


def test_every_architecture_that_forms_offer_can_be_built():
    assert list(config.ARCHITECTURES) == list(models.BUILDERS)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_has_a_docstring_and_type_hints(module):
    loaded = import_module(f"kdexplorer.{module}")
    assert loaded.__doc__
    for name, thing in vars(loaded).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != loaded.__name__:
            continue
        if inspect.isclass(thing):
            assert thing.__doc__, name
        elif inspect.isfunction(thing):
            assert thing.__doc__, name
            signature = inspect.signature(inspect.unwrap(thing))
            assert signature.return_annotation is not inspect.Signature.empty, name
            assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values()), name
