"""The button that takes a page home as one file; it is made when the button is pressed, out of the pages' caches."""

from __future__ import annotations

import streamlit as st

from kdexplorer.checkpoints import Checkpoint
from kdexplorer.handout.order import Order
from kdexplorer.handout.sources import Picture, choose
from kdexplorer.ui import cached
from kdexplorer.web import assemble, export

COUNT = 12


def button(
    networks: dict[str, Checkpoint],
    first: list[Picture],
    temperature: float,
    alpha: float,
    compared: dict[str, Checkpoint] | None = None,
) -> None:
    """Draws it: these pictures first, then test images that have something to tell, `COUNT` in all.

    Where the networks can run in a browser, a switch beside it puts them in.
    """
    teacher, *students = networks.values()

    def make() -> bytes:
        pictures = choose(COUNT, teacher, students, cached.sources(), first)
        return cached.handout(Order(networks, pictures, compared or {}, temperature, alpha, live=live))

    with st.container(horizontal=True, vertical_alignment="center"):
        button = st.container(width="content")
        live = export.runs_in_browser(teacher) and st.toggle(
            f"with the networks in it (+ {_megabytes(assemble.able(networks)):.1f} MB)",
            key="handout_live",
            help="Then the file answers to pictures of the reader's own and to the camera too, without a server: "
            f"{', '.join(assemble.able(networks))}.",
        )
    button.download_button(
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


def _megabytes(networks: dict[str, Checkpoint]) -> float:
    """What these networks add to a file: two bytes a weight, written as base64."""
    return sum(2 * checkpoint.card["parameters"] * 4 / 3 for checkpoint in networks.values()) / 1e6
