"""The picture that all pages share, where only the next and the previous one can be chosen."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from kdexplorer.analysis.results import dataset_of
from kdexplorer.app.parts import picture, picture_filters
from kdexplorer.app.state import caches, choices
from kdexplorer.datasets import get_dataset
from kdexplorer.images.picture import Picture
from kdexplorer.runs.checkpoints import Checkpoint


def show(teacher: Checkpoint, students: list[Checkpoint], label: bool = True) -> Picture:
    """Draws the picture and the buttons for others; a photo that was chosen on a page stays.

    The pictures are those that the page's filters leave. Without `label` the caption does not give it away.
    """
    enlarged, caption = st.empty(), st.empty()
    dataset = dataset_of(teacher)
    photo = st.session_state.get("photo") if st.session_state.get("source") in picture.SOURCES[1:] else None
    if photo is not None:
        fit = st.session_state.get("fit", next(iter(photo)))
        chosen = Picture(photo[fit].transpose(2, 0, 1), dataset=dataset)
    else:
        chosen = _choose_test_image(teacher, students, dataset)
    picture.show(chosen if label else replace(chosen, label=None, index=None), teacher, enlarged, caption)
    if not label:
        caption.empty()
    return chosen


def _choose_test_image(teacher: Checkpoint, students: list[Checkpoint], dataset: str) -> Picture:
    pixels, labels, indices = caches.gallery(dataset)
    if not len(labels):
        st.info(f"There are no images to choose from. Download {get_dataset(dataset).label} on the Launch page.")
        st.stop()
    ranks = {int(index): rank for rank, index in enumerate(indices)}
    shown = picture_filters.choose(teacher, students, dataset) or list(ranks)
    index = picture.read_index(ranks)
    if index is None:
        index = picture.choose_first(teacher, students, dataset, shown)
    if index not in shown:
        shown = list(ranks)
    choices.put("image", index)
    with st.container(horizontal=True, gap="xsmall", key="picture_controls"):
        picture.draw_steps(shown, index)
    return picture.make_test_image(teacher, pixels[ranks[index]], index, int(labels[ranks[index]]))
