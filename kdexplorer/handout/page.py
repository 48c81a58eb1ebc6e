"""Writes the file: template, texts, styles, chart library and page script in one HTML text under a strict policy.

The `Content-Security-Policy` allows only the scripts and styles whose hashes it lists and images that are part of the
file: no request, no form, no evaluated text. Vega compiles expressions with `Function` by default; its interpreter is
used instead (`ast: true`).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from kdexplorer import __version__, web
from kdexplorer.analysis import human_agreement, results, verdicts
from kdexplorer.analysis.metrics import entropy
from kdexplorer.analysis.results import ResultRow, build_rows, evaluation_labels
from kdexplorer.charts.attention import OPACITY
from kdexplorer.charts.common import vega_lite_version
from kdexplorer.charts.methods import EXPLANATION
from kdexplorer.charts.temperature import T_MAX, T_MIN
from kdexplorer.handout import texts
from kdexplorer.handout.charts import Charts
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.vega import bundle_library
from kdexplorer.images.picture import data_url
from kdexplorer.methods import describe_methods
from kdexplorer.runs.lineage import name_family
from kdexplorer.story import read_lecture
from kdexplorer.studies.experiments.results import list_verdicts
from kdexplorer.vote.questions import Question, count_votes, soft_label

SECTIONS = {
    "soft": "Soft labels",
    "gradient": "Gradient",
    "attention": "Attention",
    "own-image": "Your own image",
    "human-labels": "Human labels",
    "classes": "Classes",
    "methods": "Methods",
    "results": "Results",
    "experiments": "Experiments",
    "votes": "The audience's votes",
    "formulas": "Formulas",
    "training": "Training",
}
"""Each section's title in the list of sections, by its name; in this order where no lecture names them."""


def build(request: HandoutRequest) -> str:
    """The handout as one HTML text that needs nothing but a browser.

    Raises:
        KDError: when a network does not match its card or its predictions cannot be computed.
    """
    logits = {name: c.logits_or_none() for name, c in {**request.networks, **request.compared}.items()}
    labels, teacher = evaluation_labels(next(iter(request.compared.values()))), next(iter(request.networks))
    rows = build_rows(request.compared, logits, labels, teacher, request.baseline, human_labels=request.human_labels)
    charts = Charts(request)
    networks = list(request.networks.values())
    agreement = [] if charts.human is None else human_agreement.build_rows(networks, charts.human)
    shared, pictures = charts.split(rows), charts.pictures()
    alpha = request.alpha_of(networks[request.opened])
    start = {"T": request.temperature, "alpha": alpha, "opacity": OPACITY, "beta": 0.0}
    judged = list_verdicts() if request.experiments else []
    present = {
        "gradient": len(request.networks) > 1, "own-image": request.live, "human-labels": agreement,
        "classes": "classes 0" in shared, "experiments": judged, "votes": request.votes,
    }  # fmt: skip
    listed = [name for name in SECTIONS if present.get(name, True)]
    source = f"KD Explorer {__version__}, handout: {name_family(teacher, list(request.networks)[1:])}"
    shapes = charts.compile_shapes()
    data = {"shapes": shapes, "shared": shared, "signals": start, "range": [T_MIN, T_MAX], "source": source}
    scripts = [bundle_library(vega_lite_version()), web.read("save_chart.js"), _read("page.js")]
    styles = [_read("page.css")]
    if request.live:
        scripts += [web.build_script(), _read("page_live.js")]
        styles.append(web.read("live.css"))
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_read("page.html"))
    return template.render(
        _describe_networks(request, rows), version=__version__, date=datetime.date.today().isoformat(),
        policy=build_policy(scripts, styles, workers=request.live), styles=[Markup(style) for style in styles],
        scripts=[Markup(script) for script in scripts], data=_to_json(data), shared=shared, pictures=pictures,
        charts=[_to_json(picture.pop("charts")) for picture in pictures], command=request.command,
        live=_to_json(_live_settings(request)) if request.live else None,
        agreement=human_agreement.tabulate(agreement),
        uncertainty=human_agreement.describe_agreement(agreement),
        experiments=judged, address=request.address, votes=_describe_votes(request.votes),
        sections=order_sections(request.order, listed),
    )  # fmt: skip


def _describe_networks(request: HandoutRequest, rows: list[ResultRow]) -> dict[str, Any]:
    """The page's table and texts."""
    teacher, *students = request.networks
    networks = {**request.networks, **request.compared}
    explains_loss = any(row.is_distilled and row.objective is not None for row in rows)
    return {
        "teacher": teacher,
        "students": students,
        "opened": request.opened,
        "classes": len(request.teacher.classes),
        "results": results.tabulate(rows, request.baseline or ""),
        "evaluated_on": rows[0].evaluated_on,
        "changes": verdicts.describe_changes(rows),
        "trained": verdicts.describe_training(rows),
        "calibration": verdicts.explain_calibration(rows),
        "loss": verdicts.explain_larger_loss(rows) if explains_loss else "",
        "cards": [(name, texts.describe_card(checkpoint)) for name, checkpoint in networks.items()],
        "methods": describe_methods(),
        "divergence": EXPLANATION,
        "formulas": texts.list_formulas(networks.values()),
    }


def _live_settings(request: HandoutRequest) -> dict[str, Any]:
    """The networks that run in the page: the teacher and its first students that can. Raises CheckpointError."""
    roles = request.roles(request.networks)
    networks = [
        web.describe_network(name, roles[name], web.export_network(checkpoint))
        for name, checkpoint in web.select_networks(request.networks).items()
    ]
    first = request.pictures[0]
    sample = first.data_url, f"This is a sample ({first.caption(request.teacher.classes)})"
    return web.build_settings(networks, request.temperature, sample)


def _to_json(value: Any) -> Markup:
    """JSON that cannot end a script element."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def build_policy(scripts: list[str], styles: list[str], workers: bool = False) -> str:
    """The Content-Security-Policy: these scripts and styles by hash, images of the file itself, nothing else.

    With `workers`, a script of the file may start a worker from the file's text, under the same policy.
    """

    def hashes(texts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    allowed = {"script-src": hashes(scripts), "style-src": hashes(styles), "img-src": "data:"}
    allowed |= dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    allowed |= {"worker-src": "blob:"} if workers else {}
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _read(name: str) -> str:
    return resources.files("kdexplorer.handout").joinpath(name).read_text(encoding="utf-8")


def order_sections(first: Sequence[str], present: Collection[str]) -> dict[str, str]:
    """The titles of the present sections, those of a lecture first; where none are given, the bundled lecture's."""
    first = [name for name in first or read_lecture().sections() if name in SECTIONS]
    return {name: SECTIONS[name] for name in dict.fromkeys([*first, *SECTIONS]) if name in present}


def _describe_votes(questions: Sequence[Question]) -> list[dict[str, str]]:
    """Each question's picture and a caption: the label, how many voted, the entropy of the audience's soft label."""
    found = []
    for number, one in enumerate(questions, start=1):
        room = soft_label(one.totals)
        parts = [f"Question {number}"] + ([f"label {one.classes[one.label]}"] if one.label is not None else [])
        parts.append(count_votes(sum(one.totals)))
        parts += [] if room is None else [f"entropy {float(entropy(room)):.2f} nats"]
        found.append({"picture": data_url(one.picture), "caption": ", ".join(parts)})
    return found
