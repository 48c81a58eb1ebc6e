"""Maps of classes by classes: which a network finds similar, which it confuses, and how two networks differ."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import confusion
from kdexplorer.charts import common
from kdexplorer.charts.common import CLASS_LIMIT, Spec, data, describe_selection, join_parts, largest_classes, spec
from kdexplorer.charts.style import em

CELL = 30
"""Height of a class where there are many, in pixels in a window of 1280 pixels."""


def _largest(sizes: np.ndarray, limit: int) -> list[int]:
    return largest_classes(sizes.sum(axis=0) + sizes.sum(axis=1), limit)


def similarities(
    matrices: Mapping[str, np.ndarray],
    classes: Sequence[str],
    temperatures: Sequence[float],
    diagonal: bool = False,
    limit: int = CLASS_LIMIT,
) -> dict[str, Spec]:
    """The mean soft label per class as a map for each network, on one color scale.

    Args:
        matrices: by network, one for each temperature: `[T, K, K]`, see `analysis.metrics.class_similarity`.
        temperatures: one, or several at equal ratios; between those the browser interpolates at its slider `logT`.
        diagonal: whether the diagonal is shown.
        limit: at most so many classes are shown, those that share most probability with others.
    """
    every, off_diagonal = np.stack([*matrices.values()]), ~np.eye(len(classes), dtype=bool)
    shown = _largest(np.nan_to_num(every.mean(axis=(0, 1))) * off_diagonal, limit)
    top = max(float(np.nanmax(every if diagonal else every[..., off_diagonal])), 1e-6)
    first, *others = np.log2(temperatures).tolist()
    params: list[alt.Parameter] = []
    if others:
        spacing, last = others[0] - first, len(others)
        place = f"clamp((logT - {first}) / {spacing}, 0, {last})"
        params = [alt.param(name="logT", value=2.0), alt.param(name="place", expr=place)]
        params.append(alt.param(name="step", expr="floor(place)"))
        above = f"datum.values[min(step + 1, {last})]"
        between = f"datum.values[step] + (place - step) * ({above} - datum.values[step])"
    color = _color(alt.Scale(scheme="viridis", domain=[0, top], clamp=True), "mean probability", ".0%")
    names, tips = [classes[index] for index in shown], ("images of class", "probability given to", "mean probability")
    number, dark = "format(datum.value, '.0%')", f"datum.value > {0.6 * top}"
    selection = describe_selection(len(shown), len(classes), "the largest similarities")
    said = join_parts(selection, "" if diagonal else "diagonal removed")
    found = {}
    for name, stack in matrices.items():
        rounded = np.round(stack, 5)
        rows = [
            {"of": classes[i], "as": classes[j]}
            | ({"values": rounded[:, i, j].tolist()} if others else {"value": float(rounded[0, i, j])})
            for i in shown
            for j in shown
            if (diagonal or i != j) and np.isfinite(rounded[:, i, j]).all()
        ]
        chart = alt.Chart(data(rows))
        heading: str | alt.ExprRef = f"{name} at T = {2**first:g}"
        if others:
            chart = chart.transform_calculate(value=between)
            heading = alt.expr(f"{json.dumps(name + ' at T = ')} + format(pow(2, {first} + place * {spacing}), '.2f')")
        layers = _draw_cells(chart, names, tips, ".2%", color, number, dark)
        described = f"Map of classes by classes: the mean probability that {name} gives each, per class of image."
        found[name] = spec(layers, heading, said, described, max(420, CELL * len(shown)), *params)
    return found


def confusion_map(
    logits: Sequence[np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    names: Sequence[str],
    limit: int = CLASS_LIMIT,
) -> Spec:
    """How often each true class is predicted as each class; of two networks the first's less the second's, in points.

    A row of a network's whole matrix sums to 100 %. Logits are `[N, K]`, labels int `[N]`. At most `limit` classes are
    shown, those with the most confusion or the largest differences.
    """
    values, *other = (confusion(one, labels) for one in logits)
    if other:
        values = 100 * (values - other[0])
        sizes, rule, form = np.abs(values), "the largest differences", "+.1f"
        heading, said = "Difference in confusion", " minus ".join(names)
        reach = max(1.0, float(sizes.max()))
        scale = alt.Scale(scheme="blueorange", domain=[-reach, reach], domainMid=0)
        color = _color(scale, "Difference (points of the true class)", "+.0f")
        number, dark = "abs(datum.value) < 0.5 ? '' : format(datum.value, '+.0f')", f"abs(datum.value) < {0.6 * reach}"
    else:
        sizes, rule, form = values - np.diag(np.diag(values)), "the most confused", ".1%"
        heading, said = f"Confusion of {names[0]}", ""
        scale = alt.Scale(scheme="cividis", domain=[0, 1], type="pow", exponent=0.5)
        color = _color(scale, "Share of the true class (square-root scale)", ".0%")
        number, dark = "datum.value < 0.005 ? '' : format(datum.value * 100, '.0f')", "datum.value > 0.35"
    shown, (true, predicted) = _largest(sizes, limit), divmod(int(sizes.argmax()), len(classes))
    rows = [{"of": classes[i], "as": classes[j], "value": round(float(values[i, j]), 4)} for i in shown for j in shown]
    titles = ("True class", "Predicted class", "Value")
    layers = _draw_cells(alt.Chart(data(rows)), [classes[k] for k in shown], titles, form, color, number, dark)
    largest = f"{classes[true]} predicted as {classes[predicted]}, {values[true, predicted]:{form}}"
    described = f"{', '.join(filter(None, [heading, said]))}; the largest of two classes: {largest}"
    said = join_parts(said, describe_selection(len(shown), len(classes), rule))
    return spec(layers, heading, said, described, max(300, CELL * len(shown)))


def _color(scale: alt.Scale, heading: str, number_format: str) -> alt.Color:
    lines = textwrap.wrap(heading, 26)  # a phone's plot is no wider
    legend = alt.Legend(orient="bottom", title=lines, format=number_format, gradientLength=em(240), tickCount=5)
    return alt.Color("value:Q", scale=scale, legend=legend)


def _draw_cells(
    chart: alt.Chart,
    names: Sequence[str],
    titles: tuple[str, str, str],
    form: str,
    color: alt.Color,
    number: str,
    dark: str,
) -> list[alt.Chart]:
    """Colored cells of rows with `of`, `as` and `value`, whose titles these are.

    `form` is the value's format in the tooltip; `number` and `dark` are a cell's text and whether it is dark, as Vega
    expressions.
    """
    plain: dict[str, Any] = {"ticks": False, "domain": False, "grid": False}
    across = alt.Axis(labelAngle=-60, labelOverlap=False, **plain)
    base = chart.transform_calculate(text=number).encode(
        x=alt.X("as:N", sort=names, title=titles[1], axis=across),
        y=alt.Y("of:N", sort=names, title=titles[0], axis=alt.Axis(**plain)),
        tooltip=common.tooltips(("of:N", titles[0]), ("as:N", titles[1]), ("value:Q", titles[2], form)),
    )
    if len(names) > CLASS_LIMIT:  # no room for numbers
        return [base.mark_rect().encode(color=color)]
    ink = alt.condition(dark, alt.value("#111111"), alt.value("#FFFFFF"))
    return [base.mark_rect().encode(color=color), base.mark_text().encode(text="text:N", color=ink)]
