"""Temperature in charts: a slider and a softmax in the browser, and curves over T, of one range everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.human_agreement import CURVE_TEMPERATURES, Closeness
from kdexplorer.analysis.metrics import entropy, kl_divergence, push_size, softmax
from kdexplorer.charts import style
from kdexplorer.charts.common import Source, Spec, data, fresh_student, spec, tooltips
from kdexplorer.charts.style import area, em

T_MIN, T_MAX = 0.5, 20.0

CURVES: dict[str, tuple[str, str, Callable[[np.ndarray, np.ndarray, float], Any]]] = {
    "entropy": ("Entropy grows with T", "entropy (nats)", lambda own, _, t: entropy(softmax(own, t))),
    "top": ("The largest probability shrinks with T", "largest probability", lambda own, _, t: softmax(own, t).max()),
    "kl": (
        "KL from the teacher, with both softened", "KL from the teacher (nats)",
        lambda own, teacher, t: kl_divergence(teacher[None], own[None], t),
    ),
    "push": ("Size of the gradient of T²·KL", "Σ|∂(T²·KL)/∂z| over classes", push_size),
}  # fmt: skip
"""What can be drawn over T: its title, its unit, and what computes it of a network's and the teacher's logits `[K]`."""

COMPARED = ("kl", "push")
"""The curves that compare a student with its teacher."""


def temperature_params() -> list[alt.Parameter]:
    """The slider (log2 T) and T itself."""
    slider = alt.binding_range(min=math.log2(T_MIN), max=math.log2(T_MAX), step=0.01, name="Temperature T")
    last = f"logT > {math.log2(T_MAX) - 0.003:.4f} ? {T_MAX:g} : pow(2, logT)"  # its steps do not end there
    return [alt.param(name="logT", value=0, bind=slider), alt.param(name="T", expr=last)]


def log_softmax(chart: alt.Chart, by: str, **logits: str) -> alt.Chart:
    """Adds log-probabilities to a chart's rows, one for each class, in the browser, over the groups of the field `by`.

    `logits` are, by the new field's name, an expression of a row's logit less the group's largest, divided by its
    temperature: `logp="datum.d / T"`.
    """
    sums: dict[str, Any] = {f"S_{name}": f"sum(e_{name})" for name in logits}
    return (
        chart.transform_calculate(**{f"e_{name}": f"exp({logit})" for name, logit in logits.items()})
        .transform_joinaggregate(**sums, groupby=[by])
        .transform_calculate(**{name: f"{logit} - log(datum.S_{name})" for name, logit in logits.items()})
    )


def kl(chart: alt.Chart, name: str, by: str, p: str, log_p: str, log_q: str) -> alt.Chart:
    """Adds the KL divergence of a group's rows as a field, from expressions of a row's p, its logarithm and log q."""
    sums: dict[str, Any] = {name: f"sum(t_{name})"}
    terms = chart.transform_calculate(**{f"t_{name}": f"{p} > 0 ? {p} * ({log_p} - {log_q}) : 0"})
    return terms.transform_joinaggregate(**sums, groupby=[by])


def temperature_axis() -> alt.X:
    """The horizontal axis of curves over the field `T`."""
    scale = alt.Scale(type="log", domain=[T_MIN, T_MAX], nice=False)
    axis = alt.Axis(values=[0.5, 1, 2, 4, 8, 20], format="~g")
    return alt.X("T:Q", title="temperature T (log scale)", scale=scale, axis=axis)


def over_temperature(source: Source, curve: str) -> Spec:
    """The `curve` of `CURVES` over T; a rule marks the source's temperature.

    Those in `COMPARED` are of the students alone; `push` is also of a student before its training.
    """
    teacher, networks = source.teacher, source.students if curve in COMPARED else [*source.logits]
    if curve == "push":
        networks.append(fresh_student(teacher))
    heading, unit, measure = CURVES[curve]
    rows = [
        {"T": t, "value": float(measure(network.logits, teacher.logits, t)), "network": network.name}
        for network in networks
        for t in np.geomspace(T_MIN, T_MAX, 60).tolist()
    ]
    looks = style.series({network.name: network.role for network in networks})
    key = alt.Legend(orient="bottom", columns=1, symbolType="stroke", symbolSize=area(300), labelLimit=0, title=None)
    lines = (
        alt.Chart(data(rows))
        .mark_line(strokeWidth=em(3))
        .encode(
            x=temperature_axis(),
            y=alt.Y("value:Q", title=unit, scale=alt.Scale(zero=True)),
            color=style.color(looks).legend(key),
            strokeDash=style.dash(looks).legend(key),
            tooltip=tooltips(("network:N", "network"), ("T:Q", "T", ".2f"), ("value:Q", unit, ".4f")),
        )
    )
    pinned = alt.Chart(data([{"T": source.temperature}])).mark_rule(strokeDash=[4, 4], color="#888888", size=em(2))
    layers = [lines, pinned.encode(x=alt.X("T:Q", title="temperature T (log scale)"))]
    described = f"Lines: {unit} over temperature for {', '.join(network.name for network in networks)}."
    return spec(layers, heading, f"dashed rule: T = {source.temperature:g}", described, 260)


def closeness_curves(
    networks: Mapping[str, Closeness], roles: Mapping[str, str], human_labels: np.ndarray, subject: str
) -> Spec:
    """Cross-entropy to the human labels over T, with a marker where each network is closest.

    The entropy of the human labels, `[K]` or `[N, K]`, is its lower bound. `roles` are the networks', see
    `style.role_of`; `subject` says which images.
    """
    looks = style.series({name: roles[name] for name in networks})
    rows = [
        {"network": name, "T": round(float(t), 4), "value": round(float(value), 5)}
        for name, closeness in networks.items()
        for t, value in zip(CURVE_TEMPERATURES, closeness.curve, strict=True)
    ]
    closest = [
        {"network": name, "T": closeness.temperature, "value": closeness.least}
        for name, closeness in networks.items()
        if closeness.temperature is not None and T_MIN <= closeness.temperature <= T_MAX
    ]
    y = alt.Y("value:Q", title="cross-entropy to the human labels (nats)", scale=alt.Scale(zero=True))
    tips = tooltips(("network:N", "Network"), ("T:Q", "T", ".2f"), ("value:Q", "Cross-entropy", ".4f"))
    drawn: dict[str, Any] = {"x": temperature_axis(), "y": y, "color": style.color(looks), "tooltip": tips}
    bound = alt.Chart(data([{"value": float(np.mean(entropy(human_labels)))}]))
    cues = {"strokeDash": style.dash(looks, not closest), "strokeWidth": style.width(looks, not closest)}
    layers = [
        bound.mark_rule(color=style.look_of(style.HUMAN).color, strokeWidth=em(2)).encode(y=y),
        alt.Chart(data(rows)).mark_line().encode(**drawn, **cues),
    ]
    if closest:
        markers = alt.Chart(data(closest)).mark_point(size=area(130), filled=True, opacity=1)
        layers.append(markers.encode(**drawn, shape=style.shape(looks)))
    marked = "Markers: the closest T. " * bool(closest)
    said = f"{subject}. {marked}Horizontal line: entropy of the human labels"
    described = ", ".join(f"{name} {describe_closest(closeness)}" for name, closeness in networks.items())
    description = f"Cross-entropy to the human labels over temperature, {subject}; closest: {described}"
    return spec(layers, "How close to the human labels", said, description, 280)


def describe_closest(closeness: Closeness) -> str:
    """Where a network is closest: `at T = 2.13`, or that there is no such temperature."""
    return "at no T" if closeness.temperature is None else f"at T = {closeness.temperature:.2f}"
