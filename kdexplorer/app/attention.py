"""Attention: where teacher and students look, stage by stage, on one image and over many."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import attention_similarity
from kdexplorer.analysis.attention_similarity import StageSimilarity, attention_weight
from kdexplorer.analysis.measures import to_markdown
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, network_picker, picture
from kdexplorer.app.server import access, turns
from kdexplorer.app.state import cached, choices
from kdexplorer.app.state.cached import Network
from kdexplorer.charts import attention as charts
from kdexplorer.charts.attention import Maps, NetworkMaps
from kdexplorer.charts.style import role_of
from kdexplorer.errors import CheckpointError
from kdexplorer.images.picture import Picture
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.training.estimate import format_duration

FIGURES = {"map": "attention", "difference": "attention_difference"}
"""What colors show, and the figure that does so."""


def show() -> None:
    """The maps of one picture, and their similarity over many."""
    teacher, students, image, right = picture.first_screen(
        "attention",
        "The mean of a stage's absolute values over its channels is a map of **where** the network is active. "
        "Feature-based distillation trains the student to reproduce the teacher's maps.",
        needs="stages",
    )
    with right:
        with st.container(key="map_controls", horizontal=True, gap="small", vertical_alignment="bottom"):
            first = st.container(width="content")
            mode = choices.pick_option("colors", "Colors show", FIGURES)
            scale = st.popover("Scale", icon=":material/tune:", width="content")
            st.button(
                "Full screen", key="full_screen", icon=":material/fullscreen:",
                on_click=st.query_params.update, args=({layout.FIGURE: FIGURES[mode]},),
            )  # fmt: skip
        source = pick_maps(image, teacher, students, scale)
        chart_view.show_figure(FIGURES[mode], source, "Attention", choices_in=first)
    st.caption(
        "Each map is scaled to unit length, as in the loss, and multiplied by √(H·W): 1 is attention spread evenly. "
        "On the shared scale the brightest 1 % of a map may be clipped. Correlation: of the maps less their means; 1 "
        "is the same pattern, 0 none. Hover over a map for what the loss uses: the cosine, and the stage's share of "
        "the loss, β · MSE, where MSE = 2 (1 − cosine) / (H·W), so a small stage has more weight; β is the student's "
        "own weight, or 1000 if it was trained without attention transfer."
    )

    st.header("Over many images", divider="grey")
    drawn = {one.name for one in source.maps}  # another was reported above
    show_study(teacher, [one for one in students if one.name in drawn], image.dataset, source.power)


def pick_maps(picture: Picture, teacher: Network, students: list[Network], place: Any) -> Maps:
    """What the figures are drawn from; draws the choice of how in `place`.

    A network that cannot be used is reported and left out. Without the teacher's maps the page ends.
    """
    with place:
        power = choices.pick_option(
            "power", "Power", (1, 2),
            help="1: mean of absolute values over channels, as in the lab. 2: mean of squares, as in the paper",
        )  # fmt: skip
        is_shared = choices.pick_option("scale", "Scale", ("shared", "per map")) == "shared"
        smooth = choices.pick_toggle("smooth", "Interpolate between the maps' pixels")

    def maps_of(network: Network) -> list[np.ndarray]:
        if not network.computes:
            raise CheckpointError(f"{network.name} has no attention maps: only its logits are stored.")
        return network.predict(picture.pixels).maps[power]

    found = network_picker.ask_each([teacher, *students], maps_of)
    maps = [NetworkMaps(one.name, role_of(one, teacher), own, attention_weight(one)) for one, own in found]
    return Maps(maps, picture.pixels_last, is_shared, smooth, power)


def show_study(teacher: Network, students: list[Network], dataset: str, power: int) -> None:
    """The section: how many images, the comparison, the chart, the conclusion and the table."""
    pixels = cached.gallery(dataset).images
    comparable, others = attention_similarity.split_by_stages(teacher, students)
    for checkpoint in others:
        st.caption(f"{as_text(checkpoint.name)} is left out: it does not have as many stages as the teacher.")
    if not len(pixels):
        st.info("There are no test images of these networks' data set to compare on.")
        return
    if not comparable:
        st.info("Choose a student with as many stages as its teacher to compare the two over many images.")
        return
    sizes = [size for size in (200, 1_000, 10_000) if size < len(pixels)] + [len(pixels)]
    sample = pixels[: choices.pick_option("sample", "Sample", sizes, "first {:,} test images".format, sizes[:2][-1])]
    _measure(teacher, comparable, sample)
    rows = attention_similarity.build_rows(teacher, comparable, sample, power)
    known = {row.name for row in rows}
    missing = [one.name for one in comparable if one.name not in known]
    if missing:
        st.caption(f"Not compared yet: {as_text(', '.join(missing))}. Each comparison is computed once and stored.")
    if rows:
        roles = {one.name: role_of(one, teacher) for one in comparable}
        place, text = st.columns([3, 2], gap="large")
        chart = charts.similarity_by_stage(rows, roles, len(sample))
        chart_view.draw(chart, f"Attention similarity {len(sample)} images", place=place)
        text.header("Does the student's attention match the teacher's?")
        text.markdown(describe_similarity(rows, {one.name: one for one in comparable}, teacher))
        st.markdown(to_markdown(attention_similarity.tabulate([replace(row, name=as_text(row.name)) for row in rows])))


def _measure(teacher: Checkpoint, students: Sequence[Checkpoint], sample: np.ndarray) -> None:
    """Compares the students whose results are not stored yet, where this visitor may and wants to. Raises KDError."""
    stored = attention_similarity.load_stored(teacher, students, sample)
    missing = [student for student in students if stored[student.path] is None]
    if not missing:
        return
    size, count = len(sample), "1 student" if len(missing) == 1 else f"{len(missing)} students"
    if size > 1_000 and not access.is_presenter():
        st.caption(f"Comparing {count} on {size:,} images takes minutes: only the presenter can start this.")
        return
    place, begin = st.empty(), time.monotonic()
    if not place.button(f"Compare {count} on {size:,} images", type="primary"):
        return
    bar, done = place.progress(0.0, "Comparing attention maps …"), 0.0

    def show_place(before: int) -> None:
        others = f" for {before} other computation{'s' if before > 1 else ''}" if before else ""
        bar.progress(done, f"Comparing attention maps: waiting{others}")

    key = "attention", teacher.sha256, *sorted(student.sha256 for student in missing), size
    with turns.compute(access.visitor(), key, show_place) as give_way:

        def show_progress(share: float) -> None:
            nonlocal done
            done, left = share, format_duration((time.monotonic() - begin) * (1 - share) / share)
            bar.progress(share, f"Comparing attention maps: {share:.0%}, {left} left")
            give_way()

        attention_similarity.measure(teacher, missing, sample, show_progress)
    place.empty()


def describe_similarity(
    rows: Sequence[StageSimilarity], students: Mapping[str, Checkpoint], teacher: Checkpoint
) -> str:
    """The conclusion at the last stage: the student trained on the teacher's stages against its scratch baseline."""
    last = max(row.stage for row in rows)
    final = [row for row in rows if row.stage == last]
    closest = max(final, key=lambda row: row.correlation)
    chance = f"chance, another image's map: {closest.chance:.3f}; without the mean map of all images: {closest.own:.3f}"
    chance = "" if np.isnan(closest.chance) else f" ({chance})"
    words = (
        f"The most similar at stage {last} is **{as_text(closest.name)}** with a mean correlation of "
        f"{closest.correlation:.3f}{chance}. Their cosine, which the loss uses, is {closest.cosine:.3f}."
    )
    for row in sorted(final, key=lambda row: -row.correlation):
        paired, card = row.to_scratch_baseline, students[row.name].card
        uses_stages = card.objective is not None and "stages" in card.objective.needs
        if paired is not None and uses_stages and teacher.sha256 in card.teacher_hashes:
            verdict = {1: "Yes", 0: "No clear difference", -1: "No"}[paired.sign]
            return (
                f"**{verdict}.** At stage {last}, the mean correlation of the maps with those of "
                f"{as_text(teacher.name)} is **{row.correlation:.3f}** for {as_text(row.name)}, which was trained on "
                f"the teacher's stages, and {row.correlation - paired.estimate:.3f} for its scratch baseline: a paired "
                f"difference of {paired.nats} (95 % interval over images). {words}"
            )
    return words
