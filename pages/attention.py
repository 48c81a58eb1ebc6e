"""Attention: where teacher and students look, stage by stage, on one image and over many."""

import streamlit as st

from kdexplorer.analysis.attention_similarity import attention_weight
from kdexplorer.app import attention_study, caches, chart_view, layout, network_picker, picture
from kdexplorer.app.pickers import pick_option
from kdexplorer.app.plain import show_error
from kdexplorer.charts import attention
from kdexplorer.charts.attention import NetworkMaps
from kdexplorer.charts.style import role_of
from kdexplorer.errors import KDError

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
        mode = pick_option("Colors show", ["map", "difference"], label_visibility="collapsed")
        with st.popover("Scale", icon=":material/tune:", width="content"):
            power = pick_option(
                "Power", [1, 2], help="1: mean over channels, as in the lab. 2: mean of squares, as in the paper"
            )
            shared = pick_option("Scale", ["shared", "per map"]) == "shared"

    rows = []
    for checkpoint, name in zip([teacher, *students], names, strict=True):
        try:
            maps = caches.predict(checkpoint, image.pixels)[1][power]
        except KDError as error:
            show_error(error)
            if checkpoint is teacher:
                st.stop()
            continue
        rows.append(NetworkMaps(name, role_of(checkpoint, teacher), maps, attention_weight(checkpoint)))

    palette, opacity = ("difference", 0.85) if mode == "difference" else ("viridis", 0.65)
    low, high = attention.color_limits(attention.relative_maps(rows, mode), mode)
    with scale, st.container(key="color_scale"):
        colors = attention.scale_bar(low, high, palette, mode, shared)
        chart_view.draw(colors, "Attention scale", savable=False)
    if mode == "difference" and len(rows) == 1:
        st.info("Choose a student to see how it differs from the teacher.")
    grid = attention.grid(rows, image.pixels_last, mode, shared, opacity, "viridis")
    chart_view.draw(grid, "Attention", chart_view.OF_IMAGE, scale=colors)
st.caption(
    "Each map is scaled to unit length, as in the loss, and multiplied by √(H·W): 1 is attention spread evenly. On "
    "the shared scale the brightest 1 % of a map may be clipped. Correlation: of the centered maps. Hover over a map "
    "for cosine and MSE, which the loss sees: MSE = 2 (1 − cosine) / (H·W), so a small stage has more weight. β is the "
    "weight that the student was trained with, the lab's 1000 without this term; in brackets: the stage's share."
)

st.header("Over many images", divider="grey")
attention_study.show(teacher, dict(zip(names[1:], students, strict=True)), image.dataset, power)
