"""The attention maps of one picture, network by network."""

from __future__ import annotations

import streamlit as st

from kdexplorer.analysis.attention_similarity import attention_weight
from kdexplorer.app.parts import chart_view, network_picker
from kdexplorer.app.state import caches
from kdexplorer.charts import attention
from kdexplorer.charts.attention import NetworkMaps
from kdexplorer.charts.style import role_of
from kdexplorer.images.picture import Picture
from kdexplorer.runs.checkpoints import Checkpoint

SCALE = "Attention scale"


def read_maps(picture: Picture, teacher: Checkpoint, students: list[Checkpoint], power: int = 1) -> list[NetworkMaps]:
    """The networks' maps, the teacher first; a network that cannot be used is reported and left out.

    `power` is that of the activations, see `attention_similarity`. Without the teacher's maps the page ends.
    """
    networks = dict(zip(network_picker.short_names([teacher, *students]), [teacher, *students], strict=True))
    found = network_picker.compute_each(networks, lambda one: caches.predict(one, picture.pixels)[1][power])
    return [
        NetworkMaps(name, role_of(networks[name], teacher), maps, attention_weight(networks[name]))
        for name, maps in found.items()
    ]


def draw_scale(rows: list[NetworkMaps], mode: str, shared: bool) -> None:
    """The bar that explains the colors of `draw_grid`."""
    low, high = attention.color_limits(attention.relative_maps(rows, mode), mode)
    with st.container(key="color_scale"):
        chart_view.draw(attention.scale_bar(low, high, mode, shared), SCALE, savable=False)


def draw_grid(rows: list[NetworkMaps], picture: Picture, mode: str, shared: bool) -> None:
    """The maps over the picture; `mode` is `map` or `difference` (to the teacher)."""
    if mode == "difference" and len(rows) == 1:
        st.info("Choose a student to see how it differs from the teacher.")
    opacity = 0.85 if mode == "difference" else 0.65
    grid = attention.grid(rows, picture.pixels_last, mode, shared, opacity)
    chart_view.draw(grid, "Attention", chart_view.OF_IMAGE, scale=SCALE)
