"""Temperature in charts: a slider in the browser, a logarithmic axis, and curves, over the same range everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import entropy, kl_divergence, softmax
from kdexplorer.analysis.temperature_effects import push_size
from kdexplorer.charts import style
from kdexplorer.charts.common import NetworkLogits, Spec, data, fresh_student, spec, title, tooltips

T_MIN, T_MAX = 0.5, 20.0

CURVES = {
    "entropy": ("Entropy grows with T", "entropy (nats)"),
    "top": ("The largest probability shrinks with T", "largest probability"),
    "kl": ("KL from the teacher, with both softened", "KL from the teacher (nats)"),
    "push": ("Size of the gradient of T²·KL", "Σ|∂(T²·KL)/∂z| over classes"),
}
"""What can be drawn over T: its title and its unit."""

COMPARED = ("kl", "push")
"""The curves that compare a student with its teacher."""


def temperature_params() -> list[alt.Parameter]:
    """The slider (log2 T) and T itself."""
    slider = alt.binding_range(min=math.log2(T_MIN), max=math.log2(T_MAX), step=0.01, name="Temperature T, 0.5 to 20")
    return [alt.param(name="logT", value=0, bind=slider), alt.param(name="T", expr="pow(2, logT)")]


def slider_value(temperature: float) -> float:
    """The slider's value for a temperature: its log2."""
    return round(math.log2(temperature), 4)


def temperature_axis() -> alt.X:
    """The horizontal axis of curves over the field `T`."""
    scale = alt.Scale(type="log", domain=[T_MIN, T_MAX], nice=False)
    axis = alt.Axis(values=[0.5, 1, 2, 4, 8, 20], format="~g")
    return alt.X("T:Q", title="temperature T (log scale)", scale=scale, axis=axis)


def over_temperature(
    teacher: NetworkLogits, students: Sequence[NetworkLogits], measure: str, temperature: float
) -> Spec:
    """A key of `CURVES` over T; a rule marks the pinned temperature.

    Those in `COMPARED` are of the students alone; `push` is also of a student before its training.
    """
    networks = list(students) if measure in COMPARED else [teacher, *students]
    if measure == "push":
        networks.append(fresh_student(teacher))
    heading, unit = CURVES[measure]
    rows = [
        {"T": float(t), "value": _measure(teacher, network, measure, float(t)), "network": network.name}
        for network in networks
        for t in np.geomspace(T_MIN, T_MAX, 60)
    ]
    looks = style.series({network.name: network.role for network in networks})
    key = alt.Legend(orient="bottom", columns=1, symbolType="stroke", symbolSize=300, labelLimit=0, title=None)
    lines = alt.Chart(data(rows)).mark_line(strokeWidth=3)
    lines = lines.encode(
        x=temperature_axis(),
        y=alt.Y("value:Q", title=unit, scale=alt.Scale(zero=True)),
        color=style.color(looks).legend(key),
        strokeDash=style.dash(looks).legend(key),
        tooltip=tooltips(("network:N", "network"), ("T:Q", "T", ".2f"), ("value:Q", unit, ".4f")),
    )
    pinned = alt.Chart(data([{"T": temperature}])).mark_rule(strokeDash=[4, 4], color="#888888", size=2)
    layers = [lines, pinned.encode(x=alt.X("T:Q", title="temperature T (log scale)"))]
    described = f"Lines: {unit} over temperature for {', '.join(network.name for network in networks)}."
    return spec(layers, title(heading, f"dashed rule: T = {temperature:g}"), described, 260)


def _measure(teacher: NetworkLogits, network: NetworkLogits, measure: str, t: float) -> float:
    if measure == "kl":
        return kl_divergence(teacher.logits[None], network.logits[None], t)
    if measure == "push":
        return float(push_size(network.logits, teacher.logits, t))
    probabilities = softmax(network.logits, t)
    return float(entropy(probabilities) if measure == "entropy" else probabilities.max())
