"""What a loss asks of a student: the lab's gradient with its sliders, and any method's push, places and relations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts import style
from kdexplorer.charts.common import (
    INK,
    NetworkLogits,
    Spec,
    data,
    describe_selection,
    fill_shape,
    join_parts,
    select_classes,
    slider_value,
    spec,
    tooltips,
)
from kdexplorer.charts.soft_labels import ROW
from kdexplorer.charts.style import area, em, look_of
from kdexplorer.charts.temperature import log_softmax, temperature_params
from kdexplorer.images.picture import data_url, enlarge_png, map_png

_HARD_LABEL = "hard label"
_SOURCES = [_HARD_LABEL, style.TEACHER]
_PUSH = "push on the logit, −∂L/∂z (← lower · raise →)"


def gradient_push(
    teacher: NetworkLogits,
    student: NetworkLogits,
    classes: Sequence[str],
    label: int | None,
    temperature: float,
    alpha: float,
) -> Spec:
    """The push `-dL/dz` on each of the student's logits for one image, by the hard label and by the teacher.

    `L = alpha · T² KL + (1 - alpha) · CE`; see `analysis.metrics.gradient_on_logits`.

    Args:
        teacher: the network whose largest logits select the classes, see `select_classes`.
        student: the network whose logits are pushed.
        classes: the names of all K classes.
        label: the hard label, or None where there is none: then only the teacher pushes.
        temperature: where its slider starts.
        alpha: where its slider starts, 0 to 1.
    """
    shown = select_classes(teacher.logits, label)
    own, others = student.shifted, teacher.shifted
    rows = [
        {"class": name, "source": source, "ds": float(own[index]), "dt": float(others[index])}
        | {"y": float(index == label), "has": float(label is not None), "hidden": index not in shown}
        for source in _SOURCES
        for index, name in enumerate(classes)
    ]
    selection = describe_selection(len(shown), len(classes), "the teacher's most probable")
    return fill_shape(
        _gradient_shape(tuple(classes[index] for index in shown)),
        {"rows": rows},
        {
            "logT": slider_value(temperature),
            "alpha": alpha,
            "subtitle": join_parts("◆ their sum", selection),
        },
        f"Bars: how strongly the hard label and {teacher.name} push each logit of {student.name} for this image, and a "
        "diamond for their sum. Sliders set temperature and alpha.",
    )


@lru_cache(maxsize=8)
def _gradient_shape(classes: tuple[str, ...]) -> Spec:
    """The chart of these classes without its rows."""
    order = [" ", "  ", *classes]  # the first lines have the sizes
    base = _pushes()
    text = (
        "'L = ' + format(alpha, '.2f') + ' · T² KL + ' + format(1 - alpha, '.2f') + ' · CE at T = ' + format(T, '.2f')"
    )
    slider = alt.binding_range(min=0, max=1, step=0.01, name="α, weight of the teacher's term, 0 to 1")
    layers = [*_bars(base.transform_filter("!datum.hidden"), order), _sizes(base)]
    params = [*temperature_params(), alt.param(name="alpha", value=0, bind=slider)]
    return spec(layers, alt.expr(text), "", "", ROW * len(order), *params)


def _pushes() -> alt.Chart:
    """Rows with both pushes at the sliders' T and alpha; the softmax is over all classes, also those not shown."""
    base = log_softmax(
        alt.Chart(alt.NamedData("rows")), "source", log_s="datum.ds / T", log_t="datum.dt / T", log_1="datum.ds"
    )
    return base.transform_calculate(
        byteacher="alpha * T * (exp(datum.log_t) - exp(datum.log_s))",
        bylabel="datum.has * (1 - alpha) * (datum.y - exp(datum.log_1))",
    ).transform_calculate(
        push=f"datum.source == '{style.TEACHER}' ? datum.byteacher : datum.bylabel",
        total="datum.byteacher + datum.bylabel",
    )


def _class_axis(field: str, order: Sequence[str], **options: Any) -> alt.Y:
    axis = alt.Axis(labelOverlap=False)
    return alt.Y(f"{field}:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=axis, **options)


def _bars(base: alt.Chart, order: Sequence[str]) -> list[alt.Chart]:
    """A bar for each source and class, and a diamond for the sum."""
    x = alt.X("push:Q", title=_PUSH, axis=alt.Axis(tickCount=6))
    y = _class_axis("class", order)
    colors = alt.Scale(domain=_SOURCES, range=[style.look_of(style.HUMAN).color, style.look_of(style.TEACHER).color])
    bars = base.mark_bar().encode(
        x=x,
        y=y,
        yOffset=alt.YOffset("source:N", sort=_SOURCES),
        color=alt.Color("source:N", scale=colors, title="push by", legend=alt.Legend(orient="top", title=None)),
        tooltip=tooltips(
            ("class:N", "class"), ("source:N", "source"), ("push:Q", "push", "+.4f"), ("total:Q", "total", "+.4f")
        ),
    )
    total = base.transform_filter(f"datum.source == '{style.TEACHER}'").mark_point(
        shape="diamond", size=area(110), filled=True, color=INK, opacity=1
    )
    return [bars, total.encode(x=alt.X("total:Q", title=_PUSH), y=y)]


def _sizes(base: alt.Chart) -> alt.Chart:
    """In the first lines: the size of each push and of their sum, which is smaller where they are opposed.

    A size is the L1 norm over all classes.
    """
    words = (
        "'Size of the push: label ' + format(datum.label, '.2f') + ', teacher ' + format(datum.teacher, '.2f')"
        " + ', sum ' + format(datum.sum, '.2f') + '\\nopposite on ' + datum.opposed + ' of ' + datum.count + ' classes'"
    )
    return (
        base.transform_filter(f"datum.source == '{style.TEACHER}'")  # one row for each class
        .transform_calculate(
            a="abs(datum.bylabel)",
            b="abs(datum.byteacher)",
            c="abs(datum.total)",
            d="datum.bylabel * datum.byteacher < 0 ? 1 : 0",
        )
        .transform_aggregate(label="sum(a)", teacher="sum(b)", sum="sum(c)", opposed="sum(d)", count="count()")
        .transform_calculate(words=words)
        .mark_text(color=INK, align="center", baseline="top", lineBreak="\n", lineHeight=em(20))
        .encode(x=alt.XValue(alt.expr("width / 2")), y=alt.YValue(0), text="words:N")
    )


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
    bars = alt.Chart(data(rows)).mark_bar().encode(
        x=alt.X("push:Q", title=_PUSH, axis=alt.Axis(tickCount=6)),
        y=alt.Y("class:N", sort=names, title=None),
        color=alt.condition("datum.up", alt.value(_UP), alt.value(_DOWN)),
        tooltip=tooltips(("class:N", "class"), ("push:Q", "push", "+.4f")),
    )  # fmt: skip
    selection = describe_selection(len(shown), len(classes), "the teacher's most probable")
    heading = f"{method}: the push on each logit of {student}"
    up, down = classes[int(push.argmax())], classes[int(push.argmin())]
    described = f"Bars: how strongly {method} pushes each logit of {student}; most up: {up}, most down: {down}."
    return spec([bars], heading, selection, described, 27 * len(shown))


def change_maps(changes: Sequence[np.ndarray | None], photo: np.ndarray, method: str, student: str) -> Spec:
    """Where in the picture a method's gradient changes the outputs of a student's stages, a map for each that it uses.

    Args:
        changes: `[H, W]` by stage, or None.
        photo: uint8 `[32, 32, 3]`.
        method: the method's label.
        student: its name.
    """
    used = [(number, map_) for number, map_ in enumerate(changes, start=1) if map_ is not None]
    picture = data_url(enlarge_png(photo, 192))
    cells = []
    for column, (number, map_) in enumerate(used):
        url = data_url(map_png(map_, 0.0, max(float(map_.max()), 1e-30), "map"))
        share = float(np.sort(map_, axis=None)[::-1][: max(1, map_.size // 4)].sum() / max(map_.sum(), 1e-30))
        text = f"stage {number}: {map_.shape[0]} × {map_.shape[1]}"
        cells.append({"column": column, "url": url, "photo": picture, "text": text, "share": f"{share:.0%}"})
    cell = f"max(0, min(11 * em, width / {max(len(used), 1)} - 8))"
    slider = alt.binding_range(min=0, max=1, step=0.01, name="Opacity of the maps, 0 to 1")
    params = [alt.param(name="opacity", value=0.65, bind=slider), alt.param(name="cell", expr=cell)]
    base = alt.Chart(data(cells)).transform_calculate(left="datum.column * (cell + 8)")
    x = alt.X("left:Q", scale=None, axis=None)
    image: dict[str, Any] = {"width": alt.expr("cell"), "height": alt.expr("cell"), "align": "left", "baseline": "top"}
    lines = [("text:N", 1), ("note:N", 2.2)]
    layers = [
        base.mark_image(**image, smooth=False).encode(x=x, y=alt.value(0), url="photo:N"),
        base.mark_image(**image, smooth=False, opacity=alt.expr("opacity")).encode(x=x, y=alt.value(0), url="url:N"),
        *(
            base.transform_calculate(note="datum.share + ' in the brightest quarter'")
            .mark_text(align="left", color="currentColor")
            .encode(x=x, y=alt.value(alt.expr(f"cell + {below} * em")), text=field)
            for field, below in lines
        ),
    ]
    heading = f"{method}: where the gradient changes {student}"
    says = "bright: a large gradient on the stage's output there"
    described = f"Maps over the image, one for each stage that {method} uses: the size of its gradient at each place."
    return spec(layers, heading, says, described, "cell + 3 * em", *params)


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
    urls = [data_url(enlarge_png(image.transpose(1, 2, 0), 32)) for image in images]
    pictures = [{"i": position, "url": url} for position, url in enumerate(urls)]
    order = list(range(-1, count))
    x = alt.X("j:O", scale=alt.Scale(domain=order, paddingInner=0.05), axis=None)
    y = alt.Y("i:O", scale=alt.Scale(domain=order, paddingInner=0.05), axis=None)
    scale = alt.Scale(scheme="viridis", domain=list(limits), clamp=True)
    legend = alt.Legend(orient="bottom", title=None, gradientLength=em(190), tickCount=4)
    color = alt.Color("value:Q", scale=scale, legend=legend)
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
    heading = f"{look_of(role).mark} {name}"
    described = f"Map of {count} by {count} images: how {name} relates every two of them."
    return spec(layers, heading, "", described, "width", alt.param(name="cell", expr=f"width / {count + 1}"))
