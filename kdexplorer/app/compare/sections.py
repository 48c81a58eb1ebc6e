"""What is compared on Compare, the table of its results, and the sections beside and below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import measures, metrics, results, verdicts
from kdexplorer.analysis.measures import MEASURES
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.verdicts import count_inheritance, explain_inheritance
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, downloads, network_picker
from kdexplorer.app.parts.picture import say_how_to_get
from kdexplorer.app.server import access, turns
from kdexplorer.app.state import cached
from kdexplorer.app.state.cached import Network, latency
from kdexplorer.app.state.choices import pick_one, pick_option, pick_toggle
from kdexplorer.charts import class_maps, evaluation, learning_curves, style
from kdexplorer.charts.common import CLASS_LIMIT, format_share
from kdexplorer.charts.learning_curves import Curves
from kdexplorer.datasets import find_dataset, get_dataset
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture, data_url, enlarge_png
from kdexplorer.networks import all_architectures
from kdexplorer.runs import lineage
from kdexplorer.runs.card import EpochMeasures
from kdexplorer.runs.run_folder import EpochMetrics, find_run


@dataclass(frozen=True)
class Comparison:
    """Networks by the short names that the table has."""

    networks: Mapping[str, Network]
    teacher: Network | None = None
    """The teacher for agreement and KL; it need not be one of the networks."""
    rows: Sequence[ResultRow] = ()
    labels: np.ndarray | None = None
    """Int64 `[N]`, where they are available."""
    logits: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Stored logits `[N, K]` of the networks that have them."""
    baseline: str = ""
    """The network that the differences refer to."""
    runs: Sequence[str] = ()
    """Runs whose curves are shown even if they have not finished."""

    @classmethod
    def read(
        cls, networks: Mapping[str, Network], teacher: Network | None, baseline: str = "", runs: Sequence[str] = ()
    ) -> "Comparison":
        """What is known of networks, at least one; latencies only where they were measured.

        With a baseline, which the page Compare has, human labels are compared too. Damaged labels are reported.
        """
        first, latencies = next(iter(networks.values())), st.session_state.get("latencies", {})
        labels = human = None
        try:
            labels = results.evaluation_labels(first)
            if labels is not None and len(labels) != first.card.data.evaluation_images:
                labels = None
            human = get_dataset(first.dataset).human_labels() if baseline else None
        except KDError as error:
            access.show_error(error)
        rows = cached.result_rows(networks, labels, teacher, baseline or None, latencies, human)
        logits = {name: values for name, one in networks.items() if (values := one.logits_or_none()) is not None}
        stored = {name: values for name, values in logits.items() if labels is None or len(values) == len(labels)}
        return cls(networks, teacher, rows, labels, stored, baseline, runs)

    @property
    def roles(self) -> dict[str, str]:
        return {name: style.role_of(one, self.teacher) for name, one in self.networks.items()}

    @property
    def looks(self) -> list[style.Series]:
        return style.series(self.roles)

    @property
    def first(self) -> Network:
        """All have been evaluated on its images."""
        return next(iter(self.networks.values()))

    @property
    def has_images(self) -> bool:
        """Whether the evaluation images are those of a test split, with labels."""
        return self.first.card.evaluation_dataset is not None

    def explain_missing(self) -> str:
        """What gives missing labels, or why nothing does."""
        if self.has_images:
            return f"{say_how_to_get(self.first.dataset)}."
        evaluated = as_text(results.describe_evaluation(self.first))
        return f"Only known test splits have images and labels here; these networks were evaluated on {evaluated}."

    def require_labels(self) -> np.ndarray | None:
        """The labels for a section that needs them and stored logits; where one is missing, it says so."""
        if self.labels is None:
            st.info(f"This needs the labels of the evaluation images. {self.explain_missing()}")
        elif not self.logits:
            st.info("None of these networks has stored logits: the file test_logits.npz is missing or damaged.")
        return self.labels if self.logits else None


_FIRST = ("name", "accuracy", "to_baseline")
_TESTED = (*_FIRST, "p", "cross_entropy")
SUMMARIES = {
    0: _FIRST,
    30: _TESTED,
    40: (*_TESTED, "interval"),
    49: (*_TESTED, "interval", "calibration_error"),
    74: ("name", "method", *_TESTED[1:], "scaled_cross_entropy", "calibration_error", "interval"),
}
"""Columns of `MEASURES` on the first screen, by the least width of their place in letters' heights (rem): of these
tables the browser shows the one that fits (`app/style.css`).

The objective cannot be compared between rows, so it is not one.
"""
PAGE_SIZE = 12
"""Images shown at a time."""
HIDDEN = ("accuracy_interval", "to_scratch_baseline", "to_teacher", "scaling_temperature")
COLUMNS = [key for key in MEASURES if key not in HIDDEN]
"""Columns of the whole table: all but those that say the same as others."""


def show_summary(compared: Comparison) -> None:
    """The table's most important columns, accuracy first, as many as there is room for."""
    values = {key: [MEASURES[key].value(row) for row in compared.rows] for keys in SUMMARIES.values() for key in keys}
    known = {key: _configure(key, compared.baseline) for key, column in values.items() if set(column) - {None}}
    with st.container(key="summary", gap=None):
        for least, keys in SUMMARIES.items():
            shown = {key: values[key] for key in keys if key in known}
            with st.container(key=f"summary_{least}"):
                st.dataframe(
                    shown, hide_index=True, placeholder="–", key=f"compare_summary_{least}", height="content",
                    column_config={key: known[key] for key in shown},
                    alt="A row for each network with its accuracy and other numbers",
                )  # fmt: skip


def describe(section: str, compared: Comparison) -> str:
    """What a section beside the table says of these networks, in a sentence or two."""
    distilled = [row for row in compared.rows if row.to_scratch_baseline]
    best = [max(distilled, key=lambda row: row.accuracy)] if distilled else []
    if section == "Calibration":
        return verdicts.explain_calibration(compared.rows) or ""
    if section == "Learning curves":
        return verdicts.describe_training(compared.rows)
    if section == "Classes":
        return " ".join(verdicts.describe_changes(best))
    return verdicts.describe_gains(compared.rows)[0] if best else ""


def show_table(compared: Comparison) -> None:
    """The table and its files, and the button of a handout."""
    rows = compared.rows
    values = [{key: MEASURES[key].value(row) for key in COLUMNS} for row in rows]
    known = [key for key in COLUMNS if any(shown[key] is not None for shown in values)]
    st.dataframe(
        values, hide_index=True, placeholder="–", key="compare_table", column_order=known,
        column_config={key: _configure(key, compared.baseline) for key in COLUMNS},
        alt="Results table: a row for each network with objective, cross-entropy, accuracy, tests, agreement and cost",
    )  # fmt: skip
    st.caption(
        f"Evaluated on {as_text(rows[0].evaluated_on)}. The objective differs from cross-entropy because each method "
        f"minimizes a different sum. {as_text(verdicts.describe_training(rows))}"
    )
    if compared.labels is None:
        st.info(
            "The labels of these images are missing, so calibration, McNemar's p, confusion and accuracy by class are "
            "missing too. Objective, cross-entropy and accuracy come from each network's card. "
            + compared.explain_missing()
        )
    files = {"csv": measures.to_csv(results.to_records(rows)), "json": measures.to_json(rows)}
    downloads.show_files("kdexplorer-table", files | {"md": results.to_markdown(rows, compared.baseline)})
    downloads.show_network(compared.networks)
    teacher, networks = compared.teacher, compared.networks
    if teacher is not None:  # the handout has up to four networks beside it, its own students first
        others = [one for one, c in networks.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
        own = set(lineage.students_of(networks, teacher))
        students = sorted(others, key=lambda one: one not in own)[: network_picker.MAX_STUDENTS]
        shown = {teacher.name: teacher} | {one: networks[one] for one in students}
        layout.draw_popover("Handout", "handout_offer", lambda: downloads.show_handout(shown, compared=networks))


def _configure(key: str, baseline: str) -> Any:
    measure = MEASURES[key]
    if not measure.format:
        return st.column_config.TextColumn(measure.heading, help=measure.help or None, pinned=key == "name")
    text = f"{measure.help}, relative to {as_text(baseline)}" if key == "to_baseline" else measure.help
    number = "localized" if measure.format == "," else f"%{measure.format}"
    return st.column_config.NumberColumn(measure.heading, format=number, help=text or None)


def show_cost(compared: Comparison) -> None:
    """Accuracy against cost; latency is measured on request."""
    if not any(getattr(row, cost) for row in compared.rows for cost in evaluation.COSTS):
        st.info("Only stored logits are known of these networks, so they have no cost to compare.")
        return
    chart_view.show_figure("accuracy_cost", compared, about=("networks",))
    installed = {one.key for one in all_architectures()}
    missing = sorted({row.architecture for row in compared.rows if row.latency is None and row.parameters} & installed)
    if not missing or layout.is_alone():
        return
    if st.button(f"Measure latency ({', '.join(missing)})", key="latency", icon=":material/timer:"):
        for architecture in missing:
            with st.spinner(f"Timing {architecture} on this machine …"), turns.compute(access.visitor()):
                st.session_state.setdefault("latencies", {})[architecture] = latency(architecture)
        st.rerun()


def show_curves(compared: Comparison) -> None:
    """Learning curves: of networks from their cards, of runs that have not finished from their folders."""
    networks, roles = compared.networks, compared.roles
    curves, of_teacher = results.learning_curves(networks, compared.teacher)
    by_network: dict[str, Sequence[EpochMeasures | EpochMetrics]] = {**curves}
    epochs = max((checkpoint.card.epochs or 1 for checkpoint in networks.values()), default=1)
    finished = {(checkpoint.card.run, checkpoint.path.name) for checkpoint in networks.values()}
    for run_id in compared.runs:
        try:
            run = find_run(run_id)
            config = run.config()
        except KDError:
            continue
        rows = cached.run_metrics(run)[0]
        for student in config.students:
            if (run_id, student.name) not in finished:
                name = f"{student.name} ({run_id})"
                roles[name] = student.key
                by_network[name] = [row for row in rows if row.student == student.name]
        epochs = max(epochs, config.epochs)
        if not networks and of_teacher is None:
            of_teacher = run.teacher(len(find_dataset(config.dataset).classes))
    source = Curves(by_network, style.series(roles), epochs, of_teacher)
    if not learning_curves.list_measures(source):
        st.info("These networks have no stored learning curves. Train some on the Launch page and choose them above.")
        return
    chart_view.show_figure("learning_curves", source, about=("networks",))


def show_calibration(compared: Comparison) -> None:
    """How well confidence agrees with accuracy, as trained and after temperature scaling."""
    if (labels := compared.require_labels()) is None:
        return
    scaled = pick_toggle("scaled", "After temperature scaling", help="One temperature per network")
    logits = _scale_logits(compared.logits, labels) if scaled else compared.logits
    chart = evaluation.reliability(logits, labels, compared.looks, scaled)
    chart_view.draw(chart, f"Calibration{' after temperature scaling' if scaled else ''}", key="reliability")


@st.cache_data(max_entries=8, show_spinner=False)
def _scale_logits(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    return {name: metrics.scale_logits(own, labels)[0] for name, own in logits.items()}


def show_classes(compared: Comparison) -> None:
    """Accuracy class by class."""
    if (labels := compared.require_labels()) is not None:
        chart = evaluation.per_class(compared.logits, labels, compared.looks, compared.first.classes)
        chart_view.draw(chart, "Accuracy by class", key="per_class")


def show_confusion(compared: Comparison) -> None:
    """Which classes two networks confuse, and where they differ."""
    if (labels := compared.require_labels()) is None or (pair := _pick_pair(compared, "confusion")) is None:
        return
    classes, logits, limit = compared.first.classes, [compared.logits[name] for name in pair], CLASS_LIMIT
    grouped = get_dataset(compared.first.dataset).superclasses(classes)
    if grouped and pick_toggle("superclasses", "By superclass", True):
        classes, members = grouped
        logits = [metrics.sum_classes(metrics.softmax(one), members) for one in logits]
        labels, limit = members[labels], len(classes)
    names = {"difference": " minus ".join(pair), "first": pair[0], "second": pair[1]}
    place, words = st.columns([3, 2], gap="medium") if limit <= CLASS_LIMIT else (st.container(), st.container())
    with words:
        shown = pick_option("confusion", "Confusion of", names, names.__getitem__)
        own = [row for row in compared.rows if (one := row.to_scratch_baseline) and {row.name, one.other} <= {*pair}]
        st.markdown(as_text(" ".join(verdicts.describe_changes(own))))
    part = {"difference": slice(2), "first": slice(1), "second": slice(1, 2)}[shown]
    chart = class_maps.confusion_map(logits[part], labels, classes, pair[part], limit)
    chart_view.draw(chart, f"Confusion {names[shown]}", place=place, key="confusion_chart")


def show_disagreements(compared: Comparison) -> None:
    """The images for which two networks predict different classes, each with a link that opens it."""
    available = len(cached.gallery(compared.first.dataset)) if compared.has_images else 0
    if not available:
        st.info(compared.explain_missing())
        return
    if (pair := _pick_pair(compared, "disagreement")) is None:
        return
    groups = results.disagreements(compared.logits[pair[0]], compared.logits[pair[1]], compared.labels)
    only = {"first": f"Only {pair[0]} is right", "second": f"Only {pair[1]} is right"}
    titles = only | {"neither": "Neither is right", "all": "All"}
    kind = pick_option(
        "disagreement", "Images", filter(groups.__contains__, titles),
        lambda kind: f"{titles[kind]} ({len(groups[kind]):,})",
    )  # fmt: skip
    found = [index for index in groups[kind].tolist() if index < available]
    if not found:
        st.info("There is no such image" + (f" among the first {available:,}." if len(groups[kind]) else "."))
        return
    if len(found) < len(groups[kind]):
        st.caption(f"{len(found):,} of these are among the first {available:,} test images, which are available.")
    pages = -(-len(found) // PAGE_SIZE)
    page = st.pagination(pages, key=f"disagreement_page_{kind}") if pages > 1 else 1
    with st.container(horizontal=True, gap="medium"):
        for image in compared.first.test_images(found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]):
            with st.container(width=190, border=True):
                _show_image(compared, pair, image)


def _show_image(compared: Comparison, pair: tuple[str, str], image: Picture) -> None:
    """An image with both predictions, and a link that opens it on Soft labels."""
    classes, index = compared.first.classes, image.index
    st.image(data_url(enlarge_png(image.pixels_last, 160)), width=160, alt=f"Test image {index}")
    label = "" if compared.labels is None else f"**{as_text(classes[compared.labels[index]])}**, "
    st.markdown(f"{label}image {index}")
    for name in pair:
        probabilities = metrics.softmax(compared.logits[name][index])
        predicted = int(probabilities.argmax())
        st.caption(as_text(f"{name}: {classes[predicted]}, {format_share(probabilities[predicted])}"))
    teacher = {} if compared.teacher is None else {"of": compared.teacher.key}  # see `choices.translate_link`
    students = [key for name in pair if (key := compared.networks[name].key) not in teacher.values()]
    query = {"image": str(index), "students": ",".join(students)} | teacher
    layout.link_to("soft_labels", f"Open image {index}", query)


def show_inheritance(compared: Comparison) -> None:
    """The predictions of a student and its scratch baseline, by whether its own teacher is right."""
    if (labels := compared.require_labels()) is None:
        return
    students = {
        row.name: (row.to_scratch_baseline.other, row.to_teacher.other)
        for row in compared.rows
        if row.to_scratch_baseline and row.to_teacher
    }
    students = {name: pair for name, pair in students.items() if {name, *pair} <= compared.logits.keys()}
    if not students:
        st.info("Choose a distilled student, its scratch baseline and its teacher above.")
        return
    student = pick_option("inheritance", "Student", students)
    baseline, teacher = students[student]
    logits = {name: compared.logits[name] for name in (student, baseline, teacher)}
    counts = {name: count_inheritance(logits[name], logits[teacher], labels) for name in (student, baseline)}
    chart_view.draw(evaluation.inheritance(counts, teacher), f"Error inheritance {student}", key="inheritance")
    shown = logits[student], logits[baseline], logits[teacher]
    st.markdown(as_text(explain_inheritance((student, baseline, teacher), *shown, labels)))


def _pick_pair(compared: Comparison, key: str) -> tuple[str, str] | None:
    """Draws two choices among the networks with stored logits; the defaults are the best distilled and its baseline."""
    if len(rows := [row for row in compared.rows if row.name in compared.logits]) < 2:
        st.info("Choose at least two networks with stored logits.")
        return None
    options = [row.name for row in rows]
    best = max([row for row in rows if row.is_distilled] or rows, key=lambda row: row.accuracy)
    other = best.to_scratch_baseline.other if best.to_scratch_baseline else None
    other = other if other in options else next(name for name in options if name != best.name)
    left, right = st.columns(2)
    with left:
        first = pick_one(f"{key}_first", "First network", options, best.name)
    with right:
        second = pick_one(f"{key}_second", "Second network", options, other)
    if first == second:
        st.info("Choose two different networks.")
        return None
    return first, second
