"""Vega-Lite compiled to Vega, and Vega's scripts, in a process of its own.

The compiler (`vl_convert`) runs JavaScript and holds Python's lock meanwhile, for a second or more: in the server's
process no visitor's page could run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from kdexplorer.errors import KDError
from kdexplorer.processes import environment


@cache
def bundle_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as the script `vegaEmbed`; about 0.9 MB. Raises KDError."""
    bundle: str = _run({})
    return "(() => {" + bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--") + "})();"


MAX_KEPT = 100
"""Compiled charts that are kept: handouts of the same networks share most of theirs, about 10 KB each as JSON."""

_kept: dict[tuple[str, str], dict[str, Any]] = {}


def compile_charts(charts: Sequence[str], config: dict[str, Any]) -> list[dict[str, Any]]:
    """Specifications of Vega-Lite (JSON), with this configuration, as Vega. Raises KDError."""
    look = json.dumps(config)
    found: dict[str, Any] = {chart: _kept.get((chart, look)) for chart in charts}
    if missing := [chart for chart, vega in found.items() if vega is None]:
        for chart, vega in zip(missing, _run({"charts": missing, "config": config}), strict=True):
            found[chart] = {key: value for key, value in vega.items() if key != "$schema"}
        if len(_kept) + len(missing) > MAX_KEPT:
            _kept.clear()
        _kept.update({(chart, look): found[chart] for chart in missing})
    return [found[chart] for chart in charts]


def _run(task: dict[str, Any]) -> Any:
    command = [sys.executable, "-m", "kdexplorer.handout.vega"]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, env=environment())
    if done.returncode:
        raise KDError(f"The handout's charts cannot be compiled: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def main() -> None:
    """Reads a task from the standard input and writes its result."""
    import vl_convert

    if hasattr(os, "nice"):
        os.nice(10)  # as a run: pages go first
    task = json.load(sys.stdin)
    if "charts" in task:
        found: Any = [vl_convert.vegalite_to_vega(one, config=task["config"]) for one in task["charts"]]
    else:
        found = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
