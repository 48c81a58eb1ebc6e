"""The button that takes a page home as one file; it is made when the button is pressed, out of the pages' caches."""

from __future__ import annotations

import streamlit as st

from kdexplorer.checkpoints import Checkpoint
from kdexplorer.handout.order import Order
from kdexplorer.handout.sources import Picture, choose
from kdexplorer.ui import cached

COUNT = 12


def button(
    networks: dict[str, Checkpoint],
    first: list[Picture],
    temperature: float,
    alpha: float,
    compared: dict[str, Checkpoint] | None = None,
) -> None:
    """Draws it: these pictures first, then test images that have something to tell, `COUNT` in all."""

    def make() -> bytes:
        teacher, *students = networks.values()
        pictures = choose(COUNT, teacher, students, cached.sources(), first)
        return cached.handout(Order(networks, pictures, compared or {}, temperature, alpha))

    st.download_button(
        "Take it home",
        make,
        "knowledge-distillation.html",
        "text/html",
        key="handout",
        on_click="ignore",
        icon=":material/download:",
        help=f"One file with up to {COUNT} pictures and these networks' answers: it opens in any browser, its sliders "
        "alive, and asks no server for anything. Making it takes a few seconds.",
    )
