"""Which classes are confused: one network's confusion matrix, and the difference of two."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import confusion
from kdexplorer.charts.common import FIT, Spec, data, describe_selection, largest_classes, spec, title

_RULE = "the most confused"


def confusion_map(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], name: str) -> Spec:
    """How often each true class is predicted as each class; a row of the whole matrix sums to 100 %.

    Args:
        logits: `[N, K]`.
        labels: int `[N]`.
        classes: their names; of more than ten, those with the most confusion are shown.
        name: the network's.
    """
    shares = confusion(logits, labels, len(classes))
    off = shares - np.diag(np.diag(shares))
    shown = _most_confused(off)
    true, predicted = divmod(int(off.argmax()), len(classes))
    scale = alt.Scale(scheme="cividis", domain=[0, 1], type="pow", exponent=0.5)
    color = alt.Color("share:Q", scale=scale, legend=_legend("Share of the true class (square-root scale)", ".0%"))
    return spec(
        _cells(shares, classes, shown, color, ".0%", 0.005, "datum.share > 0.35").properties(
            title=title(f"Confusion of {name}", describe_selection(len(shown), len(classes), _RULE)),
            description=f"Confusion matrix of {name}; the most frequent error predicts {classes[predicted]} for "
            f"{classes[true]}, {off[true, predicted]:.1%} of its images",
        )
    )


def confusion_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, classes: Sequence[str], names: tuple[str, str]
) -> Spec:
    """The first network's confusion minus the second's, in percentage points, on a scale symmetric about zero.

    Args:
        first, second: logits `[N, K]`.
        labels: int `[N]`.
        classes: their names; of more than ten, those with the largest differences are shown.
        names: of the two networks.
    """
    points = 100 * (confusion(first, labels, len(classes)) - confusion(second, labels, len(classes)))
    shown = _most_confused(np.abs(points))
    reach = max(1.0, float(np.abs(points).max()))
    i, j = divmod(int(np.abs(points).argmax()), len(classes))
    scale = alt.Scale(scheme="blueorange", domain=[-reach, reach], domainMid=0)
    color = alt.Color("share:Q", scale=scale, legend=_legend("Difference (points of the true class)", "+.0f"))
    selection = describe_selection(len(shown), len(classes), "the largest differences")
    return spec(
        _cells(points, classes, shown, color, "+.0f", 0.5, f"abs(datum.share) < {0.6 * reach}").properties(
            title=title("Difference of the confusion", f"{names[0]} minus {names[1]}", selection),
            description=(
                f"Difference of the confusion matrices, {names[0]} minus {names[1]}; largest: {classes[i]} predicted "
                f"as {classes[j]}, {points[i, j]:+.1f} points"
            ),
        )
    )


def _most_confused(sizes: np.ndarray) -> list[int]:
    """The classes whose rows and columns have the largest sums."""
    return largest_classes(sizes.sum(axis=0) + sizes.sum(axis=1))


def _legend(heading: str, number_format: str) -> alt.Legend:
    lines = textwrap.wrap(heading, 26)  # a phone's plot is no wider
    return alt.Legend(orient="bottom", title=lines, format=number_format, gradientLength=190, tickCount=5)


def _cells(
    values: np.ndarray,
    classes: Sequence[str],
    shown: Sequence[int],
    color: alt.Color,
    number_format: str,
    least: float,
    dark_text: str,
) -> alt.LayerChart | alt.FacetChart:
    """Colored cells; those of at least `least` have their number, dark where the expression `dark_text` holds."""
    names, signed = [classes[index] for index in shown], "+" in number_format
    rows = [
        {"true": classes[i], "predicted": classes[j], "share": round(float(values[i, j]), 4)}
        for i in shown
        for j in shown
    ]
    plain: dict[str, Any] = {"labelLimit": 110, "ticks": False, "domain": False, "grid": False}
    across = alt.Axis(labelAngle=-60, labelOverlap=False, **plain)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("predicted:N", sort=names, title="Predicted class", axis=across),
        y=alt.Y("true:N", sort=names, title="True class", axis=alt.Axis(**plain)),
        tooltip=[
            alt.Tooltip("true:N", title="True class"),
            alt.Tooltip("predicted:N", title="Predicted class"),
            alt.Tooltip("share:Q", title="Value", format="+.1f" if signed else ".1%"),
        ],
    )
    number = "format(datum.share, '+.0f')" if signed else "format(datum.share * 100, '.0f')"
    numbers = (
        base.transform_calculate(text=number)
        .transform_filter(f"abs(datum.share) >= {least}")
        .mark_text(fontSize=11)
        .encode(text="text:N", color=alt.condition(dark_text, alt.value("#111111"), alt.value("#FFFFFF")))
    )
    return alt.layer(base.mark_rect().encode(color=color), numbers).properties(
        height=380, width="container", autosize=FIT
    )
