"""Puts what stands beside the package in a clone into the wheel: pages, studies, and the networks of at most 5 MB."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWhole(build_py):
    """The package, and in `kdexplorer/bundled` what `kdexplorer.files.bundled` finds there."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "kdexplorer" / "bundled"
        shutil.rmtree(target, ignore_errors=True)
        files = [HERE / "streamlit_app.py", HERE / ".streamlit" / "config.toml", *(HERE / "pages").glob("*.py")]
        for pattern in ("*.toml", "*.json", "experiments/*/*.json"):
            files += (HERE / "studies").glob(pattern)
        for weights in (HERE / "checkpoints").glob("*/weights.safetensors"):
            if weights.stat().st_size <= 5e6:
                files += weights.parent.iterdir()
        for file in files:
            copy = target / file.relative_to(HERE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


setup(cmdclass={"build_py": BuildWhole})
