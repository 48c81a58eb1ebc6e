"""The attention maps of one picture, network by network."""

from __future__ import annotations

import streamlit as st

from kdexplorer.analysis.attention_similarity import attention_weight
from kdexplorer.app import caches, chart_view, network_picker
from kdexplorer.app.picture import ChosenPicture
from kdexplorer.app.plain import show_error
from kdexplorer.charts import attention
from kdexplorer.charts.attention import NetworkMaps
from kdexplorer.charts.common import Spec
from kdexplorer.charts.style import role_of
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import Checkpoint


def read_maps(
    picture: ChosenPicture, teacher: Checkpoint, students: list[Checkpoint], power: int = 1
) -> list[NetworkMaps]:
    """The networks' maps, the teacher first; a network that cannot be used is reported and left out.

    `power` is that of the activations, see `attention_similarity`. Without the teacher's maps the page ends.
    """
    rows = []
    networks = [teacher, *students]
    for checkpoint, name in zip(networks, network_picker.short_names(networks), strict=True):
        try:
            maps = caches.predict(checkpoint, picture.pixels)[1][power]
        except KDError as error:
            show_error(error)
            if checkpoint is teacher:
                st.stop()
            continue
        rows.append(NetworkMaps(name, role_of(checkpoint, teacher), maps, attention_weight(checkpoint)))
    return rows


def draw_scale(rows: list[NetworkMaps], mode: str, shared: bool) -> None:
    """What the colors measure."""
    with st.container(key="color_scale"):
        chart_view.draw(_scale(rows, mode, shared), "Attention scale", savable=False)


def _scale(rows: list[NetworkMaps], mode: str, shared: bool) -> Spec:
    palette = "difference" if mode == "difference" else "viridis"
    low, high = attention.color_limits(attention.relative_maps(rows, mode), mode)
    return attention.scale_bar(low, high, palette, mode, shared)


def draw_grid(rows: list[NetworkMaps], picture: ChosenPicture, mode: str, shared: bool) -> None:
    """The maps over the picture; `mode` is `map` or `difference` (to the teacher)."""
    if mode == "difference" and len(rows) == 1:
        st.info("Choose a student to see how it differs from the teacher.")
    opacity = 0.85 if mode == "difference" else 0.65
    grid = attention.grid(rows, picture.pixels_last, mode, shared, opacity, "viridis")
    chart_view.draw(grid, "Attention", chart_view.OF_IMAGE, scale=_scale(rows, mode, shared))
