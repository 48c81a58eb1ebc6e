"""Writes the file: template, texts, styles, chart library and page script in one HTML text under a strict policy.

The `Content-Security-Policy` allows only the scripts and styles whose hashes it lists and images that are part of the
file: no request, no form, no evaluated text. Vega compiles expressions with `Function` by default; its interpreter is
used instead (`ast: true`).
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import latex2mathml.converter
from markupsafe import Markup

from kdexplorer import __version__, web
from kdexplorer.analysis import human_agreement, results, verdicts
from kdexplorer.analysis.metrics import entropy
from kdexplorer.analysis.results import build_rows, describe_evaluation, evaluation_labels
from kdexplorer.charts.attention import OPACITY
from kdexplorer.charts.methods import EXPLANATION
from kdexplorer.charts.temperature import T_MAX, T_MIN
from kdexplorer.config import RunConfig
from kdexplorer.datasets.folder import without_place
from kdexplorer.errors import ConfigError
from kdexplorer.handout.charts import LOOK, Charts
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.vega import bundle_library, compile_charts
from kdexplorer.images.picture import data_url
from kdexplorer.methods import Method, all_methods, describe_methods
from kdexplorer.notation import describe_objective, train_command
from kdexplorer.runs.card import Leg
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.lineage import name_family
from kdexplorer.schema import RECORDED, validate
from kdexplorer.story import read_lecture
from kdexplorer.studies.experiments import list_verdicts
from kdexplorer.vote.questions import Question, count_votes, soft_label

SECTIONS = {
    "soft": "Soft labels",
    "gradient": "Gradient on the logits",
    "attention": "Attention",
    "own-image": "Your own image",
    "human-labels": "Human labels",
    "classes": "Similar classes",
    "methods": "Methods",
    "results": "Results",
    "experiments": "Experiments",
    "votes": "The audience's votes",
    "formulas": "Formulas",
    "training": "Training",
}
"""Each section's heading by its name; in this order where no lecture names them."""


def build(request: HandoutRequest, give_way: Callable[[], object] = lambda: None) -> str:
    """The handout as one HTML text that needs nothing but a browser.

    `give_way` is called between two steps. Raises KDError when a network does not match its card or its predictions
    cannot be computed.
    """
    every = {**request.networks, **request.compared}
    logits = {name: c.logits_or_none() for name, c in every.items()}
    labels, (teacher, *students) = evaluation_labels(next(iter(request.compared.values()))), request.networks
    more: dict[str, Any] = {"human_labels": request.human_labels, "others": request.networks}
    rows = build_rows(request.compared, logits, labels, teacher, request.baseline, **more)
    give_way()
    charts = Charts(request, give_way)
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
    source = f"KD Explorer {__version__}, handout: {name_family(teacher, students)}"
    give_way()
    shapes = compile_charts(list(charts.shapes), LOOK)
    give_way()
    data = {"shapes": shapes, "shared": shared, "signals": start, "range": [T_MIN, T_MAX], "source": source}
    scripts = [bundle_library(), web.read("save_chart.js"), _read("page.js")]
    styles = [_read("page.css")]
    if request.live:
        scripts += [web.build_script(), _read("page_live.js")]
        styles.append(web.read("live.css"))
    explains_loss = any(row.is_distilled and row.objective is not None for row in rows)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["mathml"] = to_mathml
    return environment.from_string(_read("page.html")).render(
        teacher=teacher, students=students, opened=request.opened, classes=len(request.teacher.classes),
        results=results.tabulate(rows, request.baseline or ""), evaluated_on=rows[0].evaluated_on,
        changes=verdicts.describe_changes(rows), trained=verdicts.describe_training(rows),
        calibration=verdicts.explain_calibration(rows),
        loss=verdicts.explain_larger_loss(rows) if explains_loss else "",
        cards=[(name, describe_card(checkpoint)) for name, checkpoint in every.items()],
        used=used_methods(every.values()), methods=describe_methods(), divergence=EXPLANATION,
        version=__version__, date=datetime.date.today().isoformat(),
        policy=build_policy(scripts, styles, workers=request.live), styles=[Markup(style) for style in styles],
        scripts=[Markup(script) for script in scripts], data=_to_json(data), shared=shared, pictures=pictures,
        charts=[_to_json(picture.pop("charts")) for picture in pictures], command=request.command,
        live=_to_json(_live_settings(request)) if request.live else None,
        agreement=human_agreement.tabulate(agreement),
        uncertainty=human_agreement.describe_agreement(agreement),
        experiments=judged, address=request.address, votes=_describe_votes(request.votes),
        sections=_order_sections(request.order, present),
    )  # fmt: skip


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


def build_policy(scripts: list[str], styles: list[str], workers: bool) -> str:
    """The Content-Security-Policy: these scripts and styles by hash, images of the file itself, nothing else.

    With `workers`, a script of the file may start a worker from the file's text, under the same policy.
    """
    allowed = {"img-src": "data:"}
    for name, texts in (("script-src", scripts), ("style-src", styles)):
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        allowed[name] = " ".join(f"'sha256-{digest}'" for digest in digests)
    allowed |= dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    allowed |= {"worker-src": "blob:"} if workers else {}
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _read(name: str) -> str:
    return resources.files("kdexplorer.handout").joinpath(name).read_text(encoding="utf-8")


def _order_sections(first: Sequence[str], present: Mapping[str, object]) -> dict[str, str]:
    """The titles of the present sections, those of a lecture first; where none are given, the bundled lecture's."""
    names = dict.fromkeys([*(first or read_lecture().sections()), *SECTIONS])
    return {name: SECTIONS[name] for name in names if name in SECTIONS and present.get(name, True)}


def _describe_votes(questions: Sequence[Question]) -> list[dict[str, str]]:
    """Each question's picture and a caption: the label, how many voted, the entropy of the audience's soft label."""
    found = []
    for number, one in enumerate(questions, start=1):
        shares = soft_label(one.totals)
        parts = [f"Question {number}"] + ([f"label {one.classes[one.label]}"] if one.label is not None else [])
        parts.append(count_votes(sum(one.totals)))
        parts += [] if shares is None else [f"entropy {float(entropy(shares)):.2f} nats"]
        found.append({"picture": data_url(one.picture), "caption": ", ".join(parts)})
    return found


def used_methods(networks: Iterable[Checkpoint]) -> list[type[Method]]:
    """The methods that any of these networks was trained with."""
    used = {term.method for c in networks if c.card.objective for term in c.card.objective.terms}
    return [method for method in all_methods() if method.key in used]


def to_mathml(latex: str) -> Markup:
    """A formula as an element that browsers draw without a library; as it is written where it is none."""
    with contextlib.suppress(Exception):  # the library's errors have no class of their own
        return Markup(latex2mathml.converter.convert(str(latex), display="block"))
    return Markup("<code>{}</code>").format(str(latex))


def describe_card(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """What a network's card says, as names and texts."""
    card = checkpoint.card
    epochs = [leg.epochs for leg in card.legs]
    total = str(sum(epochs)) if epochs else ""
    facts = {
        "Architecture": card.architecture,
        "Parameters": f"{card.parameters:,}",
        "Objective": describe_objective(card.objective) if card.objective else None,
        "Teacher": card.teacher.name if card.teacher else None,
        "Epochs": total + (f" ({' + '.join(map(str, epochs))})" if len(epochs) > 1 else ""),
        "Continued": "after its test accuracy was known" if card.continued_in_view else None,
        "Seed": _join(leg.seed for leg in card.legs),
        "Accuracy": f"{100 * card.test_accuracy:.2f} % on the {describe_evaluation(checkpoint)}",
        "Trained on": _join(leg.device for leg in card.legs),
        "Weights (SHA-256)": checkpoint.sha256,
    }
    commands = list_commands(checkpoint)
    headings = [f"Command {i} (RUN: the id that command {i - 1} prints)" for i in range(2, len(commands) + 1)]
    named = zip([f"Command{' 1' if headings else ''}", *headings], commands, strict=False)
    return [(name, text) for name, text in facts.items() if text] + list(named)


def _join(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))


def list_commands(checkpoint: Checkpoint) -> list[str]:
    """The commands that train such a network again, one for each run; empty where the recipe of one is unknown.

    A run continues from `RUN/NAME`, where RUN is the id that the command before prints. Recipes that were stored before
    images were ordered by content keep the order of their source. What began as another network has the commands of its
    own runs; a snapshot, whose run went on, has none.
    """
    card, commands = checkpoint.card, list[str]()
    own = list[Leg]()
    for leg in card.legs:
        own = [*own, leg] if own and leg.initial == f"{own[-1].run}/{card.name}" else [leg]
    is_snapshot = bool(own) and own[-1].recipe.get("snapshots") and card.name.endswith(f"-after-{own[-1].epochs}")
    if card.objective is None or is_snapshot or not all(leg.recipe for leg in own):
        return []
    for number, leg in enumerate(own):
        recipe = {key: value for key, value in leg.recipe.items() if key in RunConfig.model_fields}
        recipe.setdefault("image_order", "source")
        recipe |= {"dataset": without_place(str(recipe["dataset"]))} if "dataset" in recipe else {}
        initial = f"RUN/{card.name}" if number else leg.initial
        if initial and Path(initial).is_absolute():  # where it is on this machine is not for others
            initial = Path(initial).name
        student = {"name": card.name, "architecture": card.architecture, "initial": initial}
        recipe |= {"teacher": card.teacher.name if card.teacher else None, "seed": leg.seed or 0, "epochs": leg.epochs}
        recipe |= {"students": [student | card.objective.model_dump()]}
        with contextlib.suppress(ConfigError):
            commands.append(train_command(validate(RunConfig, recipe, context=RECORDED)))
    return commands
