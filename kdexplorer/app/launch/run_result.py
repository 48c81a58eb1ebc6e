"""How a run ended: what its students gained, one figure, and where to look next."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.verdicts import describe_gains
from kdexplorer.app import navigation
from kdexplorer.app.navigation import ARROW
from kdexplorer.app.parts import chart_view, downloads, network_picker
from kdexplorer.app.parts.text import as_text
from kdexplorer.app.state import data
from kdexplorer.app.state.networks import all_networks, evaluation_labels, result_rows
from kdexplorer.charts import evaluation
from kdexplorer.config import RunConfig
from kdexplorer.runs.checkpoints import Checkpoint, run_checkpoints
from kdexplorer.runs.run_folder import Run


def show(run: Run, config: RunConfig, roles: dict[str, str]) -> None:
    """The results of the students that have finished, nothing where there are none; `roles` by their names."""
    found = {checkpoint.name: checkpoint for checkpoint in run_checkpoints(run)}
    if not found:
        return
    rows = result_rows(found, evaluation_labels(next(iter(found.values()))))
    with st.container(border=True):
        st.header("Results")
        for sentence in describe_gains(rows):
            name, _, rest = sentence.partition(": ")
            st.markdown(f"**{as_text(name)}**: {as_text(rest)}")
        chart_view.draw(evaluation.accuracies(rows, roles), "Results", key="result_chart")
        if len(rows) > 1:
            st.caption("Each network was trained once: the tests do not cover how much another seed would change.")
        _show_links(run, config, found, rows)


def _show_links(run: Run, config: RunConfig, found: dict[str, Checkpoint], rows: list[ResultRow]) -> None:
    """Links that open the students on the other pages, and the handout."""
    names = [f"{run.run_id}/{name}" for name in found]
    known = all_networks()
    teacher = network_picker.find_name(config.teacher, known) if config.teacher else None
    query = {"teacher": teacher} if teacher else {}
    students = query | {"students": ",".join(names[: network_picker.MAX_STUDENTS])}
    with st.container(horizontal=True):
        compared = names if teacher is None else _with_teacher(names, teacher, known)
        navigation.link_to("compare", "Compare them", query | {"networks": ",".join(compared)}, ARROW)
        if teacher:
            navigation.link_to("soft_labels", "Soft labels", students, ARROW)
            navigation.link_to("attention", "Attention", students, ARROW)
            for row in rows:
                _show_images(run, found, row, query)
    if teacher:
        downloads.show_handout({teacher: known[teacher]} | dict(list(found.items())[: network_picker.MAX_STUDENTS]))


def _show_images(run: Run, found: dict[str, Checkpoint], row: ResultRow, query: dict[str, str]) -> None:
    """A link to the first image that only a distilled student gets right, and one that only its baseline does."""
    if row.to_scratch_baseline is None:
        return
    baseline = row.to_scratch_baseline.other
    pair = {"students": f"{run.run_id}/{baseline},{run.run_id}/{row.name}"}
    for better, worse in ((row.name, baseline), (baseline, row.name)):
        index = _first_difference(found[better], found[worse])
        if index is not None:
            label = f"Soft labels: only {better} is right"
            navigation.link_to("soft_labels", label, query | pair | {"image": str(index)}, ARROW)


def _first_difference(better: Checkpoint, worse: Checkpoint) -> int | None:
    """The first test image of the gallery that one network predicts correctly and the other does not, or None."""
    labels, (first, second) = evaluation_labels(better), (better.logits_or_none(), worse.logits_or_none())
    if labels is None or first is None or second is None or not len(labels) == len(first) == len(second):
        return None
    shown = len(data.gallery(results.dataset_of(better))[2])
    differs = (first.argmax(axis=1) == labels) & (second.argmax(axis=1) != labels)
    positions = np.flatnonzero(differs[:shown])
    return int(positions[0]) if len(positions) else None


def _with_teacher(names: list[str], teacher: str, found: Mapping[str, Checkpoint]) -> list[str]:
    """The students with their teacher before them, if all were evaluated on the same images and fit one table."""
    together = {name: found[name] for name in (teacher, *names) if name in found}
    return list(together) if len(results.group_by_evaluation(together)) == 1 else names
