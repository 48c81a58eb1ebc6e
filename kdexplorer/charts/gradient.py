"""The gradient of the lab's response-based loss on one image's logits, with sliders for temperature and weight."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt

from kdexplorer.charts import common, style
from kdexplorer.charts.soft_labels import ROW
from kdexplorer.charts.temperature import slider_value, temperature_params

_NARROW = "width < 300"
"""Whether the chart is on a phone, as a Vega expression."""

_HARD_LABEL = "hard label"
_SOURCES = [_HARD_LABEL, style.TEACHER]


def gradient_push(
    teacher: common.NetworkLogits,
    student: common.NetworkLogits,
    classes: Sequence[str],
    label: int | None,
    temperature: float,
    alpha: float,
) -> common.Spec:
    """The push `-dL/dz` on each of the student's logits for one image, by the hard label and by the teacher.

    `L = alpha · T² KL + (1 - alpha) · CE`; see `analysis.inference.gradient_on_logits`.

    Args:
        teacher: the network whose largest logits select the classes, see `select_classes`.
        student: the network whose logits are pushed.
        classes: the names of all K classes.
        label: the hard label, or None where there is none: then only the teacher pushes.
        temperature: where its slider starts.
        alpha: where its slider starts, 0 to 1.
    """
    shown = common.select_classes(teacher.logits, label)
    own, others = student.shifted, teacher.shifted
    rows = [
        {"class": name, "source": source, "ds": float(own[index]), "dt": float(others[index])}
        | {"y": float(index == label), "has": float(label is not None), "hidden": index not in shown}
        for source in _SOURCES
        for index, name in enumerate(classes)
    ]
    selection = common.describe_selection(len(shown), len(classes), "the teacher's most probable")
    return common.fill_shape(
        _gradient_shape(tuple(classes[index] for index in shown)),
        {"rows": rows},
        {"logT": slider_value(temperature), "alpha": alpha},
        {"subtitle": common.break_subtitle("◆ their sum", selection)},
        f"Bars: how strongly the hard label and {teacher.name} push each logit of {student.name} for this image, and a "
        "diamond for their sum. Sliders set temperature and alpha.",
    )


@lru_cache(maxsize=8)
def _gradient_shape(classes: tuple[str, ...]) -> common.Spec:
    """The chart of these classes without its rows."""
    order = [" ", *classes]  # the first line has the sizes
    base = _pushes()
    text = (
        "'L = ' + format(alpha, '.2f') + ' · T² KL + ' + format(1 - alpha, '.2f') + ' · CE at T = ' + format(T, '.2f')"
    )
    slider = alt.binding_range(min=0, max=1, step=0.01, name="α, weight of the teacher's term, 0 to 1")
    layers = [*_bars(base.transform_filter("!datum.hidden"), order), _sizes(base, order)]
    params = [*temperature_params(), alt.param(name="alpha", value=0, bind=slider)]
    heading = common.title(alt.expr(text), size=alt.expr(f"{_NARROW} ? 13 : 17"))
    return common.spec(layers, heading, "", ROW * len(order), *params)


def _pushes() -> alt.Chart:
    """Rows with both pushes at the sliders' T and alpha; the softmax is over all classes, also those not shown."""
    return (
        alt.Chart(alt.NamedData("rows"))
        .transform_calculate(e="exp(datum.ds / T)", et="exp(datum.dt / T)", e1="exp(datum.ds)")
        .transform_joinaggregate(S="sum(e)", St="sum(et)", S1="sum(e1)", groupby=["source"])
        .transform_calculate(
            byteacher="alpha * T * (datum.et / datum.St - datum.e / datum.S)",
            bylabel="datum.has * (1 - alpha) * (datum.y - datum.e1 / datum.S1)",
        )
        .transform_calculate(
            push=f"datum.source == '{style.TEACHER}' ? datum.byteacher : datum.bylabel",
            total="datum.byteacher + datum.bylabel",
        )
    )


def _class_axis(field: str, order: Sequence[str], **options: Any) -> alt.Y:
    return alt.Y(f"{field}:N", sort=order, scale=alt.Scale(domain=order), title=None, **options)


def _bars(base: alt.Chart, order: Sequence[str]) -> list[alt.Chart]:
    """A bar for each source and class, and a diamond for the sum."""
    heading = "push on the logit, −∂L/∂z (← lower · raise →)"
    x = alt.X("push:Q", title=heading, axis=alt.Axis(tickCount=6, titleFontSize=alt.expr(f"{_NARROW} ? 10 : 13")))
    y = _class_axis("class", order, axis=alt.Axis(labelFontSize=13))
    colors = alt.Scale(domain=_SOURCES, range=[style.look_of(style.HUMAN).color, style.look_of(style.TEACHER).color])
    bars = base.mark_bar().encode(
        x=x,
        y=y,
        yOffset=alt.YOffset("source:N", sort=_SOURCES),
        color=alt.Color("source:N", scale=colors, title="push by", legend=alt.Legend(orient="top")),
        tooltip=common.tooltips(
            ("class:N", "class"), ("source:N", "source"), ("push:Q", "push", "+.4f"), ("total:Q", "total", "+.4f")
        ),
    )
    total = base.transform_filter(f"datum.source == '{style.TEACHER}'").mark_point(
        shape="diamond", size=90, filled=True, color="#D55E00", opacity=1
    )
    return [bars, total.encode(x=alt.X("total:Q", title=heading), y=y)]


def _sizes(base: alt.Chart, order: Sequence[str]) -> alt.Chart:
    """In the first lines: the size of each push and of their sum, which is smaller where they are opposed.

    A size is the L1 norm over all classes.
    """
    words = (
        "'Σ|push|: label ' + format(datum.label, '.2f') + ', teacher ' + format(datum.teacher, '.2f')"
        " + ', sum ' + format(datum.sum, '.2f') + '\\nopposed on ' + datum.opposed + ' of ' + datum.count + ' classes'"
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
        .transform_calculate(row="' '", words=words)
        .mark_text(color=common.INK, align="center", lineBreak="\n", dy=-8, fontSize=alt.expr(f"{_NARROW} ? 10 : 13"))
        .encode(x=alt.XValue(alt.expr("width / 2")), y=_class_axis("row", order), text="words:N")
    )
