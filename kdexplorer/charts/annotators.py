"""Networks and human labels: how close a soft label is to the annotators' labels, over the temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.human_agreement import CURVE_TEMPERATURES, Closeness
from kdexplorer.analysis.metrics import entropy
from kdexplorer.charts import style
from kdexplorer.charts.common import Spec, data, spec, title, tooltips
from kdexplorer.charts.sizes import area, em
from kdexplorer.charts.temperature import T_MAX, T_MIN, temperature_axis


def closeness_curves(
    networks: Mapping[str, Closeness], roles: Mapping[str, str], human_labels: np.ndarray, subject: str
) -> Spec:
    """Cross-entropy to the human labels over T, with a marker where each network is closest.

    Args:
        networks: by name.
        roles: each network's, see `style.role_of`.
        human_labels: shares of annotators `[K]` or `[N, K]`; their entropy is the lower bound of the cross-entropy.
        subject: which images, for the subtitle.
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
    lines = alt.Chart(data(rows)).mark_line().encode(**drawn, strokeDash=style.dash(looks, not closest))
    layers = [
        bound.mark_rule(color=style.look_of(style.HUMAN).color, strokeWidth=em(2)).encode(y=y),
        lines.encode(strokeWidth=style.width(looks, not closest)),
    ]
    if closest:
        markers = alt.Chart(data(closest)).mark_point(size=area(130), filled=True, opacity=1)
        layers.append(markers.encode(**drawn, shape=style.shape(looks)))
    said = f"{subject}. Markers: the closest T. Gray: entropy of the human labels"
    described = ", ".join(f"{name} {describe_closest(closeness)}" for name, closeness in networks.items())
    description = f"Cross-entropy to the human labels over temperature, {subject}; closest: {described}"
    return spec(layers, title("How close to the human labels", said), description, 280)


def describe_closest(closeness: Closeness) -> str:
    """Where a network is closest: `at T = 2.13`, or that there is no such temperature."""
    return "at no T" if closeness.temperature is None else f"at T = {closeness.temperature:.2f}"
