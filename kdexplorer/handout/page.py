"""The file itself: template, styles, chart library and page script in one HTML text under a strict policy.

The policy (`Content-Security-Policy`) lets nothing in but the scripts and styles whose hashes it names and pictures
that are part of the file, and nothing out: no request, no form, no evaluated text. Vega compiles expressions with
`Function` by default; here its interpreter runs them (`ast: true`).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import latex2mathml.converter
from markupsafe import Markup

from kdexplorer import __version__, cli, comparison, export, relatives, table
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.config import ExperimentConfig, StudentConfig, validated
from kdexplorer.errors import ConfigError
from kdexplorer.handout import content, shapes
from kdexplorer.handout.order import Order
from kdexplorer.handout.sources import Sources
from kdexplorer.ui import charts, charts_people
from kdexplorer.ui.charts_soft import T_MAX, T_MIN
from kdexplorer.web import assemble
from kdexplorer.web.export import exported

FORMULAS = (
    (
        "A soft label",
        r"p_i(T) = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}",
        "The logits z never change; the temperature T decides how much of the small answers is seen.",
    ),
    (
        "Response-based distillation",
        r"L = \alpha \, T^2 \, \mathrm{KL}\left(p^t(T) \,\|\, p^s(T)\right) + (1 - \alpha) \, \mathrm{CE}(p^s, y)",
        "α weighs the teacher's term; T² keeps its push as strong at every T (Hinton et al. 2015).",
    ),
    (
        "What the student is told",
        r"\frac{\partial L}{\partial z_i} = \alpha \, T \left(p^s_i(T) - p^t_i(T)\right)"
        r" + (1 - \alpha) \left(p^s_i(1) - y_i\right)",
        "The gradient on the student's logits; it moves against it.",
    ),
    (
        "Feature-based distillation",
        r"L = \mathrm{CE}(p^s, y) + \beta \sum_k \mathrm{MSE}\left(\hat{A}^s_k, \hat{A}^t_k\right)",
        "A stage's channels are averaged to a map A and scaled to length 1 (Zagoruyko & Komodakis 2017).",
    ),
)


def build(order: Order, sources: Sources) -> str:
    """The handout as one HTML text that needs nothing but a browser.

    Raises:
        KDError: when a network cannot be trusted or its answers cannot be had.
    """
    rows = _rows(order, sources)
    near = content.near_people(order, sources, None)
    made = shapes.Shapes()
    shared = content.of_the_split(order, sources, rows, made)
    pictures = content.of_pictures(order, sources, made)
    teacher, *students = order.networks
    data = {
        "shapes": made.compiled,
        "shared": shared,
        "signals": {"T": order.temperature, "alpha": order.alpha, "opacity": 0.65},
        "range": [T_MIN, T_MAX],
    }
    heads, lines = _without_empty(*export.readable(rows, order.baseline))
    scripts, styles = [_library(), _part("page.js")], [_part("page.css")]
    own = _own_pictures(order) if order.live else None
    if own is not None:
        scripts += [assemble.script(), _part("page_own.js")]
        styles.append(assemble.styles())
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_part("page.html"))
    return template.render(
        policy=policy(scripts, styles, workers=own is not None),
        scripts=[Markup(script) for script in scripts],
        styles=[Markup(style) for style in styles],
        data=_json(data),
        charts=[_json(picture.pop("charts")) for picture in pictures],
        own=None if own is None else _json(own),
        pictures=pictures,
        shared=shared,
        teacher=teacher,
        students=students,
        alpha=order.alpha,
        heads=heads,
        lines=lines,
        measured_on=rows[0]["measured_on"],
        near=charts_people.table(near),
        doubt=charts_people.doubt(near, order.roles(order.networks), relatives.twins(order.networks)),
        loss=comparison.why_the_loss_is_larger(rows),
        cards=[(name, facts(checkpoint)) for name, checkpoint in (order.networks | order.compared).items()],
        formulas=[(name, Markup(mathml(latex)), words) for name, latex, words in FORMULAS],
        command=order.command,
        date=datetime.date.today().isoformat(),
        version=__version__,
    )


def _without_empty(heads: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table less the columns in which no row has a value."""
    kept = [k for k in range(len(heads)) if any(line[k] for line in lines)]
    return [heads[k] for k in kept], [[line[k] for k in kept] for line in lines]


def _json(value: Any) -> Markup:
    """JSON that ends no script element."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _own_pictures(order: Order) -> dict[str, Any]:
    """The networks that run in the page: the teacher and its first students that can. Raises CheckpointError."""
    roles = order.roles(order.networks)
    told = [
        assemble.network(name, charts.COLOURS[roles[name]], charts.MARKS[roles[name]], exported(checkpoint))
        for name, checkpoint in assemble.able(order.networks).items()
    ]
    first = order.pictures[0]
    return assemble.settings(told, order.temperature, T_MIN, T_MAX, (first.address(), first.caption(order.teacher)))


def _rows(order: Order, sources: Sources) -> list[dict[str, Any]]:
    known = order.networks | order.compared
    logits = {name: comparison.stored_logits(checkpoint) for name, checkpoint in known.items()}
    labels = table.measured_labels(next(iter(order.compared.values())))
    teacher = next(iter(order.networks))
    return comparison.rows(order.compared, logits, labels, teacher, order.baseline, answers=sources.people)


def facts(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """What a network's card says, as names and words."""
    card = checkpoint.card
    known = {
        "Architecture": card["architecture"],
        "Parameters": f"{card['parameters']:,}",
        "Method": card.get("method"),
        "Teacher": (card.get("teacher") or {}).get("name"),
        "Epochs": card.get("epochs"),
        "Seed": card.get("seed"),
        "Test accuracy": f"{100 * card['test_accuracy']:.2f} %",
        "Trained on": card.get("device"),
        "Weights (SHA-256)": checkpoint.sha256,
        "Command": retraining(checkpoint),
    }
    return [(name, str(value)) for name, value in known.items() if value not in (None, "")]


def retraining(checkpoint: Checkpoint) -> str | None:
    """The command that trains such a network, from its card; None where the card does not say enough."""
    card = checkpoint.card
    student = {"name": checkpoint.name, "architecture": checkpoint.architecture} | (card.get("objective") or {})
    recipe = {key: value for key, value in (card.get("recipe") or {}).items() if key in ExperimentConfig.model_fields}
    if not recipe:
        return None
    values = recipe | {"teacher": (card.get("teacher") or {}).get("name"), "seed": card.get("seed", 0)}
    try:
        values["students"] = [validated(StudentConfig, student)]
        return cli.command_line(validated(ExperimentConfig, values | {"epochs": card.get("epochs")}))
    except ConfigError:
        return None


def policy(scripts: list[str], styles: list[str], workers: bool = False) -> str:
    """The Content-Security-Policy: these scripts and styles by hash, pictures from the file itself, nothing else.

    With `workers`, a script of the file may start a worker that it holds; the worker is under the same policy.
    """

    def hashes(texts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    allowed = {
        "default-src": "'none'",
        "script-src": hashes(scripts),
        "style-src": hashes(styles),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    if workers:
        allowed["worker-src"] = "blob:"
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def mathml(latex: str) -> str:
    """A formula as a MathML element, which browsers draw without a library."""
    return latex2mathml.converter.convert(latex, display="block")


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed of the Vega-Lite release that Altair writes, as `vegaEmbed`; about 0.9 MB."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", shapes.release())
    return "(() => {" + bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--") + "})();"


def _part(name: str) -> str:
    return resources.files("kdexplorer.handout").joinpath(name).read_text(encoding="utf-8")
