"""A lecture: its steps, each with one sentence and one figure, read from a TOML file.

The bundled one is `lecture.toml` in this folder. A lecturer's own has the same form: `python -m kdexplorer story FILE`
checks it.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from kdexplorer.charts.temperature import T_MAX, T_MIN
from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.figures import all_figures
from kdexplorer.files import read_bytes, read_once
from kdexplorer.methods import get_method
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.schema import NAME_PATTERN, StrictModel, problems
from kdexplorer.studies.experiments import get_experiment

DEFAULT = Path(__file__).with_name("lecture.toml")
MAX_STEPS = 40
MAX_BYTES = 200_000
"""Of a file."""


def _named(find: Callable[[str], object]) -> AfterValidator:
    """A name under which there is something."""

    def check(name: str) -> str:
        find(name)
        return name

    return AfterValidator(check)


NetworkName = Annotated[str, Field(pattern=f"^{NAME_PATTERN}(/{NAME_PATTERN})?$"), _named(find_checkpoint)]
"""A network's name on the pages: a bundled one's, or `RUN/STUDENT`."""


class Settings(StrictModel):
    """What a step shows until the presenter changes it; a field that is not given leaves what was chosen."""

    teacher: NetworkName | None = None
    students: list[NetworkName] | None = Field(None, min_length=1, max_length=4)
    image: int | None = Field(None, ge=0, lt=1_000_000, strict=True)
    """The number of a test image."""
    T: float | None = Field(None, ge=T_MIN, le=T_MAX)
    method: Annotated[str, _named(get_method)] | None = None
    experiment: Annotated[str, _named(get_experiment)] | None = None
    """Of the figure `experiment`."""


class Step(StrictModel):
    """One screen of a lecture."""

    title: str = Field(min_length=1, max_length=60)
    sentence: str = Field(min_length=1, max_length=240)
    figure: str = ""
    points: list[Annotated[str, Field(min_length=1, max_length=160)]] = Field([], max_length=4)
    """Statements in large letters instead of a figure."""
    answer: str = Field("", max_length=240)
    """What is said once the presenter reveals it."""
    optional: bool = False
    """Whether *Next* passes it over."""
    notes: str = Field("", max_length=4000)
    """For the speaker."""
    settings: Settings = Settings()

    @field_validator("figure")
    @classmethod
    def _figure_is_known(cls, value: str) -> str:
        if value not in all_figures():
            raise ValueError(unknown_name("figure", value, all_figures()))
        return value

    @model_validator(mode="after")
    def _shows_something(self) -> Step:
        if bool(self.figure) == bool(self.points):
            raise ValueError("a step has either a figure or points")
        return self

    @property
    def page(self) -> str:
        """The page that it is about."""
        return all_figures()[self.figure].page if self.figure else "overview"


class Lecture(StrictModel):
    """Steps in the order in which they are shown."""

    title: str = Field("Knowledge distillation", min_length=1, max_length=80)
    steps: list[Step] = Field(min_length=1, max_length=MAX_STEPS)

    def sections(self) -> list[str]:
        """The handout's sections about the steps' figures, each once, in the order of the steps."""
        found = (all_figures()[step.figure].section for step in self.steps if step.figure)
        return list(dict.fromkeys(section for section in found if section))

    def neighbor(self, number: int, way: int) -> int | None:
        """The next step (`way` 1) or the one before (-1) that is not optional, from 1; None at the end."""
        found = range(number + way, 0 if way < 0 else len(self.steps) + 1, way)
        return next((one for one in found if not self.steps[one - 1].optional), None)


def read_lecture(path: Path = DEFAULT) -> Lecture:
    """Reads and checks a lecture's file. Raises ConfigError, which names the file, the steps and their fields."""
    try:
        values = tomllib.loads(read_bytes(path, MAX_BYTES, follow_links=True).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' cannot be read: {getattr(error, 'strerror', error)}") from error
    try:
        return Lecture.model_validate(values)
    except ValidationError as error:
        found = [f"{_name_field(field, values)}: {message}" for field, message in problems(error)]
        raise ConfigError("\n".join([f"'{path}' is no lecture.", *found])) from error


def find_file() -> Path:
    """The lecture's file: `streamlit run streamlit_app.py -- --story FILE`, else the bundled one."""
    if Path(sys.argv[0]).name != "streamlit_app.py":  # a test or a benchmark, whose arguments are its own
        return DEFAULT
    parser = argparse.ArgumentParser(prog="streamlit run streamlit_app.py --", description="KD Explorer")
    parser.add_argument("--story", type=Path, default=DEFAULT, metavar="FILE", help="a lecture, see docs/lecture.md")
    return parser.parse_args(sys.argv[1:]).story.resolve()


def check_file() -> None:
    """Ends the program with an explanation where the lecture's file is not valid. Raises SystemExit."""
    try:
        open_lecture()
    except ConfigError as error:
        raise SystemExit(str(error)) from error


def open_lecture() -> Lecture:
    """The lecture, read again when its file has changed. Raises ConfigError."""
    return read_once(read_lecture, find_file())


def _name_field(field: str, values: dict[str, Any]) -> str:
    """A field as a lecturer finds it: step 3 ("Temperature"), figure. Steps are numbered from 1."""
    top, *rest = field.split(".")
    if top != "steps" or not rest or field in values:  # a quoted key of the file may have dots itself
        return field or "file"
    number, step = int(rest[0]), values["steps"][int(rest[0])]
    title = str(step.get("title", ""))[:60] if isinstance(step, dict) else ""
    return ", ".join([f"step {number + 1}" + (f" ('{title}')" if title else ""), *rest[1:]])
