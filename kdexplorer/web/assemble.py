"""The live view's parts put together: one script, one style sheet, and what it is told about each network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from kdexplorer.checkpoints import Checkpoint
from kdexplorer.drawing import PALETTES
from kdexplorer.web.export import Exported, runs_in_browser

PARTS = ("picture.js", "answers.js", "poster.js", "live.js")
"""What runs in the page; `infer.js` and `worker.js` travel in it as text and run in a worker."""

MOST_STUDENTS = 3
"""Beside the teacher: more columns than four do not fit a phone."""


def able(networks: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Of networks by name, the teacher first, those that the view takes: the teacher, and students that can run."""
    teacher, *students = networks
    can = [name for name in students if runs_in_browser(networks[name])]
    return {name: networks[name] for name in [teacher, *can[:MOST_STUDENTS]]}


@cache
def script() -> str:
    """A classic script that defines `KDLive.mount(host, settings)`; safe inside a script element."""
    worker = json.dumps(_part("infer.js") + _part("worker.js")).replace("<", "\\u003c")
    parts = "\n".join(map(_part, PARTS))
    return (
        f'"use strict";\nconst KDLive = (() => {{\nconst KD_WORKER = {worker};\n{parts}\nreturn {{ mount }};\n}})();\n'
    )


@cache
def module() -> str:
    """`script` as a module for Streamlit's components, version 2."""
    return script() + _part("component.js")


@cache
def styles() -> str:
    """The view's style sheet; colours are the surrounding page's."""
    return _part("live.css")


def network(name: str, colour: str, mark: str, made: Exported, url: str | None = None) -> dict[str, Any]:
    """What the view is told about one network.

    Args:
        name: what it is called on the page.
        colour: of its bars, `#rrggbb`.
        mark: a character beside its name, the cue beside colour.
        made: the network.
        url: where its weights are served; None puts them in, as base64.
    """
    told = {"name": name, "colour": colour, "mark": mark, "description": made.description}
    return told | ({"url": url} if url else {"weights": base64.b64encode(made.weights).decode()})


def settings(
    networks: Sequence[dict[str, Any]],
    temperature: float,
    low: float,
    high: float,
    sample: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """What `KDLive.mount` takes: the networks, the teacher first, and where the temperature begins, ends and is.

    `sample` is shown until there is another picture: its data address, and what it is ("test image 5, a frog").
    """
    return {
        "networks": list(networks),
        "palette": PALETTES["viridis"],
        "temperature": temperature,
        "range": [low, high],
        "sample": None if sample is None else dict(zip(("address", "caption"), sample, strict=True)),
    }


def _part(name: str) -> str:
    return resources.files("kdexplorer.web").joinpath(name).read_text(encoding="utf-8")
