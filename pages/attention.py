"""Attention: where teacher and students look, stage by stage, on the chosen image and over the test split."""

import time

import numpy as np
import pandas as pd
import streamlit as st

from kdexplorer import attention_study, estimate, relatives
from kdexplorer.config import METHODS
from kdexplorer.errors import KDError
from kdexplorer.ui import cached, charts, charts_attention, charts_soft, choice, door, picture

ASKED = ("feature", "combined")  # methods that ask a student for its teacher's maps
FREE = 1_000  # images that any visitor may have compared; more take minutes of the server: the presenter's
SAMPLES = (200, 1_000, 10_000)

choice.through_the_door()
st.title("Attention")
st.markdown(
    "Average a stage's channels and a map remains: **where** the network is active. Feature-based distillation asks "
    "the student for the teacher's maps. Does it get them? Look, then read the numbers."
)
st.html(charts_soft.SLIDER_STYLE)

teacher, students = choice.pick_networks(default=METHODS)
names = dict(zip([c.path for c in [teacher, *students]], choice.short_names([teacher, *students]), strict=True))
left, right = st.columns([2, 3], gap="large")
with left:
    above = st.container()
    image = picture.pick(teacher, students)
with above:
    picture.show(image, teacher)

with right:
    first, second, third = st.columns(3)
    mode = first.segmented_control(
        "Colours show",
        ["map", "difference"],
        default="map",
        required=True,
        help="difference: student minus teacher",
        wrap=True,
    )
    power = second.segmented_control(
        "Power",
        [1, 2],
        default=1,
        required=True,
        help="1: mean over channels, the lab's. 2: mean of squares, the paper's",
        wrap=True,
    )
    shared = (
        third.segmented_control("Scale", ["shared", "per map"], default="shared", required=True, wrap=True) == "shared"
    )

    rows = []
    teacher_maps = None
    for checkpoint in [teacher, *students]:
        try:
            maps = cached.answer(checkpoint, image.pixels)[1][power]
        except KDError as error:
            st.error(str(error))
            if checkpoint is teacher:
                st.stop()
            continue
        name, role = names[checkpoint.path], charts.role(checkpoint, teacher)
        rows.append(charts_attention.row(name, role, maps, teacher_maps))
        teacher_maps = teacher_maps or maps

    colours = "difference" if mode == "difference" else "viridis"
    opacity = 0.85 if mode == "difference" else 0.65
    low, high = charts_attention.limits(charts_attention.shown_values(rows, mode), mode)
    st.vega_lite_chart(charts_attention.scale_bar(low, high, colours, mode, shared), width="stretch")
    st.vega_lite_chart(
        charts_attention.grid(rows, image.for_the_eye, mode, shared, opacity, "viridis", beta=1000.0), width="stretch"
    )
    st.caption(
        "Each map is scaled to length 1, as the loss does; shown times √(H·W), so 1 means attention spread evenly. "
        "On the shared scale the brightest 1 % of a map may be clipped. "
        "β = 1000; in brackets the stage's share of β · loss. MSE = 2 (1 − cosine) / (H·W): a small stage weighs more."
    )

st.header("Over many images", divider="grey")
pixels, _, indices = cached.gallery(image.dataset)
sizes = [size for size in SAMPLES if size < len(indices)] + [len(indices)]
comparable, others = attention_study.split(teacher, students)
for checkpoint in others:
    st.caption(f"{checkpoint.name} is left out: its stages are not the teacher's.")
if not comparable or not len(indices):
    st.info("Choose a student to compare with its teacher over many images.")
    st.stop()
size = st.segmented_control(
    "Sample",
    sizes,
    default=sizes[min(1, len(sizes) - 1)],
    required=True,
    format_func="first {:,} test images".format,
    wrap=True,
)
sample = pixels[:size]
try:
    found = attention_study.stored(teacher, comparable, sample)
    missing = [c for c in comparable if found[c.path] is None]
    whom = "1 student" if len(missing) == 1 else f"{len(missing)} students"
    may = size <= FREE or door.is_presenter()
    if missing and not may:
        st.caption(f"To measure {whom} on {size:,} images takes minutes of this server: it is the presenter's.")
    if missing and may and (size <= 20 or st.button(f"Measure {whom} on {size:,} images", type="primary")):
        bar, begin = st.progress(0.0, "Comparing attention maps …"), time.monotonic()

        def tell(done):
            """What is done, and what is left at this pace."""
            left = estimate.words((time.monotonic() - begin) * (1 - done) / done)
            bar.progress(done, f"Comparing attention maps: {done:.0%}, {left} left")

        attention_study.measure(teacher, missing, sample, cached.network, tell)
        bar.empty()
        found = attention_study.stored(teacher, comparable, sample)
except KDError as error:
    st.error(str(error))
    st.stop()

lines = [
    {"network": names[c.path], "role": charts.role(c, teacher), **row}
    for c in comparable
    if found[c.path] is not None
    for row in attention_study.summarise(found[c.path], power)
]
if not lines:
    st.caption("Not measured yet. The result is kept, so it is computed once.")
    st.stop()
for checkpoint in comparable:
    if found[checkpoint.path] is None:
        st.caption(f"{names[checkpoint.path]} is not shown: not measured yet.")

chart, words = st.columns([3, 2], gap="large")
chart.vega_lite_chart(charts_attention.similarity_by_stage(lines, size), width="stretch")
with words:
    st.subheader("Does it look where the teacher looks?")
    last = max(line["stage"] for line in lines)
    final = {line["network"]: line for line in lines if line["stage"] == last}
    best = max(final.values(), key=lambda line: line["cosine"])
    twins = relatives.twins({names[c.path]: c for c in comparable})
    asked = (c for c in comparable if relatives.is_student_of(c, teacher) and relatives.method(c) in ASKED)
    told = [final[names[c.path]] for c in asked if names[c.path] in final and twins.get(names[c.path]) in final]
    if told:
        most = max(told, key=lambda line: line["cosine"])
        alone = final[twins[most["network"]]]
        gain = most["cosine"] - alone["cosine"]
        answer = "Yes" if gain > 0.02 else "Hardly" if gain > 0 else "No"
        st.markdown(
            f"**{answer}.** At stage {last}, the mean cosine to {teacher.name} is **{most['cosine']:.3f}** for "
            f"{most['network']}, which was asked for the teacher's maps, and **{alone['cosine']:.3f}** for "
            f"{alone['network']}, which never saw the teacher: {gain:+.3f}."
        )
    st.markdown(f"Closest at stage {last}: **{best['network']}**, {best['cosine']:.3f}.")
    table = pd.DataFrame(lines)
    st.dataframe(
        pd.DataFrame(
            {
                "network": table["network"],
                "stage": table["stage"],
                "cosine": np.round(table["cosine"], 4),
                "MSE": table["mse"].map("{:.2e}".format),
                "share of loss": table["share"].map("{:.0%}".format),
            }
        ),
        hide_index=True,
        height="content",
    )
