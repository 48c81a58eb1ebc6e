"""Attention: where teacher and students look, stage by stage, on one image and over many."""

import streamlit as st

from kdexplorer.analysis.attention_similarity import attention_weight
from kdexplorer.app import attention_study, caches, network_picker, picture
from kdexplorer.app.pickers import pick_option
from kdexplorer.app.plain import show_error
from kdexplorer.charts import attention
from kdexplorer.charts.attention import NetworkMaps
from kdexplorer.charts.style import role_of
from kdexplorer.errors import KDError

st.title("Attention")
st.markdown(
    "The mean over a stage's channels is a map of **where** the network is active. Feature-based distillation trains "
    "the student to reproduce the teacher's maps. Does it? Look at the maps, then at the numbers."
)

teacher, students = network_picker.pick_networks(count=4)
names = network_picker.short_names([teacher, *students])
left, right = st.columns([2, 3], gap="large")
with left:
    above = st.container()
    image = picture.pick(teacher, students)
with above:
    picture.show(image, teacher)

with right:
    first, second, third = st.columns(3)
    with first:
        mode = pick_option("Colors show", ["map", "difference"], help="difference: student minus teacher")
    with second:
        power = pick_option(
            "Power", [1, 2], help="1: mean over channels, as in the lab. 2: mean of squares, as in the paper"
        )
    with third:
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
    st.vega_lite_chart(attention.scale_bar(low, high, palette, mode, shared), width="stretch")
    grid = attention.grid(rows, image.pixels_last, mode, shared, opacity, "viridis")
    st.vega_lite_chart(grid, width="stretch")
    st.caption(
        "Each map is scaled to unit length, as in the loss, and multiplied by √(H·W): 1 is attention spread evenly. On "
        "the shared scale the brightest 1 % of a map may be clipped. Correlation: of the centered maps. Cosine and MSE "
        "are what the loss sees: MSE = 2 (1 − cosine) / (H·W), so a small stage has more weight. β is the weight that "
        "the student was trained with, the lab's 1000 without this term; in brackets: the stage's share."
    )

st.header("Over many images", divider="grey")
attention_study.show(teacher, dict(zip(names[1:], students, strict=True)), image.dataset, power)
