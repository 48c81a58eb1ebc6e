"""Charts of soft labels: mirrored bars with a temperature slider in the browser, what the student is told, curves.

Temperature and alpha are Vega parameters bound to range inputs, and softmax, entropy and KL are Vega transforms: while
a slider is dragged nothing is asked of the server.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import altair as alt
import numpy as np
import pandas as pd

from kdexplorer.inference import entropy, soften
from kdexplorer.metrics import kl_divergence
from kdexplorer.ui.charts import COLOURS, DASHES, FIT, INK, Spec, filled, spec, title

T_MIN, T_MAX = 0.5, 20.0
ROW, LINE = 34, 24
"""Pixels that a class and a line of the live table are high."""

SLIDER_STYLE = """<style>
.stVegaLiteChart.vega-embed, .stVegaLiteChart .vega-embed {display: flex; flex-direction: column; gap: 1.5rem}
.vega-bindings {order: -1}
.vega-bind label {display: flex; flex-wrap: wrap; align-items: center; gap: .25rem .75rem; width: 100%}
.vega-bind input[type=range] {flex: 1 1 12rem; max-width: 32rem; height: 1.75rem; accent-color: #0072B2}
.vega-bind input[type=range] + * {display: none}
</style>"""
"""Puts a chart's sliders above it, wide enough for a hand, and hides the raw log2 value that Vega writes beside one."""


_OWN_COLOUR = alt.Color("colour:N", scale=None, legend=None)
"""A row's colour stands in the row, so that a shape does not depend on which networks are shown."""


@dataclass(frozen=True)
class Series:
    """One network's answer as a chart takes it: its label in the chart, its role (for colour), logits `[classes]`."""

    name: str
    role: str
    logits: np.ndarray


def temperature_params() -> list[alt.Parameter]:
    """The slider (log2 T) and T itself."""
    slider = alt.binding_range(min=math.log2(T_MIN), max=math.log2(T_MAX), step=0.01, name="Temperature T, 0.5 to 20")
    return [
        alt.param(name="logT", value=0, bind=slider),
        alt.param(name="T", expr="pow(2, logT)"),
    ]


def _log2(temperature: float) -> float:
    return round(math.log2(temperature), 4)


def colour_scale(series: Sequence[Series]) -> alt.Scale:
    """Network to its role's colour."""
    return alt.Scale(domain=[s.name for s in series], range=[COLOURS[s.role] for s in series])


def mirrored(
    teacher: Series, students: Sequence[Series], classes: Sequence[str], label: int | None, temperature: float
) -> Spec:
    """Teacher's soft label left of the class names, the students' right, at a temperature that the browser holds."""
    header = (len(students) + 2) * LINE / ROW + 0.4
    told = f"★ and shading: the hard label, {classes[label]}" if label is not None else "A photo has no hard label"
    return filled(
        _mirrored_shape(len(classes), len(students)),
        {"rows": _mirrored_rows(teacher, students, classes, label, header)},
        {"logT": _log2(temperature)},
        title={"subtitle": told},
        description=(
            f"Mirrored bars: {teacher.name}'s probabilities of {len(classes)} classes on the left, those of "
            f"{', '.join(s.name for s in students) or 'no student'} on the right. A slider sets the temperature; a "
            "table above the bars gives entropy and KL divergence from the teacher."
        ),
    )


@lru_cache(maxsize=32)
def _mirrored_shape(count: int, students: int) -> Spec:
    """The mirrored bars of `count` classes without their rows."""
    header = (students + 2) * LINE / ROW + 0.4
    base = (
        alt.Chart(alt.NamedData("rows"))
        .transform_calculate(e="exp(datum.d / T)", et="exp(datum.dt / T)")
        .transform_joinaggregate(S="sum(e)", St="sum(et)", groupby=["network"])
        .transform_calculate(
            p="datum.e / datum.S",
            pt="datum.et / datum.St",
            logp="datum.d / T - log(datum.S)",
            logpt="datum.dt / T - log(datum.St)",
        )
        .transform_calculate(h="-datum.p * datum.logp", k="datum.pt * (datum.logpt - datum.logp)")
        .transform_joinaggregate(H="sum(h)", K="sum(k)", groupby=["network"])
        .transform_calculate(
            start="datum.side * gutter", end="datum.side * (gutter + datum.p)", percent="format(datum.p, '.0%')"
        )
    )
    down = alt.Scale(domain=[-header, count], reverse=True, nice=False, zero=False)
    y = alt.Y("y:Q", axis=None, scale=down)
    across = alt.Scale(domainMin=alt.expr("-1 - gutter"), domainMax=alt.expr("1 + gutter"), nice=False, zero=False)
    axis = alt.Axis(
        values=alt.expr("[-1 - gutter, -0.5 - gutter, -gutter, gutter, 0.5 + gutter, 1 + gutter]"),
        labelExpr="format(abs(datum.value) - gutter, '.0%')",
        title="← teacher · probability · students →",
        grid=False,
    )
    bars = base.mark_bar().encode(
        x=alt.X("start:Q", scale=across, axis=axis),
        x2="end:Q",
        y=y,
        y2="y2:Q",
        color=_OWN_COLOUR,
        tooltip=[
            alt.Tooltip("network:N", title="network"),
            alt.Tooltip("class:N"),
            alt.Tooltip("p:Q", format=".4f", title="probability at T"),
            alt.Tooltip("logit:Q", format=".3f"),
        ],
    )
    band = base.transform_filter("datum.hard && datum.side < 0").mark_rect(opacity=0.16, color="#888888")
    row = alt.Y("row:Q", axis=None, scale=down)
    layers = [band.encode(x=alt.XValue(0), x2=alt.X2Value(alt.expr("width")), y=row, y2="row2:Q"), bars]
    legible = (
        base.transform_filter("datum.p >= 0.005")
        if students <= 2
        else base.transform_filter("datum.side < 0 && datum.p >= 0.005")
    )
    for side, align, dx in ((-1, "right", -4), (1, "left", 4)):
        text = legible.transform_filter(f"datum.side == {side}").mark_text(color=INK, align=align, dx=dx, fontSize=13)
        layers.append(
            text.encode(
                x=alt.X("end:Q", scale=across, axis=axis), y=alt.Y("middle:Q", axis=None, scale=down), text="percent:N"
            )
        )
    names = base.transform_filter("datum.side < 0").mark_text(color=INK, fontSize=14)
    middle = alt.XValue(alt.expr("width / 2"))
    layers.append(names.encode(x=middle, y=alt.Y("centre:Q", axis=None, scale=down), text="shown:N"))
    layers += _live_table(base, down, header)
    heading = title(alt.expr("'Soft labels at T = ' + format(T, '.2f')"))
    return spec(
        alt.layer(*layers)
        .properties(height=ROW * count + int(header * ROW), autosize=FIT, title=heading)
        .add_params(*temperature_params(), alt.param(name="gutter", expr="56 / (width / 2 - 56)"))
    )


def _mirrored_rows(
    teacher: Series, students: Sequence[Series], classes: Sequence[str], label: int | None, header: float
) -> list[dict]:
    teachers = teacher.logits - teacher.logits.max()
    rows = []
    for slot, series in enumerate([teacher, *students]):
        share = 0.84 / (1 if slot == 0 else len(students))
        shifted = series.logits - series.logits.max()
        for index, name in enumerate(classes):
            top = index + 0.08 + (0 if slot == 0 else (slot - 1) * share)
            rows.append(
                {
                    "network": series.name,
                    "colour": COLOURS[series.role],
                    "side": -1 if slot == 0 else 1,
                    "class": name,
                    "shown": f"★ {name}" if index == label else name,
                    "first": index == 0,
                    "hard": index == label,
                    "logit": float(series.logits[index]),
                    "d": float(shifted[index]),
                    "dt": float(teachers[index]),
                    "y": top,
                    "y2": top + share * 0.94,
                    "middle": top + share * 0.47,
                    "centre": index + 0.5,
                    "row": float(index),
                    "row2": index + 1.0,
                    "line": -header + (slot + 1.5) * LINE / ROW,
                }
            )
    return rows


def _live_table(base: alt.Chart, scale: alt.Scale, header: float) -> list[alt.Chart]:
    """Entropy, effective classes, KL and T^2 KL of each network, as text that follows the slider."""
    once = base.transform_filter("datum.first")
    y = alt.Y("line:Q", axis=None, scale=scale)
    heads = alt.Chart(pd.DataFrame({"line": [-header + 0.5 * LINE / ROW]}))
    layers = [
        once.mark_square(size=150, opacity=1).encode(x=alt.XValue(8), y=y, color=_OWN_COLOUR),
        once.mark_text(color=INK, align="left", fontSize=alt.expr("width < 400 ? 11 : 14")).encode(
            x=alt.XValue(20), y=y, text="network:N"
        ),
    ]
    columns = (
        (0.55, "entropy", "format(datum.H, '.2f') + (width < 400 ? '' : ' nats')"),  # a telephone has no room
        (0.70, "classes", "format(exp(datum.H), '.2f')"),
        (0.85, "KL", "datum.side < 0 ? '' : format(max(0, datum.K), '.3f')"),
        (1.0, "T²·KL", "datum.side < 0 ? '' : format(max(0, T * T * datum.K), '.3f')"),
    )
    for place, head, expression in columns:
        x = alt.XValue(alt.expr(f"width * {place}"))
        layers.append(
            heads.mark_text(color=INK, align="right", fontSize=12, text=head, fontStyle="italic").encode(x=x, y=y)
        )
        shown = once.transform_calculate(shown_value=expression)
        layers.append(shown.mark_text(color=INK, align="right", fontSize=13).encode(x=x, y=y, text="shown_value:N"))
    return layers


def told(
    teacher: Series, student: Series, classes: Sequence[str], label: int | None, temperature: float, alpha: float
) -> Spec:
    """What one image tells the student: the push `-dL/dz` on each logit, from the label and from the teacher."""
    rows = [
        {
            "class": name,
            "source": source,
            "ds": float(student.logits[index] - student.logits.max()),
            "dt": float(teacher.logits[index] - teacher.logits.max()),
            "y": float(index == label),
            "has": float(label is not None),
        }
        for source in ("hard label", "teacher")
        for index, name in enumerate(classes)
    ]
    return filled(
        _told_shape(tuple(classes)),
        {"rows": rows},
        {"logT": _log2(temperature), "alpha": alpha},
        description=(
            f"Bars: how strongly the hard label and {teacher.name} push each logit of {student.name} for this "
            "image, and a diamond for their sum. Sliders set temperature and alpha."
        ),
    )


@lru_cache(maxsize=8)
def _told_shape(classes: tuple[str, ...]) -> Spec:
    """What one image tells the student, without its rows."""
    base = (
        alt.Chart(alt.NamedData("rows"))
        .transform_calculate(e="exp(datum.ds / T)", et="exp(datum.dt / T)", e1="exp(datum.ds)")
        .transform_joinaggregate(S="sum(e)", St="sum(et)", S1="sum(e1)", groupby=["source"])
        .transform_calculate(
            byteacher="alpha * T * (datum.et / datum.St - datum.e / datum.S)",
            bylabel="datum.has * (1 - alpha) * (datum.y - datum.e1 / datum.S1)",
        )
        .transform_calculate(
            push="datum.source == 'teacher' ? datum.byteacher : datum.bylabel",
            total="datum.byteacher + datum.bylabel",
        )
        .transform_calculate(size="abs(datum.push)")
    )
    order = [" ", *classes]
    y = alt.Y("class:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelFontSize=13))
    x_title = "push on the logit, −∂L/∂z (← lower · raise →)"
    narrow = "width < 300"  # a telephone
    x = alt.X("push:Q", title=x_title, axis=alt.Axis(tickCount=6, titleFontSize=alt.expr(f"{narrow} ? 10 : 13")))
    sources = alt.Scale(domain=["hard label", "teacher"], range=["#7F7F7F", COLOURS["teacher"]])
    bars = base.mark_bar().encode(
        x=x,
        y=y,
        yOffset=alt.YOffset("source:N", sort=["hard label", "teacher"]),
        color=alt.Color("source:N", scale=sources, title="who pushes", legend=alt.Legend(orient="top")),
        tooltip=["class:N", "source:N", alt.Tooltip("push:Q", format="+.4f"), alt.Tooltip("total:Q", format="+.4f")],
    )
    total = base.transform_filter("datum.source == 'teacher'").mark_point(
        shape="diamond", size=90, filled=True, color=COLOURS["scratch"], opacity=1
    )
    share = (
        base.transform_aggregate(size="sum(size)", groupby=["source"])
        .transform_joinaggregate(all="sum(size)")
        .transform_filter("datum.source == 'teacher'")
        .transform_calculate(
            row="' '",
            words="'the teacher makes ' + format(datum.all > 0 ? datum.size / datum.all : 0, '.0%') + ' of the push'",
        )
        .mark_text(color=INK, align="center", fontSize=alt.expr(f"{narrow} ? 11 : 14"))
        .encode(
            x=alt.XValue(alt.expr("width / 2")),
            y=alt.Y("row:N", sort=order, title=None, scale=alt.Scale(domain=order)),
            text="words:N",
        )
    )
    alpha_slider = alt.binding_range(min=0, max=1, step=0.01, name="α, weight on the teacher, 0 to 1")
    return spec(
        alt.layer(bars, total.encode(x=alt.X("total:Q", title=x_title), y=y), share)
        .properties(
            height=ROW * (len(classes) + 1),
            autosize=FIT,
            title=title(
                text=alt.expr(
                    "'L = ' + format(alpha, '.2f') + ' · T² KL + ' + format(1 - alpha, '.2f') + ' · CE at T = ' "
                    "+ format(T, '.2f')"
                ),
                subtitle="◆ both together",
                size=alt.expr(f"{narrow} ? 13 : 17"),
            ),
        )
        .add_params(*temperature_params(), alt.param(name="alpha", value=0, bind=alpha_slider))
    )


CURVES = {
    "entropy": "Entropy grows with T",
    "top": "The first answer shrinks with T",
    "kl": "Teacher and student draw together",
}
_UNITS = {"entropy": "entropy (nats)", "top": "largest probability", "kl": "KL from the teacher (nats)"}


def over_temperature(teacher: Series, students: Sequence[Series], measure: str, temperature: float) -> Spec:
    """One measure over T: `entropy`, `top` or `kl`; a line marks the pinned temperature."""
    grid = np.geomspace(T_MIN, T_MAX, 60)
    series = [teacher, *students] if measure != "kl" else list(students)
    values = {
        "entropy": lambda s, t: float(entropy(soften(s.logits, t))),
        "top": lambda s, t: float(soften(s.logits, t).max()),
        "kl": lambda s, t: kl_divergence(teacher.logits[None], s.logits[None], t),
    }[measure]
    rows = pd.DataFrame([{"T": t, "value": values(s, t), "network": s.name} for s in series for t in grid])
    dashes = alt.Scale(domain=[s.name for s in series], range=[DASHES[s.role] for s in series])
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=3)
        .encode(
            x=alt.X(
                "T:Q",
                scale=alt.Scale(type="log", domain=[T_MIN, T_MAX], nice=False),
                title="temperature T (log scale)",
                axis=alt.Axis(values=[0.5, 1, 2, 4, 8, 20], format="~g"),
            ),
            y=alt.Y("value:Q", title=_UNITS[measure], scale=alt.Scale(zero=True)),
            color=alt.Color(
                "network:N",
                scale=colour_scale(series),
                title=None,
                legend=alt.Legend(orient="bottom", columns=1, symbolType="stroke", symbolSize=300, labelLimit=0),
            ),
            strokeDash=alt.StrokeDash("network:N", scale=dashes, title=None),
            tooltip=[
                "network:N",
                alt.Tooltip("T:Q", format=".2f"),
                alt.Tooltip("value:Q", format=".4f", title=_UNITS[measure]),
            ],
        )
    )
    rule = (
        alt.Chart(pd.DataFrame({"T": [temperature]}))
        .mark_rule(strokeDash=[4, 4], color="#888888", size=2)
        .encode(x=alt.X("T:Q", title="temperature T (log scale)"))
    )
    chart = alt.layer(lines, rule).properties(
        height=260,
        autosize=FIT,
        title=title(CURVES[measure], subtitle=f"dashed rule: T = {temperature:g}"),
        description=f"Lines: {_UNITS[measure]} over temperature for {', '.join(s.name for s in series)}.",
    )
    return spec(chart)


def _shares(shares: np.ndarray) -> dict[str, float | list[float]]:
    """One share as a number: Streamlit sends data as Arrow, in which a list is no list."""
    rounded = np.round(shares, 5).tolist()
    return {"values": rounded} if len(rounded) > 1 else {"value": rounded[0]}


def similarity(
    matrices: np.ndarray, classes: Sequence[str], name: str, top: float, diagonal: bool, octaves: tuple[float, ...] = ()
) -> Spec:
    """The mean soft label per class as a map; `top` is the shared end of the colour scale.

    Args:
        matrices: `[classes, classes]`; or one for each of `octaves`, `[S, classes, classes]`.
        classes: their names.
        name: the network's.
        top: the probability at the end of the colour scale.
        diagonal: whether the diagonal is shown.
        octaves: log2 T of each matrix, evenly spaced; the parameter `logT` then picks the nearest in the browser.
    """
    matrices = matrices if octaves else matrices[None]
    rows = [
        {"of": of, "as": as_} | _shares(matrices[:, i, j])
        for i, of in enumerate(classes)
        for j, as_ in enumerate(classes)
        if (diagonal or i != j) and np.isfinite(matrices[:, i, j]).all()
    ]
    chart = alt.Chart(alt.Data(values=rows))
    if octaves:
        chart = chart.transform_calculate(value="datum.values[step]")
    base = chart.transform_calculate(light=f"datum.value > {0.6 * top}").encode(
        x=alt.X(
            "as:N", sort=list(classes), title="probability given to", axis=alt.Axis(labelAngle=-60, labelOverlap=False)
        ),
        y=alt.Y("of:N", sort=list(classes), title="images of class"),
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "value:Q",
            scale=alt.Scale(scheme="viridis", domain=[0, top], clamp=True),
            legend=alt.Legend(title="mean probability", orient="bottom", format=".0%", gradientLength=180),
        ),
        tooltip=["of:N", "as:N", alt.Tooltip("value:Q", format=".2%", title="mean probability")],
    )
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text("value:Q", format=".0%"),
        color=alt.condition("datum.light", alt.value("#14202B"), alt.value("#FFFFFF")),
    )
    heading, parameters = name, []
    if octaves:
        first, spacing = octaves[0], octaves[1] - octaves[0]
        nearest = f"clamp(round((logT - {first}) / {spacing}), 0, {len(octaves) - 1})"
        parameters = [alt.param(name="logT", value=2.0), alt.param(name="step", expr=nearest)]
        heading = alt.expr(f"'{name} at T = ' + format(pow(2, {first} + step * {spacing}), '.2f')")
    return spec(
        alt.layer(cells, text)
        .properties(
            height=420,
            autosize=FIT,
            title=title(heading, "" if diagonal else "diagonal removed"),
            description=f"Map of classes by classes: the mean probability that {name} gives each, per class of image.",
        )
        .add_params(*parameters)
    )
