"""Figures: charts with one thing to move, on the pages, in a lecture's steps, in handouts, and alone in a frame.

Each is an entry in one module of this package, found by listing it. What draws a figure takes what it needs by name
from whoever shows it, and returns charts and words; it knows neither Streamlit nor the networks themselves.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from kdexplorer.charts.common import Spec


@dataclass(frozen=True)
class Words:
    """A sentence beside a chart, as plain text, perhaps after a few in bold; or a hint what to choose."""

    text: str
    strong: str = ""
    is_hint: bool = False


Part = Spec | tuple[Spec, ...] | Words
"""A chart, charts side by side, or words."""


@dataclass(frozen=True)
class Choice:
    """What a figure's viewer may choose: its name in links, its label, and the options' labels by key."""

    name: str
    label: str
    options: Mapping[str, str]
    default: str | None = None
    """The first where it is None."""
    is_labeled: bool = True
    """Whether the label is seen."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        key: its name in links and lectures.
        title: what it shows.
        page: the page that it belongs to, by its file's name.
        moves: what its viewer moves.
        section: the handout's section about it; empty where another figure begins that section.
        draw: makes its chart, if there is one, or yields its parts; None for what only its page can draw.
        needs: where it stands alone: `picture` beside it, or the results of a chosen teacher's `family`.
        choose: the viewer's choices, each from what it needs itself; `draw` takes them by their names.
        is_titled: whether its charts' titles say more than a lecture's step.
        name: its charts' in the page's files, with what was chosen in braces; the title where it is empty.
    """

    key: str
    title: str
    page: str
    moves: str
    section: str
    draw: Callable[..., Spec | Iterable[Part] | None] | None = None
    needs: str = ""
    choose: tuple[Callable[..., Choice], ...] = ()
    is_titled: bool = False
    name: str = ""

    def choices(self, source: object) -> list[Choice]:
        """What its viewer may choose, where a source's attributes are what it needs."""
        return [choose(*_read(choose, source, {})) for choose in self.choose]

    def parts(self, source: object, **known: object) -> Iterable[Part]:
        """Its charts and words, from what is known or else a source's attributes, by `draw`'s names. Raises KDError."""
        drawn = None if self.draw is None else self.draw(*_read(self.draw, source, known))
        return (drawn,) if isinstance(drawn, dict) else drawn or ()

    def chart(self, source: object) -> Spec:
        """The chart of a figure that is one."""
        return next(part for part in self.parts(source) if isinstance(part, dict))


def _read(function: Callable[..., object], source: object, known: Mapping[str, object]) -> list[object]:
    names = inspect.signature(function).parameters
    return [known[name] if name in known else getattr(source, name) for name in names]


@cache
def all_figures() -> dict[str, Figure]:
    """All figures by key."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {figure.key: figure for module in modules for figure in module.FIGURES}
