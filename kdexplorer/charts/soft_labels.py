"""One image's soft labels: mirrored bars with a temperature slider in the browser, and bars of one distribution.

The temperature is a Vega parameter bound to a range input, and softmax, entropy and KL are Vega transforms: moving the
slider takes no request to the server. They are computed over all classes, whichever are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import softmax
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
    title,
    tooltips,
)
from kdexplorer.charts.style import area, em
from kdexplorer.charts.temperature import kl, log_softmax, temperature_params

ROW, LINE = 33, 22
"""Height of a class and of a line of the live table, in pixels in a window of 1280 pixels; see `sizes.em`."""

_UNITS = [
    alt.param(name="unit", expr="max(1, width / 2 - 6.6 * em)"),
    alt.param(name="gutter", expr="4 * em / unit"),
    alt.param(name="margin", expr="2.6 * em / unit"),
]
"""Pixels of a whole bar; in bars, half of the class names' column and the room for a percentage beside a whole bar."""

_NEVER = -1e9
"""A logit of no probability."""

_OWN_COLOR = alt.Color("color:N", scale=None, legend=None)
"""A row's color is in the row, so that a shape does not depend on which networks are shown."""


def mirrored(
    teacher: NetworkLogits,
    students: Sequence[NetworkLogits],
    classes: Sequence[str],
    label: int | None,
    temperature: float,
) -> Spec:
    """The teacher's soft label on the left of the class names, the students' on the right, and a live table above.

    Args:
        teacher: the network whose largest logits select the classes, see `select_classes`.
        students: any number.
        classes: the names of all K classes.
        label: the hard label, or None where there is none.
        temperature: where the slider starts.
    """
    shown = select_classes(teacher.logits, label)
    rest = len(classes) - len(shown)
    hard = f"★ and shading: the hard label, {classes[label]}" if label is not None else "This image has no hard label"
    selection = describe_selection(len(shown), len(classes), "the teacher's most probable")
    return fill_shape(
        _mirrored_shape(len(shown), len(students), rest > 0),
        {"rows": _mirrored_rows(teacher, students, classes, label, shown)},
        {"logT": slider_value(temperature), "subtitle": join_parts(hard, selection)},
        f"Mirrored bars: {teacher.name}'s probabilities of {len(shown)} classes on the left, those of "
        f"{', '.join(s.name for s in students) or 'no student'} on the right. A slider sets the temperature; a "
        "table above the bars gives entropy and KL divergence from the teacher.",
    )


def _header(students: int) -> float:
    """Height of the live table, in rows."""
    return (students + 2) * LINE / ROW + 0.4


@lru_cache(maxsize=32)
def _mirrored_shape(count: int, students: int, rest: bool) -> Spec:
    """The mirrored bars of `count` classes, and with `rest` one of all others together, without their rows."""
    header, count = _header(students), count + rest
    down = alt.Scale(domain=[-header, count], reverse=True, nice=False, zero=False)
    base = _soft_labels()
    band = base.transform_filter("datum.hard && datum.side < 0").mark_rect(opacity=0.16, color="#888888")
    names = base.transform_filter("datum.side < 0").mark_text(color=INK)
    layers = [
        band.encode(x=alt.XValue(0), x2=alt.X2Value(alt.expr("width")), y=_down("row", down), y2="row2:Q"),
        *_bars(base, down, students <= 2, rest),
        names.encode(x=alt.XValue(alt.expr("width / 2")), y=_down("center", down), text="shown:N"),
        *_live_table(base, down, header),
    ]
    heading = title(alt.expr("'Soft labels at T = ' + format(T, '.2f')"))
    return spec(layers, heading, "", ROW * (count + header), *temperature_params(), *_UNITS)


def _down(field: str, scale: alt.Scale) -> alt.Y:
    return alt.Y(f"{field}:Q", axis=None, scale=scale)


def _soft_labels() -> alt.Chart:
    """Rows with probabilities, entropy and KL at the slider's T; classes that are not shown only count in the sums."""
    base = log_softmax(alt.Chart(alt.NamedData("rows")), "network", logp="datum.d / T", logpt="datum.dt / T")
    base = base.transform_calculate(p="exp(datum.logp)", pt="exp(datum.logpt)", h="-exp(datum.logp) * datum.logp")
    return (
        kl(base, "K", "network", "datum.pt", "datum.logpt", "datum.logp")
        .transform_calculate(others="datum.hidden ? datum.p : 0")
        .transform_joinaggregate(H="sum(h)", others="sum(others)", groupby=["network"])
        .transform_filter("!datum.hidden")
        .transform_calculate(p="datum.rest ? datum.others : datum.p")
        .transform_calculate(
            start="datum.side * gutter", end="datum.side * (gutter + datum.p)", percent="format(datum.p, '.0%')"
        )
    )


def _bars(base: alt.Chart, down: alt.Scale, percent_of_students: bool, rest: bool) -> list[alt.Chart]:
    """The bars and their percentages; with many students theirs are left out, as the bars are too thin."""
    across = alt.Scale(
        domainMin=alt.expr("-1 - gutter - margin"), domainMax=alt.expr("1 + gutter + margin"), nice=False, zero=False
    )
    axis = alt.Axis(
        values=alt.expr("[-1 - gutter, -0.5 - gutter, -gutter, gutter, 0.5 + gutter, 1 + gutter]"),
        labelExpr="format(abs(datum.value) - gutter, '.0%')",
        title="← teacher · probability · students →",
        grid=False,
    )
    x = alt.X("end:Q", scale=across, axis=axis)
    text: dict[str, Any] = {"color": INK}
    bars = base.mark_bar().encode(
        x=alt.X("start:Q", scale=across, axis=axis), x2="end:Q", y=_down("y", down), y2="y2:Q", color=_OWN_COLOR
    )
    said = (("network:N", "network"), ("class:N", "class"), ("p:Q", "probability at T", ".4f"))
    parts = [bars.transform_filter("!datum.rest").encode(tooltip=tooltips(*said, ("logit:Q", "logit", ".3f")))]
    parts += [bars.transform_filter("datum.rest").encode(tooltip=tooltips(*said))] if rest else []
    legible = base.transform_filter("datum.p >= 0.005" if percent_of_students else "datum.side < 0 && datum.p >= 0.005")
    left = legible.transform_filter("datum.side == -1").mark_text(align="right", dx=em(-4), **text)
    right = legible.transform_filter("datum.side == 1").mark_text(align="left", dx=em(4), **text)
    return [*parts, *(one.encode(x=x, y=_down("middle", down), text="percent:N") for one in (left, right))]


def _live_table(base: alt.Chart, down: alt.Scale, header: float) -> list[alt.Chart]:
    """Entropy, effective classes, KL and T^2 KL of each network, as text that follows the slider."""
    once, y = base.transform_filter("datum.first"), _down("line", down)
    heads = alt.Chart(data([{"line": -header + 0.5 * LINE / ROW}]))
    names = once.mark_text(color=INK, align="left")
    layers = [
        once.mark_square(size=area(200), opacity=1).encode(x=alt.XValue(em(9)), y=y, color=_OWN_COLOR),
        names.encode(x=alt.XValue(em(24)), y=y, text="network:N"),
    ]
    columns = (
        (0.55, "entropy", "format(datum.H, '.2f') + (width < 400 ? '' : ' nats')"),  # no room for units on a phone
        (0.70, "classes", "format(exp(datum.H), '.2f')"),
        (0.85, "KL", "datum.side < 0 ? '' : format(max(0, datum.K), '.3f')"),
        (1.0, "T²·KL", "datum.side < 0 ? '' : format(max(0, T * T * datum.K), '.3f')"),
    )
    text: dict[str, Any] = {"color": INK, "align": "right"}
    for place, head, expression in columns:
        x = alt.XValue(alt.expr(f"width * {place}"))
        layers.append(heads.mark_text(**text, text=head, fontStyle="italic").encode(x=x, y=y))
        value = once.transform_calculate(shown_value=expression).mark_text(**text)
        layers.append(value.encode(x=x, y=y, text="shown_value:N"))
    return layers


def _mirrored_rows(
    teacher: NetworkLogits,
    students: Sequence[NetworkLogits],
    classes: Sequence[str],
    label: int | None,
    shown: Sequence[int],
) -> list[dict[str, Any]]:
    """A row for each network and class; those not shown follow the others and have the logits alone.

    Between them is one, whose own probability is 0, for the sum of those not shown.
    """
    hidden = [index for index in range(len(classes)) if index not in shown]
    order: list[int | None] = [*shown, *([None] if hidden else []), *hidden]
    header, shifted, rows = _header(len(students)), teacher.shifted, []
    for slot, network in enumerate([teacher, *students]):
        share = 0.84 / (1 if slot == 0 else len(students))
        offset = 0.08 + (0 if slot == 0 else (slot - 1) * share)
        own = network.shifted
        for place, index in enumerate(order):
            name, begin = f"the other {len(hidden)}" if index is None else classes[index], place + offset
            d, dt = (_NEVER, _NEVER) if index is None else (float(own[index]), float(shifted[index]))
            row = {"network": network.name, "d": d, "dt": dt, "hidden": index is not None and place >= len(shown)}
            if index is None:
                row["rest"] = True
            if not row["hidden"]:
                row |= {
                    "color": style.look_of(network.role).color, "side": -1 if slot == 0 else 1,
                    "class": name, "shown": f"★ {name}" if index is not None and index == label else name,
                    "first": place == 0, "hard": index is not None and index == label,
                    "logit": None if index is None else float(network.logits[index]),
                    "y": begin, "y2": begin + share * 0.94, "middle": begin + share * 0.47, "center": place + 0.5,
                    "row": float(place), "row2": place + 1.0, "line": -header + (slot + 1.5) * LINE / ROW,
                }  # fmt: skip
            rows.append(row)
    return rows


def probability_bars(
    probabilities: np.ndarray,
    classes: Sequence[str],
    label: int | None,
    role: str,
    heading: str,
    subtitle: str,
    shown: Sequence[int] | None = None,
) -> Spec:
    """One image's probabilities, a bar a class, the hard label starred.

    Args:
        probabilities: `[K]`, a network's or the shares of annotators (`style.HUMAN`).
        classes: the names of all K classes.
        label: the hard label, or None where there is none.
        role: see `style.role_of`.
        heading: the title.
        subtitle: its second part.
        shown: indices of the classes to show; by default see `select_classes`, with these probabilities as logits.
    """
    shown = select_classes(probabilities, label) if shown is None else shown
    names = {index: f"★ {classes[index]}" if index == label else classes[index] for index in shown}
    rows = [
        {"class": name, "p": float(probabilities[index]), "percent": f"{probabilities[index]:.0%}"}
        for index, name in names.items()
    ]
    if rest := len(classes) - len(shown):
        share = max(0.0, 1 - float(np.sum(probabilities[list(shown)])))
        rows.append({"class": f"the other {rest}", "p": share, "percent": f"{share:.0%}"})
    axis = alt.Axis(format=".0%", values=[0, 0.5, 1])
    base = alt.Chart(data(rows)).encode(
        x=alt.X("p:Q", title="probability", scale=alt.Scale(domain=[0, 1.25]), axis=axis),
        y=alt.Y("class:N", sort=[str(row["class"]) for row in rows], title=None),
        tooltip=tooltips(("class:N", "class"), ("p:Q", "probability", ".2%")),
    )
    bars = base.mark_bar(color=style.look_of(role).color)
    text = base.transform_filter("datum.p >= 0.005").mark_text(color=INK, align="left", dx=em(4))
    top = ", ".join(f"{classes[k]} {probabilities[k]:.0%}" for k in np.argsort(-probabilities)[:3])
    said = title(heading, subtitle, describe_selection(len(shown), len(classes), "the most probable"))
    return spec([bars, text.encode(text="percent:N")], said, f"{heading}, {subtitle}: {top}.", 27 * len(rows))


def prediction(
    network: NetworkLogits,
    classes: Sequence[str],
    label: int | None,
    temperature: float,
    heading: str,
    shown: Sequence[int] | None = None,
) -> Spec:
    """`probability_bars` of a network's logits, softened by a temperature."""
    probabilities = softmax(network.logits, temperature)
    return probability_bars(
        probabilities, classes, label, network.role, heading, f"{network.name}, T = {temperature:g}", shown
    )


def hard_label(classes: Sequence[str], label: int) -> Spec:
    """The hard label as probabilities: one for its class, zero for every other."""
    probabilities = np.eye(len(classes))[label]
    return probability_bars(probabilities, classes, label, style.HUMAN, "The hard label", classes[label])
