"""Attention: where teacher and students look, stage by stage, on one image and over many."""

import streamlit as st

from kdexplorer.app.attention import attention_study, attention_view
from kdexplorer.app.parts import layout, network_picker, picture
from kdexplorer.app.state.choices import pick_option

layout.header(
    "attention",
    "The mean over a stage's channels is a map of **where** the network is active. Feature-based distillation trains "
    "the student to reproduce the teacher's maps.",
)
teacher, students = network_picker.pick_networks(count=4)
names = network_picker.short_names([teacher, *students])
left, right = layout.first_screen()
with left:
    image = picture.pick(teacher, students)

with right:
    control, scale = st.columns([1, 1], gap="xsmall")
    with control, st.container(horizontal=True, gap="small"):
        mode = pick_option("colors", "Colors show", ["map", "difference"], label_visibility="collapsed")
        with st.popover("Scale", icon=":material/tune:", width="content"):
            power = pick_option(
                "power", "Power", [1, 2],
                help="1: mean over channels, as in the lab. 2: mean of squares, as in the paper",
            )  # fmt: skip
            shared = pick_option("scale", "Scale", ["shared", "per map"]) == "shared"

    rows = attention_view.read_maps(image, teacher, students, power)
    with scale:
        attention_view.draw_scale(rows, mode, shared)
    attention_view.draw_grid(rows, image, mode, shared)
st.caption(
    "Each map is scaled to unit length, as in the loss, and multiplied by √(H·W): 1 is attention spread evenly. On "
    "the shared scale the brightest 1 % of a map may be clipped. Correlation: of the centered maps. Hover over a map "
    "for cosine and MSE, which the loss uses: MSE = 2 (1 − cosine) / (H·W), so a small stage has more weight. β is the "
    "weight that the student was trained with, or 1000 if it was trained without attention transfer; the percentage is "
    "the stage's share of the loss."
)

st.header("Over many images", divider="grey")
attention_study.show(teacher, dict(zip(names[1:], students, strict=True)), image.dataset, power)
