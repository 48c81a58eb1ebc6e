"""Assembles the live view: one script, one style sheet, and the settings that describe the networks."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from kdexplorer.charts.style import look_of
from kdexplorer.charts.temperature import T_MAX, T_MIN
from kdexplorer.images.picture import PALETTES
from kdexplorer.web.export import ExportedNetwork

PARTS = ("explain_refusal.js", "image_input.js", "predictions.js", "snapshot.js", "live.js")
"""What runs in the page. `infer.js` and `worker.js` are embedded in it as text and run in a worker."""


@cache
def build_script() -> str:
    """A classic script that defines `KDLive.mount(host, settings)`; safe inside a script element."""
    worker = json.dumps(read("infer.js", "worker.js")).replace("<", "\\u003c")
    parts = f"const KD_WORKER = {worker};\n{read(*PARTS)}\nreturn {{ mount }};"
    return f'"use strict";\nconst KDLive = (() => {{\n{parts}\n}})();\n'


def describe_network(name: str, role: str, exported: ExportedNetwork, url: str | None = None) -> dict[str, Any]:
    """One network as the view takes it.

    Args:
        name: its name on the page.
        role: `charts.style.role_of`; decides the color and the character that is the second cue.
        exported: the network.
        url: where its weights are served; None embeds them as base64.
    """
    look = look_of(role)
    weights = {"url": url} if url else {"weights": base64.b64encode(exported.weights).decode()}
    facts = {"name": name, "what": look.what, "color": look.color, "mark": look.mark}
    return facts | {"description": exported.description} | weights


def build_settings(
    networks: Sequence[dict[str, Any]], temperature: float, sample: tuple[str, str] | None = None
) -> dict[str, Any]:
    """What `KDLive.mount` takes.

    Args:
        networks: of `describe_network`, the teacher first.
        temperature: at the start.
        sample: an image to begin with: its data URL, and what it is in a sentence without its full stop.
    """
    return {
        "networks": list(networks),
        "palette": PALETTES["map"],
        "temperature": temperature,
        "range": [T_MIN, T_MAX],
        "sample": None if sample is None else dict(zip(("url", "caption"), sample, strict=True)),
    }


@cache
def read(*names: str) -> str:
    """These scripts or style sheets of this folder, one after the other."""
    folder = resources.files("kdexplorer.web")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
