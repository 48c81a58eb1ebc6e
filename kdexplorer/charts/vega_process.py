"""What runs in Vega's process, see `vega`: answers each line of standard input with a line, both JSON."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, str]:
    """Draws a specification (`spec` as text, `version` of Vega-Lite) or turns an `svg` into PNG at a `scale`."""
    import vl_convert

    try:
        if "svg" in request:
            return {"png": base64.b64encode(vl_convert.svg_to_png(request["svg"], scale=request["scale"])).decode()}
        drawn = vl_convert.vegalite_to_svg(request["spec"], vl_version=request["version"], allowed_base_urls=[])
    except ValueError as error:
        return {"error": str(error)}
    return {"svg": drawn}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
