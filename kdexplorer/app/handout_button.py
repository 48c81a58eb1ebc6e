"""The button that saves a page as one HTML file; the file is built when the button is pressed."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app import result_caches
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.sources import Picture, choose_pictures
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.web import assemble, export

COUNT = 12


def show(
    networks: dict[str, Checkpoint],
    first: list[Picture],
    temperature: float,
    alpha: float,
    compared: dict[str, Checkpoint] | None = None,
) -> None:
    """Draws the button for a handout of these networks, the teacher first.

    Args:
        networks: by the name that they are shown under.
        first: pictures that come before the chosen test images; together there are `COUNT`.
        temperature, alpha: the sliders' initial values.
        compared: the rows of the results table, the networks if not given.
    """
    teacher, *students = networks.values()

    def build() -> bytes:
        pictures = choose_pictures(COUNT, teacher, students, result_caches.sources(), first)
        return result_caches.handout(HandoutRequest(networks, pictures, compared or {}, temperature, alpha, live=live))

    with st.container(horizontal=True, vertical_alignment="center"):
        button = st.container(width="content")
        live = False
        if export.runs_in_browser(teacher):
            included = assemble.select_networks(networks)
            live = st.toggle(
                f"include the networks (+ {_megabytes(included):.1f} MB)",
                key="handout_live",
                help="The file can then classify the reader's own pictures and the camera's, without a server. "
                f"It includes {', '.join(included)}.",
            )
    button.download_button(
        "Save as handout",
        build,
        "knowledge-distillation.html",
        "text/html",
        key="handout",
        on_click="ignore",
        icon=":material/download:",
        help=f"One HTML file with up to {COUNT} pictures and these networks' predictions. It works offline in any "
        "browser, with its sliders. Building it takes a few seconds.",
    )


def _megabytes(networks: dict[str, Checkpoint]) -> float:
    """What these networks add to a file: two bytes a weight, as base64."""
    return sum(2 * checkpoint.card.parameters * 4 / 3 for checkpoint in networks.values()) / 1e6
