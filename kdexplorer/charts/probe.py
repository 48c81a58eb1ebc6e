"""What a method asks of a student: the push on each logit, where in the picture, and which images are similar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts.common import Spec, data, describe_selection, select_classes, spec, title, tooltips
from kdexplorer.charts.sizes import em
from kdexplorer.charts.style import look_of
from kdexplorer.images import color_maps
from kdexplorer.images.render import enlarge_png

_UP, _DOWN = "#009E73", "#D55E00"


def push_bars(
    push: np.ndarray, teacher: np.ndarray, classes: Sequence[str], label: int | None, method: str, student: str
) -> Spec:
    """The push `-dL/dz` of a method on each of a student's logits for one image.

    Args:
        push: `[K]`.
        teacher: the teacher's logits `[K]`, whose largest select the classes where there are many.
        classes: their names.
        label: the hard label, marked in its class's name; or None.
        method: the method's label.
        student: its name.
    """
    shown = select_classes(teacher, label)
    names = [classes[index] + (" (label)" if index == label else "") for index in shown]
    rows = [
        {"class": name, "push": round(float(push[index]), 6), "up": bool(push[index] > 0)}
        for name, index in zip(names, shown, strict=True)
    ]
    bars = (
        alt.Chart(data(rows))
        .mark_bar()
        .encode(
            x=alt.X("push:Q", title="push on the logit, −∂L/∂z (← lower · raise →)"),
            y=alt.Y("class:N", sort=names, title=None),
            color=alt.condition("datum.up", alt.value(_UP), alt.value(_DOWN)),
            tooltip=tooltips(("class:N", "class"), ("push:Q", "push", "+.4f")),
        )
    )
    selection = describe_selection(len(shown), len(classes), "the teacher's most probable")
    heading = title(f"{method}: the push on each logit of {student}", selection)
    up, down = classes[int(push.argmax())], classes[int(push.argmin())]
    described = f"Bars: how strongly {method} pushes each logit of {student}; most up: {up}, most down: {down}."
    return spec([bars], heading, described, 27 * len(shown))


def change_maps(changes: Sequence[np.ndarray | None], photo: np.ndarray, method: str, student: str) -> Spec:
    """Where in the picture a method's gradient changes the outputs of a student's stages, a map for each that it uses.

    Args:
        changes: `[H, W]` by stage, or None.
        photo: uint8 `[32, 32, 3]`.
        method: the method's label.
        student: its name.
    """
    used = [(number, map_) for number, map_ in enumerate(changes, start=1) if map_ is not None]
    picture = color_maps.data_url(enlarge_png(photo, 192))
    cells = []
    for column, (number, map_) in enumerate(used):
        url = color_maps.data_url(color_maps.map_png(map_, 0.0, max(float(map_.max()), 1e-30), "viridis"))
        share = float(np.sort(map_, axis=None)[::-1][: max(1, map_.size // 4)].sum() / max(map_.sum(), 1e-30))
        text = f"stage {number}: {map_.shape[0]} × {map_.shape[1]}"
        cells.append({"column": column, "url": url, "photo": picture, "text": text, "share": f"{share:.0%}"})
    cell = f"max(0, min(11 * em, width / {max(len(used), 1)} - 8))"
    slider = alt.binding_range(min=0, max=1, step=0.01, name="Opacity of the maps, 0 to 1")
    params = [
        alt.param(name="opacity", value=0.65, bind=slider),
        alt.param(name="cell", expr=cell),
    ]
    base = alt.Chart(data(cells)).transform_calculate(left="datum.column * (cell + 8)")
    x = alt.X("left:Q", scale=None, axis=None)
    image: dict[str, Any] = {"width": alt.expr("cell"), "height": alt.expr("cell"), "align": "left", "baseline": "top"}
    lines = [("text:N", 1), ("note:N", 2.2)]
    layers = [
        base.mark_image(**image, smooth=False).encode(x=x, y=alt.value(0), url="photo:N"),
        base.mark_image(**image, smooth=False, opacity=alt.expr("opacity")).encode(x=x, y=alt.value(0), url="url:N"),
        *(
            base.transform_calculate(note="'brightest quarter: ' + datum.share")
            .mark_text(align="left", color="currentColor")
            .encode(x=x, y=alt.value(alt.expr(f"cell + {below} * em")), text=field)
            for field, below in lines
        ),
    ]
    heading = title(
        f"{method}: where the gradient changes {student}", "bright: a large gradient on the stage's output there"
    )
    described = f"Maps over the image, one for each stage that {method} uses: the size of its gradient at each place."
    return spec(layers, heading, described, "cell + 3 * em", *params)


def relation_maps(relations: np.ndarray, images: np.ndarray, name: str, role: str, limits: tuple[float, float]) -> Spec:
    """The relations of all pairs of images as a map, with the pictures on both axes.

    Args:
        relations: `[B, B]`.
        images: uint8 `[B, 3, 32, 32]`.
        name: the network's.
        role: its role, see `style.role_of`.
        limits: of the color scale, the same for both networks.
    """
    count = len(relations)
    rows = [{"i": i, "j": j, "value": round(float(relations[i, j]), 4)} for i in range(count) for j in range(count)]
    urls = [color_maps.data_url(enlarge_png(image.transpose(1, 2, 0), 32)) for image in images]
    pictures = [{"i": position, "url": url} for position, url in enumerate(urls)]
    size = f"width / {count + 1}"
    params = [alt.param(name="cell", expr=size)]
    order = list(range(-1, count))
    x = alt.X("j:O", scale=alt.Scale(domain=order, paddingInner=0.05), axis=None)
    y = alt.Y("i:O", scale=alt.Scale(domain=order, paddingInner=0.05), axis=None)
    color = alt.Color(
        "value:Q",
        scale=alt.Scale(scheme="viridis", domain=list(limits), clamp=True),
        legend=alt.Legend(orient="bottom", title=None, gradientLength=em(190), tickCount=4),
    )
    tips = tooltips(("i:O", "image"), ("j:O", "and image"), ("value:Q", "relation", ".3f"))
    thumb: dict[str, Any] = {"width": alt.expr("cell * 0.92"), "height": alt.expr("cell * 0.92"), "smooth": False}
    first = alt.X(datum=-1, type="ordinal", axis=None)
    layers = [
        alt.Chart(data(rows)).mark_rect().encode(x=x, y=y, color=color, tooltip=tips),
        alt.Chart(data(pictures)).mark_image(**thumb).encode(x=first, y=y, url="url:N"),
        alt.Chart(data(pictures))
        .transform_calculate(j="datum.i")
        .mark_image(**thumb)
        .encode(x=x, y=alt.Y(datum=-1, type="ordinal", axis=None), url="url:N"),
    ]
    heading = title(f"{look_of(role).mark} {name}")
    described = f"Map of {count} by {count} images: how {name} relates every two of them."
    return spec(layers, heading, described, "width", *params)
