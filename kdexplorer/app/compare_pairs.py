"""Two networks against each other on Compare: their confusions, and the images for which they predict differently."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kdexplorer.analysis import metrics, results
from kdexplorer.app import caches, navigation
from kdexplorer.app.compare_sections import Comparison
from kdexplorer.charts import class_maps
from kdexplorer.images import render

PAGE_SIZE = 12
"""Images shown at a time."""


def show_confusion(comparison: Comparison) -> None:
    """Which classes two networks confuse, and where they differ."""
    labels = comparison.require_labels()
    pair = _pick_pair(comparison, "confusion") if labels is not None else None
    if pair is None or labels is None:
        return
    classes = comparison.classes
    first, second = (comparison.logits[name] for name in pair)
    maps = [class_maps.confusion_map(comparison.logits[name], labels, classes, name) for name in pair]
    maps.append(class_maps.confusion_difference(first, second, labels, classes, pair))
    for number, (column, chart) in enumerate(zip(st.columns(3), maps, strict=True)):
        with column:
            st.vega_lite_chart(chart, key=f"confusion_{number}")


def show_disagreements(comparison: Comparison) -> None:
    """The images for which two networks predict different classes, each with a link that opens it."""
    pair = _pick_pair(comparison, "disagreement")
    if pair is None:
        return
    groups = results.disagreements(comparison.logits[pair[0]], comparison.logits[pair[1]], comparison.labels)
    titles = {
        "first": f"Only {pair[0]} is right",
        "second": f"Only {pair[1]} is right",
        "neither": "Neither is right",
        "all": "All",
    }
    kinds = [kind for kind in titles if kind in groups]
    kind = st.segmented_control(
        "Images",
        kinds,
        format_func=lambda kind: f"{titles[kind]} ({len(groups[kind]):,})",
        default=kinds[0],
        key="disagreement_kind",
        required=True,
        wrap=True,
    )
    pixels, _, indices = caches.gallery(results.dataset_of(comparison.networks[pair[0]]))
    ranks = {int(index): rank for rank, index in enumerate(indices)}
    found = [int(index) for index in groups[kind or kinds[0]] if int(index) in ranks]
    if not found:
        st.info("There is no such image" + (" among the sample images." if comparison.labels is None else "."))
        return
    pages = -(-len(found) // PAGE_SIZE)
    page = st.pagination(pages, key=f"disagreement_page_{kind}") if pages > 1 else 1
    with st.container(horizontal=True, gap="medium"):
        for index in found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]:
            with st.container(width=190, border=True):
                _show_image(comparison, pair, index, pixels[ranks[index]])


def _show_image(comparison: Comparison, pair: tuple[str, str], index: int, pixels: np.ndarray) -> None:
    """An image with both predictions, and a link that opens it on Soft labels."""
    classes = comparison.classes
    st.image(render.enlarge_png(pixels.transpose(1, 2, 0), 160), width=160, alt=f"Test image {index}")
    label = "" if comparison.labels is None else f"**{classes[comparison.labels[index]]}**, "
    st.markdown(f"{label}image {index}")
    for name in pair:
        probabilities = metrics.softmax(comparison.logits[name][index])
        predicted = int(probabilities.argmax())
        st.caption(f"{name}: {classes[predicted]}, {probabilities[predicted]:.0%}")
    teacher = comparison.teacher[0] if comparison.teacher else None
    query = {"image": str(index), "students": ",".join(comparison.keys[name] for name in pair if name != teacher)}
    if teacher:
        query["teacher"] = comparison.keys[teacher]
    navigation.link_to("soft_labels", f"Open image {index}", query)


def _pick_pair(comparison: Comparison, key: str) -> tuple[str, str] | None:
    """Draws two choices among the networks with stored logits; the defaults are the best distilled and its baseline."""
    rows = [row for row in comparison.rows if row.name in comparison.logits]
    if len(rows) < 2:
        st.info("Choose at least two networks with stored logits.")
        return None
    options = [row.name for row in rows]
    best = max([row for row in rows if row.is_distilled] or rows, key=lambda row: row.accuracy)
    other = best.scratch_baseline if best.scratch_baseline in options else None
    other = other or next(name for name in options if name != best.name)
    left, right = st.columns(2)
    with left:
        first = st.selectbox("First network", options, index=options.index(best.name), key=f"{key}_first")
    with right:
        second = st.selectbox("Second network", options, index=options.index(other), key=f"{key}_second")
    if first == second:
        st.info("Choose two different networks.")
        return None
    return first, second
