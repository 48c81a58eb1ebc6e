"""The filters of the test images by the networks' predictions and by class, the same on every page."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kdexplorer.analysis import image_filters
from kdexplorer.analysis.image_filters import Predictions
from kdexplorer.app.state import caches, choices
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.checkpoints import Checkpoint

ANY_CLASS = "Any class"
_FILTERS = "filters_shown"


def pick(teacher: Checkpoint, students: list[Checkpoint], dataset: str) -> tuple[list[int], bool]:
    """Draws the filters; returns the numbers of the test images that pass, in order, and whether they have changed.

    Without an image the page ends.
    """
    _, labels, indices = caches.gallery(dataset)
    predictions = caches.gallery_predictions(teacher, students, dataset, indices, labels)
    if predictions is None:
        return indices.tolist(), False
    left, right = st.columns(2)
    with left:
        name = _pick("filter", "Show", image_filters.available_filters(predictions))
    with right:
        chosen = _pick("class", "Class", [ANY_CLASS, *teacher.classes])
    order = _select(name, chosen, predictions, teacher)
    part = ""
    if caches.test_split(dataset) is None:
        part = f" These are the first of the test split; download {get_dataset(dataset).label} on Launch to see all."
    st.caption(f"{len(order):,} of {len(labels):,} images: {image_filters.FILTERS[name].description}.{part}")
    if not len(order):
        st.info("No image passes this filter. Choose another filter or class.")
        st.stop()
    before, st.session_state[_FILTERS] = st.session_state.get(_FILTERS, (name, chosen)), (name, chosen)
    return indices[order].tolist(), before != (name, chosen)


def choose(teacher: Checkpoint, students: list[Checkpoint], dataset: str) -> list[int]:
    """As `pick`, without widgets; empty where no image passes the filters that were chosen on a page."""
    _, labels, indices = caches.gallery(dataset)
    predictions = caches.gallery_predictions(teacher, students, dataset, indices, labels)
    if predictions is None:
        return indices.tolist()
    name = _choose("filter", image_filters.available_filters(predictions))
    chosen = _choose("class", [ANY_CLASS, *teacher.classes])
    return indices[_select(name, chosen, predictions, teacher)].tolist()


def _select(name: str, chosen: str, predictions: Predictions, teacher: Checkpoint) -> np.ndarray:
    label = None if chosen == ANY_CLASS else teacher.classes.index(chosen)
    return image_filters.filter_images(name, predictions, label)


def _choose(name: str, options: list[str]) -> str:
    """What a link or a page has chosen, else the first."""
    chosen = choices.choose_one(name, options, options[0], kind=name)
    choices.publish(name, chosen if choices.is_chosen(name) else None)
    return chosen


def _pick(name: str, label: str, options: list[str]) -> str:
    return choices.pick_one(name, label, options, options[0], kind=name)
