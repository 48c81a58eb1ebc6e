"""What a loss asks of a student: the lab's gradient with its sliders, and any method's push, places and relations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts import common, style
from kdexplorer.charts.common import INK, Spec, data, describe_selection, select_classes, slider_value, spec, tooltips
from kdexplorer.charts.soft_labels import ROW
from kdexplorer.charts.style import area, em
from kdexplorer.charts.temperature import log_softmax, temperature_params
from kdexplorer.images.picture import data_url, enlarge_png, map_png

_SOURCES = ["hard label", style.TEACHER]
_PUSH = "push on the logit, −∂L/∂z (← lower · raise →)"


def gradient_push(source: common.Source, student: common.NetworkLogits) -> Spec:
    """The push `-dL/dz` on each of the student's logits for one image, by the hard label and by the teacher.

    `L = alpha · T² KL + (1 - alpha) · CE`; see `analysis.metrics.gradient_on_logits`. Without a hard label only the
    teacher pushes. For which classes are shown see `select_classes`.
    """
    teacher, classes, label = source.teacher, source.classes, source.label
    shown = select_classes(teacher.logits, label)
    own, others = student.shifted, teacher.shifted
    rows = [
        {"class": name, "source": source, "ds": float(own[index]), "dt": float(others[index])}
        | {"y": float(index == label), "has": float(label is not None), "hidden": index not in shown}
        for source in _SOURCES
        for index, name in enumerate(classes)
    ]
    said = common.join_parts("◆ their sum", describe_selection(len(shown), len(classes), "the teacher's most probable"))
    return common.fill_shape(
        _gradient_shape(tuple(classes[index] for index in shown)),
        {"rows": rows},
        {"logT": slider_value(source.temperature), "alpha": source.alpha, "subtitle": said},
        f"Bars: how strongly the hard label and {teacher.name} push each logit of {student.name} for this image, and a "
        "diamond for their sum. Sliders set temperature and alpha.",
    )


@lru_cache(maxsize=8)
def _gradient_shape(classes: tuple[str, ...]) -> Spec:
    """The chart of these classes without its rows: both pushes at the sliders' T and alpha."""
    order = [" ", "  ", *classes]  # the first lines have the sizes
    base = log_softmax(  # over all classes, also those that are not shown
        alt.Chart(alt.NamedData("rows")), "source", log_s="datum.ds / T", log_t="datum.dt / T", log_1="datum.ds"
    )
    base = base.transform_calculate(
        byteacher="alpha * T * (exp(datum.log_t) - exp(datum.log_s))",
        bylabel="datum.has * (1 - alpha) * (datum.y - exp(datum.log_1))",
    ).transform_calculate(
        push=f"datum.source == '{style.TEACHER}' ? datum.byteacher : datum.bylabel",
        total="datum.byteacher + datum.bylabel",
    )
    weights = "format(alpha, '.2f') + ' · T² KL + ' + format(1 - alpha, '.2f')"
    heading = alt.expr(f"'L = ' + {weights} + ' · CE at T = ' + format(T, '.2f')")
    slider = alt.binding_range(min=0, max=1, step=0.01, name="α, weight of the teacher's term, 0 to 1")
    layers = [*_bars(base.transform_filter("!datum.hidden"), order), _sizes(base)]
    params = [*temperature_params(), alt.param(name="alpha", value=0, bind=slider)]
    return spec(layers, heading, "", "", ROW * len(order), *params)


def _bars(base: alt.Chart, order: Sequence[str]) -> list[alt.Chart]:
    """A bar for each source and class, and a diamond for the sum."""
    y = alt.Y("class:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelOverlap=False))
    colors = alt.Scale(domain=_SOURCES, range=[style.look_of(style.HUMAN).color, style.look_of(style.TEACHER).color])
    bars = base.mark_bar().encode(
        x=alt.X("push:Q", title=_PUSH, axis=alt.Axis(tickCount=6)),
        y=y,
        yOffset=alt.YOffset("source:N", sort=_SOURCES),
        color=alt.Color("source:N", scale=colors, title="push by", legend=alt.Legend(orient="top", title=None)),
        tooltip=tooltips(
            ("class:N", "class"), ("source:N", "source"), ("push:Q", "push", "+.4f"), ("total:Q", "total", "+.4f")
        ),
    )
    once = base.transform_filter(f"datum.source == '{style.TEACHER}'")
    total = once.mark_point(shape="diamond", size=area(110), filled=True, color=INK, opacity=1)
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
        .transform_calculate(a="abs(datum.bylabel)", b="abs(datum.byteacher)", c="abs(datum.total)")
        .transform_calculate(d="datum.bylabel * datum.byteacher < 0 ? 1 : 0")
        .transform_aggregate(label="sum(a)", teacher="sum(b)", sum="sum(c)", opposed="sum(d)", count="count()")
        .transform_calculate(words=words)
        .mark_text(color=INK, align="center", baseline="top", lineBreak="\n", lineHeight=em(20))
        .encode(x=alt.XValue(alt.expr("width / 2")), y=alt.YValue(0), text="words:N")
    )


def push_bars(
    push: np.ndarray, teacher: np.ndarray, classes: Sequence[str], label: int | None, method: str, student: str
) -> Spec:
    """The push `-dL/dz` `[K]` of a method on each of a student's logits for one image.

    The teacher's logits `[K]` select the classes, see `select_classes`; a hard label is marked in its class's name.
    """
    shown = select_classes(teacher, label)
    names = [classes[index] + (" (label)" if index == label else "") for index in shown]
    rows = [{"class": name, "push": round(float(push[index]), 6)} for name, index in zip(names, shown, strict=True)]
    bars = alt.Chart(data(rows)).mark_bar().encode(
        x=alt.X("push:Q", title=_PUSH, axis=alt.Axis(tickCount=6)),
        y=alt.Y("class:N", sort=names, title=None),
        color=alt.condition("datum.push > 0", alt.value("#009E73"), alt.value("#D55E00")),
        tooltip=tooltips(("class:N", "class"), ("push:Q", "push", "+.4f")),
    )  # fmt: skip
    selection = describe_selection(len(shown), len(classes), "the teacher's most probable")
    heading = f"{method}: the push on each logit of {student}"
    up, down = classes[int(push.argmax())], classes[int(push.argmin())]
    described = f"Bars: how strongly {method} pushes each logit of {student}; most up: {up}, most down: {down}."
    return spec([bars], heading, selection, described, 27 * len(shown))


def change_maps(changes: Sequence[np.ndarray | None], photo: np.ndarray, method: str, student: str) -> Spec:
    """Where in the picture a method's gradient changes the outputs of a student's stages, a map for each that it uses.

    `changes` are `[H, W]` by stage, or None; `photo` is uint8 `[32, 32, 3]`.
    """
    picture, cells = data_url(enlarge_png(photo, 192)), common.Rows()
    for number, map_ in enumerate(changes, start=1):
        if map_ is not None:
            url = data_url(map_png(map_, 0.0, max(float(map_.max()), 1e-30), "map"))
            share = float(np.sort(map_, axis=None)[::-1][: max(1, map_.size // 4)].sum() / max(map_.sum(), 1e-30))
            text = f"stage {number}: {map_.shape[0]} × {map_.shape[1]}"
            cells.append({"column": len(cells), "url": url, "photo": picture, "text": text, "share": f"{share:.0%}"})
    cell = f"max(0, min(11 * em, width / {max(len(cells), 1)} - 8))"
    slider = alt.binding_range(min=0, max=1, step=0.01, name="Opacity of the maps, 0 to 1")
    params = [alt.param(name="opacity", value=0.65, bind=slider), alt.param(name="cell", expr=cell)]
    base = alt.Chart(data(cells)).transform_calculate(left="datum.column * (cell + 8)")
    x, side = common.across("left"), alt.expr("cell")
    image: dict[str, Any] = {"width": side, "height": side, "align": "left", "baseline": "top"}
    image |= {"smooth": False, "aria": False}
    words = base.mark_text(align="left", color=INK).encode(x=x)
    layers = [
        base.mark_image(**image).encode(x=x, y=alt.value(0), url="photo:N"),
        base.mark_image(**image, opacity=alt.expr("opacity")).encode(x=x, y=alt.value(0), url="url:N"),
        words.encode(y=alt.value(alt.expr("cell + 1 * em")), text="text:N"),
        words.encode(y=alt.value(alt.expr("cell + 2.2 * em")), text="share:N"),
    ]
    heading = f"{method}: where the gradient changes {student}"
    says = "bright: a large gradient on the stage's output there, on each map's own scale; %: in its brightest quarter"
    described = f"Maps over the image, one for each stage that {method} uses: the size of its gradient at each place."
    return spec(layers, heading, says, described, "cell + 3 * em", *params)


def relation_maps(
    relations: np.ndarray, images: np.ndarray, method: str, name: str, role: str, limits: tuple[float, float]
) -> Spec:
    """The relations `[B, B]` of all pairs of images, uint8 `[B, 3, 32, 32]`, as a map with the pictures on both axes.

    `role` is the network's, see `style.role_of`; `limits` are the color scale's.
    """
    count = len(relations)
    rows = [{"i": i, "j": j, "value": round(float(relations[i, j]), 4)} for i in range(count) for j in range(count)]
    urls = [data_url(enlarge_png(image.transpose(1, 2, 0), 32)) for image in images]
    places = alt.Scale(domain=list(range(-1, count)), paddingInner=0.05)
    x, y = alt.X("j:O", scale=places, axis=None), alt.Y("i:O", scale=places, axis=None)
    outside: dict[str, Any] = {"datum": -1, "type": "ordinal", "axis": None}
    scale = alt.Scale(scheme="viridis", domain=list(limits), clamp=True)
    legend = alt.Legend(orient="bottom", title=None, gradientLength=em(190), tickCount=4)
    color = alt.Color("value:Q", scale=scale, legend=legend)
    tips = tooltips(("i:O", "row"), ("j:O", "column"), ("value:Q", "relation", ".3f"))
    side = alt.expr("cell * 0.92")
    thumb: dict[str, Any] = {"width": side, "height": side, "smooth": False, "aria": False}
    pictures = alt.Chart(data([{"i": position, "url": url} for position, url in enumerate(urls)]))
    layers = [
        alt.Chart(data(rows)).mark_rect().encode(x=x, y=y, color=color, tooltip=tips),
        pictures.mark_image(**thumb).encode(x=alt.X(**outside), y=y, url="url:N"),
        pictures.transform_calculate(j="datum.i").mark_image(**thumb).encode(x=x, y=alt.Y(**outside), url="url:N"),
    ]
    heading = f"{method}: the relations of {style.look_of(role).mark} {name}"
    described = f"Map of {count} by {count} images: how {name} relates every two of them, as {method} measures it."
    return spec(layers, heading, "", described, "width", alt.param(name="cell", expr=f"width / {count + 1}"))
