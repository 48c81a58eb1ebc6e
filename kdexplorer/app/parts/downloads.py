"""Buttons that save what a page shows: tables as files, and the page as a handout."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from urllib.parse import urlsplit

import streamlit as st

from kdexplorer import web
from kdexplorer.analysis import programs
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import network_picker
from kdexplorer.app.parts.picture import say_how_to_get
from kdexplorer.app.server import access, turns
from kdexplorer.app.state import choices
from kdexplorer.app.state.cached import KEYS, Network, gallery
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import KDError
from kdexplorer.handout.request import HandoutRequest, choose_pictures
from kdexplorer.images.picture import Picture
from kdexplorer.story import open_lecture
from kdexplorer.studies.experiments import list_verdicts
from kdexplorer.vote.questions import Question
from kdexplorer.vote.store import open_store

FORMATS = {"csv": ("CSV", "text/csv"), "json": ("JSON", "application/json"), "md": ("Markdown", "text/markdown")}
COUNT = 12
"""Pictures of a handout."""


def show_files(name: str, texts: dict[str, str]) -> None:
    """Draws a button for each text, a key of `FORMATS`, which saves it in a file of that name."""
    with st.container(horizontal=True, key=f"files_{name}"):
        for ending, text in texts.items():
            (label, mime), file = FORMATS[ending], f"{name}.{ending}"
            st.download_button(f"Download {label}", text, file, mime, key=file, on_click="ignore", icon=layout.DOWNLOAD)


def show_network(networks: Mapping[str, Network]) -> None:
    """Draws the choice of a network and a format, and the button that makes and saves the file.

    Nothing where no network computes. Streamlit does not tell a visitor why a file could not be made.
    """
    networks, visitor = {name: one for name, one in networks.items() if one.computes}, access.visitor()
    if not networks:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="take_away"):
        name = st.selectbox("Network to take away", networks, key="take_network", width=260)
        formats = [one for one in programs.FORMATS if one != "onnx" or programs.has_onnx()]
        chosen = st.selectbox("Format", formats, key="take_format", width=150)

        def make() -> bytes:
            with turns.compute(visitor):
                return _export(networks[name], chosen)

        st.download_button(
            "Save the network", make, f"{name.rpartition('/')[2]}.{chosen}", "application/octet-stream",
            key="take", on_click="ignore", icon=layout.DOWNLOAD,
            help="pt2 and onnx run without KD Explorer: pixels from 0 to 1 in, logits out. safetensors has the weights "
            "in float32.",
        )  # fmt: skip


_export = st.cache_data(max_entries=2, show_spinner=False, hash_funcs=KEYS)(programs.export)


def show_handout(
    networks: Mapping[str, Network], first: Sequence[Picture] = (), compared: Mapping[str, Network] | None = None
) -> None:
    """Draws what a handout of these networks shall include, the teacher first, and the button that builds it.

    The pictures in `first` come before test images that are chosen, together `COUNT`. `compared` are the rows of the
    results table, the networks if not given. A network that cannot be used is reported and left out; without the
    teacher or a picture there is no button: Streamlit does not tell a visitor why a file could not be made.
    """
    teacher = next(iter(networks.values()))
    found = network_picker.ask_each([*networks.values()], lambda one: one.network(), must_have_first=False)
    networks = {one.name: one for one, _ in found}
    if teacher.name not in networks:
        return
    if not first and not len(gallery(teacher.dataset)):
        st.info(f"There are no images for a handout. {say_how_to_get(teacher.dataset)}.")
        return
    try:
        labels = Cifar10().human_labels()
    except KDError as error:
        access.show_error(error)
        return
    students = [one for one, _ in found[1:]]
    closed, address = open_store().closed(), _own_address()
    temperature, alpha, visitor = choices.pinned("T"), choices.pinned_by_visitor("alpha"), access.visitor()

    def build() -> bytes:
        pictures = choose_pictures(COUNT, teacher, students, first, gallery(teacher.dataset))
        request = HandoutRequest(
            networks, pictures, compared or {}, temperature, alpha, live=live, experiments=experiments,
            votes=closed if votes else (), order=tuple(open_lecture().sections()), address=address, human_labels=labels,
        )  # fmt: skip
        return build_handout(request, visitor)

    live = False
    if web.runs_in_browser(teacher):
        included = web.select_networks(networks)
        megabytes = sum(2 * c.card.parameters * 4 / 3 for c in included.values()) / 1e6  # two bytes each, as base64
        live = st.toggle(
            f"Include the networks (+ {megabytes:.1f} MB)",
            key="handout_live", persist_state="session",
            help="The file can then classify the reader's own pictures and the camera's, without a server. "
            f"It includes {as_text(', '.join(included))}.",
        )  # fmt: skip
    experiments = st.toggle(
        "Include the experiments", key="handout_experiments", help="What was asked, expected and found there.",
        persist_state="session",
    )  # fmt: skip
    votes = bool(closed) and st.toggle(
        "Include the audience's votes", key="handout_votes", help="The totals of closed questions.",
        persist_state="session",
    )  # fmt: skip
    st.download_button(
        "Save as handout", build, "knowledge-distillation.html", "text/html",
        key="handout", on_click="ignore", icon=layout.DOWNLOAD,
        help=f"One HTML file with up to {COUNT} pictures and these networks' predictions. It works offline in any "
        "browser, with its sliders. Building it takes a few seconds, and longer while something trains.",
    )  # fmt: skip


def build_handout(request: HandoutRequest, visitor: turns.Visitor) -> bytes:
    """`handout.page.build` as a file's bytes, built in this visitor's turns. Raises KDError.

    Who waits in Streamlit's cache for another's same file must hold no turn, which that one may wait for: hence the
    key, and a file of the presenter's own.
    """
    key = *request.networks, *request.compared, request.temperature, *(one.data_url for one in request.pictures)
    with turns.compute(visitor, key) as give_way:
        verdicts = [claim for _, claim in list_verdicts()] if request.experiments else []
        return _build_handout(request, date.today().isoformat(), repr(verdicts), visitor.is_presenter, give_way)


@st.cache_data(
    max_entries=4, show_spinner=False, hash_funcs=KEYS | {HandoutRequest: vars, Question: Question.model_dump_json}
)
def _build_handout(
    request: HandoutRequest, today: str, verdicts: str, of_presenter: bool, _give_way: Callable[[], object]
) -> bytes:
    """The file, which states the date and perhaps the experiments' verdicts."""
    from kdexplorer.handout import page

    return page.build(request, _give_way).encode()


def _own_address() -> str:
    """Where others find this application; empty where only this machine does."""
    address = layout.server_url()
    return "" if urlsplit(address).hostname in access.LOCAL else address + layout.with_base("")
