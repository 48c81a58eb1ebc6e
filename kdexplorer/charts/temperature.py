"""Temperature in charts: a slider in the browser, a logarithmic axis, and curves, over the same range everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import entropy, kl_divergence, softmax
from kdexplorer.charts import style
from kdexplorer.charts.common import FIT, NetworkLogits, Spec, data, spec, title

T_MIN, T_MAX = 0.5, 20.0

CURVES = {
    "entropy": "Entropy grows with T",
    "top": "The largest probability shrinks with T",
    "kl": "Teacher and student become more similar",
}
"""What can be drawn over T, and its title."""

_UNITS = {"entropy": "entropy (nats)", "top": "largest probability", "kl": "KL from the teacher (nats)"}


def temperature_params() -> list[alt.Parameter]:
    """The slider (log2 T) and T itself."""
    slider = alt.binding_range(min=math.log2(T_MIN), max=math.log2(T_MAX), step=0.01, name="Temperature T, 0.5 to 20")
    return [
        alt.param(name="logT", value=0, bind=slider),
        alt.param(name="T", expr="pow(2, logT)"),
    ]


def slider_value(temperature: float) -> float:
    """The slider's value for a temperature: its log2."""
    return round(math.log2(temperature), 4)


def temperature_axis() -> alt.X:
    """The horizontal axis of curves over the field `T`."""
    return alt.X(
        "T:Q",
        scale=alt.Scale(type="log", domain=[T_MIN, T_MAX], nice=False),
        title="temperature T (log scale)",
        axis=alt.Axis(values=[0.5, 1, 2, 4, 8, 20], format="~g"),
    )


def over_temperature(
    teacher: NetworkLogits, students: Sequence[NetworkLogits], measure: str, temperature: float
) -> Spec:
    """A measure over T: `entropy`, `top` or `kl` (the students' only); a rule marks the pinned temperature."""
    networks = [teacher, *students] if measure != "kl" else list(students)
    rows = [
        {"T": float(t), "value": _measure(teacher, network, measure)(float(t)), "network": network.name}
        for network in networks
        for t in np.geomspace(T_MIN, T_MAX, 60)
    ]
    looks = style.series({network.name: network.role for network in networks})
    key = alt.Legend(orient="bottom", columns=1, symbolType="stroke", symbolSize=300, labelLimit=0, title=None)
    lines = (
        alt.Chart(data(rows))
        .mark_line(strokeWidth=3)
        .encode(
            x=temperature_axis(),
            y=alt.Y("value:Q", title=_UNITS[measure], scale=alt.Scale(zero=True)),
            color=style.color(looks).legend(key),
            strokeDash=style.dash(looks).legend(key),
            tooltip=[
                "network:N",
                alt.Tooltip("T:Q", format=".2f"),
                alt.Tooltip("value:Q", format=".4f", title=_UNITS[measure]),
            ],
        )
    )
    pinned = alt.Chart(data([{"T": temperature}])).mark_rule(strokeDash=[4, 4], color="#888888", size=2)
    chart = alt.layer(lines, pinned.encode(x=alt.X("T:Q", title="temperature T (log scale)"))).properties(
        height=260,
        autosize=FIT,
        title=title(CURVES[measure], f"dashed rule: T = {temperature:g}"),
        description=f"Lines: {_UNITS[measure]} over temperature for {', '.join(n.name for n in networks)}.",
    )
    return spec(chart)


def _measure(teacher: NetworkLogits, network: NetworkLogits, measure: str) -> Callable[[float], float]:
    return {
        "entropy": lambda t: float(entropy(softmax(network.logits, t))),
        "top": lambda t: float(softmax(network.logits, t).max()),
        "kl": lambda t: kl_divergence(teacher.logits[None], network.logits[None], t),
    }[measure]
