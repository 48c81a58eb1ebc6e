"""The gallery: test images to choose from, with filters that follow from stored predictions."""

from __future__ import annotations

import random

import numpy as np
import streamlit as st

from kdexplorer.analysis import image_filters
from kdexplorer.app import caches, url_state
from kdexplorer.datasets import get_dataset
from kdexplorer.images import render
from kdexplorer.runs.checkpoints import Checkpoint

THUMBNAILS = 10
ANY_CLASS = "Any class"


def pick(teacher: Checkpoint, students: list[Checkpoint], dataset: str) -> tuple[np.ndarray, int, int]:
    """Draws the gallery; returns the chosen image uint8 `[3, 32, 32]`, its position in the test split and its label.

    Where no image can be chosen, the page says what to do and ends.
    """
    pixels, labels, indices = caches.gallery(dataset)
    if not len(labels):
        st.info(
            f"There are no sample images. Download {get_dataset(dataset).label} on the Launch page, or upload a photo."
        )
        st.stop()
    ranks = {int(index): rank for rank, index in enumerate(indices)}

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text[:9]) not in ranks:
            raise ValueError(f"there is no test image '{text[:20]}'")
        return int(text[:9])

    index = url_state.get("image", None, parse)
    order = _filter(teacher, students, dataset, indices, labels)
    positions = {int(indices[rank]): position for position, rank in enumerate(order)}
    if index not in positions or st.session_state.pop("filter_changed", False):
        index = int(indices[order[0]])
        url_state.choices()["image"] = index
    if url_state.is_chosen("image"):
        url_state.publish("image", str(index))
    _show_buttons(indices[order], positions[index])
    _show_thumbnails(pixels, indices, order, positions[index])
    return pixels[ranks[index]], index, int(labels[ranks[index]])


def _filter(
    teacher: Checkpoint, students: list[Checkpoint], dataset: str, indices: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Draws the filters; returns the positions of the images that pass, in order. Without one the page ends."""
    predictions = caches.gallery_predictions(teacher, students, dataset, indices, labels)
    if predictions is None:
        return np.arange(len(labels))
    left, right = st.columns(2)
    with left:
        name = _pick("filter", "Show", image_filters.available_filters(predictions))
    with right:
        options = [ANY_CLASS, *teacher.classes]
        chosen = _pick("class", "Class", options)
    label = None if chosen == ANY_CLASS else teacher.classes.index(chosen)
    order = image_filters.filter_images(name, predictions, label)
    samples = ""
    if caches.test_split(dataset) is None:
        samples = f" These are samples; download {get_dataset(dataset).label} on the Launch page to see all."
    st.caption(f"{len(order):,} of {len(labels):,} images: {image_filters.FILTERS[name].description}.{samples}")
    if not len(order):
        st.info("No image passes this filter. Choose another filter or class.")
        st.stop()
    return order


def _pick(name: str, label: str, options: list[str]) -> str:
    """A filter, the same on every page."""
    kept, key = url_state.choices().get(name), f"pick_{name}"
    st.session_state[key] = kept if kept in options else options[0]
    return st.selectbox(label, options, key=key, on_change=_remember_filter, args=(name, key))


def _remember_filter(name: str, key: str) -> None:
    url_state.keep(name, key)
    st.session_state["filter_changed"] = True


def _choose(index: int) -> None:
    url_state.put("image", index)


def _show_buttons(shown: np.ndarray, position: int) -> None:
    steps = {
        "Previous": shown[position - 1],
        "Next": shown[(position + 1) % len(shown)],
        "Random": random.choice(shown),
    }
    with st.container(horizontal=True):
        for label, index in steps.items():
            st.button(label, key=f"pick_{label}", on_click=_choose, args=(int(index),))


def _show_thumbnails(pixels: np.ndarray, indices: np.ndarray, order: np.ndarray, position: int) -> None:
    first = position // THUMBNAILS * THUMBNAILS
    with st.container(horizontal=True, gap="small"):
        for number, rank in enumerate(order[first : first + THUMBNAILS], start=first):
            index = int(indices[rank])
            with st.container(width=72, gap=None):
                st.image(render.enlarge_png(pixels[rank].transpose(1, 2, 0), 64), width=72, alt=f"Test image {index}")
                st.button(
                    f"{index}",
                    key=f"pick_thumb_{index}",
                    type="primary" if number == position else "secondary",
                    width="stretch",
                    on_click=_choose,
                    args=(index,),
                )
