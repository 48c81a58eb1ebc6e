"""Two networks against each other on Compare: what each takes for what, and the images that they answer differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import comparison, images, metrics
from kdexplorer.ui import cached, charts_compare
from kdexplorer.ui.compare_sections import Compared

SHOWN = 12
"""Images at a time."""


def confusion(compared: Compared) -> None:
    """What is taken for what by two networks, and where they differ."""
    pair = _two_networks(compared.logits, compared.table, "confusion") if compared.have_labels() else None
    if pair is None:
        return
    labels, classes = compared.labels, compared.classes
    first, second = (compared.logits[name] for name in pair)
    made = [charts_compare.confusion_map(compared.logits[name], labels, classes, name) for name in pair]
    made.append(charts_compare.confusion_difference(first, second, labels, classes, pair))
    for position, (column, chart) in enumerate(zip(st.columns(3), made, strict=True)):
        with column:
            st.vega_lite_chart(chart, key=f"confusion_{position}")


def disagreements(compared: Compared) -> None:
    """The images that two networks answer differently, each with a link that opens it."""
    pair = _two_networks(compared.logits, compared.table, "differ")
    if pair is None:
        return
    labels, classes = compared.labels, compared.classes
    first, second = (compared.logits[name] for name in pair)
    groups = comparison.disagreements(first, second, labels)
    words = {
        "first": f"Only {pair[0]} is right",
        "second": f"Only {pair[1]} is right",
        "neither": "Neither is right",
        "all": "All",
    }
    kinds = [kind for kind in words if kind in groups]
    kind = st.segmented_control(
        "Images", kinds, format_func=lambda k: f"{words[k]} ({len(groups[k]):,})", default=kinds[0], key="differ_kind",
        required=True, wrap=True,
    )  # fmt: skip
    pixels, _, indices = cached.gallery(cached.dataset_of(compared.networks[pair[0]]))
    place = {int(index): rank for rank, index in enumerate(indices)}
    shown = [int(index) for index in groups[kind or kinds[0]] if int(index) in place]
    if not shown:
        st.info("There is no such image" + (" among the sample images here." if labels is None else "."))
        return
    pages = -(-len(shown) // SHOWN)
    page = st.pagination(pages, key=f"differ_page_{kind}") if pages > 1 else 1
    teacher = compared.teacher[0] if compared.teacher else None
    query = {"students": ",".join(compared.keys[name] for name in pair if name != teacher)}
    if teacher:
        query["teacher"] = compared.keys[teacher]
    with st.container(horizontal=True, gap="medium"):
        for index in shown[(page - 1) * SHOWN : page * SHOWN]:
            with st.container(width=190, border=True):
                picture = images.enlarged_png(pixels[place[index]].transpose(1, 2, 0), 160)
                st.image(picture, width=160, alt=f"Test image {index}")
                true = "" if labels is None else f"**{classes[labels[index]]}**, "
                st.markdown(f"{true}image {index}")
                for name, values in zip(pair, (first, second), strict=True):
                    probabilities = np.exp(metrics.log_softmax(values[index]))
                    answer = int(probabilities.argmax())
                    st.caption(f"{name}: {classes[answer]}, {probabilities[answer]:.0%}")
                st.page_link(
                    "pages/soft_labels.py", label=f"Open image {index}", query_params={"image": str(index)} | query
                )


def _two_networks(logits: dict[str, np.ndarray], table: list[dict[str, Any]], key: str) -> tuple[str, str] | None:
    """Two choices among the networks with stored answers; the best distilled and its twin are the first guess."""
    options = list(logits)
    if len(options) < 2:
        st.info("Choose at least two networks with stored answers.")
        return None
    rows = [row for row in table if row["name"] in logits]
    best = max(comparison.distilled_of(rows) or rows, key=lambda row: row["accuracy"])
    twin = comparison.twin_of(best, rows) or next(row for row in rows if row is not best)
    left, right = st.columns(2)
    with left:
        first = st.selectbox("First network", options, index=options.index(best["name"]), key=f"{key}_first")
    with right:
        second = st.selectbox("Second network", options, index=options.index(twin["name"]), key=f"{key}_second")
    if first == second:
        st.info("Choose two different networks.")
        return None
    return first, second
