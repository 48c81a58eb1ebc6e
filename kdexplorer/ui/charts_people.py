"""Charts of networks against people: how close a soft label is to what people answered, over the temperature."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np

from kdexplorer import people
from kdexplorer.inference import entropy
from kdexplorer.ui import style
from kdexplorer.ui.charts import FIT, PEOPLE, Spec, spec, title
from kdexplorer.ui.charts_soft import T_MAX, T_MIN

STEPS = 40


@dataclass(frozen=True)
class Closeness:
    """A network against people, in mean cross-entropy (nats): at `temperatures()`, at T = 1, and at the closest T.

    `temperature` and `least` are None where no temperature is closest; see `people.closest_temperature`.
    """

    curve: np.ndarray
    at_one: float
    temperature: float | None
    least: float | None


def temperatures() -> np.ndarray:
    """The temperatures of a curve, `[STEPS]`."""
    return np.geomspace(T_MIN, T_MAX, STEPS)


def closeness(answers: np.ndarray, logits: np.ndarray) -> Closeness:
    """How close a network is to people, of one image (`[classes]` each) or in the mean of many (`[N, classes]`)."""
    at = people.closest_temperature(answers, logits)
    curve = np.array([people.cross_entropy(answers, logits, t).mean() for t in temperatures()])
    at_one = float(people.cross_entropy(answers, logits).mean())
    return Closeness(curve, at_one, at, None if at is None else float(people.cross_entropy(answers, logits, at).mean()))


def closest(networks: dict[str, Closeness], roles: dict[str, str], answers: np.ndarray, of: str) -> Spec:
    """Cross-entropy against people over T, a mark where each network is closest.

    Args:
        networks: by name.
        roles: each network's, for its colour.
        answers: people's probabilities `[classes]` or `[N, classes]`: their entropy is the least that can be reached.
        of: what was answered, for the subtitle.
    """
    looks = style.series({name: roles[name] for name in networks})
    grid = temperatures()
    rows = [
        {"network": name, "T": round(float(t), 4), "value": round(float(value), 5)}
        for name, found in networks.items()
        for t, value in zip(grid, found.curve, strict=True)
    ]
    marks = [
        {"network": name, "T": found.temperature, "value": found.least}
        for name, found in networks.items()
        if found.temperature is not None and T_MIN <= found.temperature <= T_MAX
    ]
    floor = float(np.mean(entropy(answers)))
    scale = alt.Scale(type="log", domain=[T_MIN, T_MAX], nice=False)
    axis = alt.Axis(values=[0.5, 1, 2, 4, 8, 20], format="~g")
    x = alt.X("T:Q", title="temperature T (log scale)", scale=scale, axis=axis)
    y = alt.Y("value:Q", title="cross-entropy against people (nats)", scale=alt.Scale(zero=True))
    tips = [
        alt.Tooltip("network:N", title="Network"),
        alt.Tooltip("T:Q", format=".2f"),
        alt.Tooltip("value:Q", format=".4f", title="Cross-entropy"),
    ]
    base = alt.Chart(style.data(rows)).encode(x=x, y=y, color=style.colour(looks), tooltip=tips)
    layers = [
        alt.Chart(style.data([{"value": floor}])).mark_rule(color=PEOPLE, strokeWidth=2).encode(y=y),
        base.mark_line().encode(strokeDash=style.dash(looks), strokeWidth=style.width(looks)),
    ]
    if marks:
        points = alt.Chart(style.data(marks)).encode(x=x, y=y, color=style.colour(looks), tooltip=tips)
        layers.append(points.mark_point(size=130, filled=True, opacity=1).encode(shape=style.shape(looks)))
    chart = alt.layer(*layers).properties(
        height=280,
        width="container",
        autosize=FIT,
        title=title("How close to people", f"{of}. Marks: the closest T. Light blue: people's own entropy"),
        description=f"Cross-entropy against people over temperature, {of}; closest: "
        + ", ".join(f"{name} {in_words(found)}" for name, found in networks.items()),
    )
    return spec(chart)


def in_words(found: Closeness) -> str:
    """Where a network is closest: `T = 2.13`, or that there is no such temperature."""
    return "at no T" if found.temperature is None else f"at T = {found.temperature:.2f}"


def table(networks: dict[str, Closeness]) -> list[dict[str, str | float | None]]:
    """For the eye: each network's cross-entropy at T = 1, its closest temperature, and its cross-entropy there."""
    return [
        {
            "network": name,
            "cross-entropy against people at T = 1": round(found.at_one, 4),
            "closest T": None if found.temperature is None else round(found.temperature, 2),
            "cross-entropy there": None if found.least is None else round(found.least, 4),
        }
        for name, found in networks.items()
    ]


def doubt(networks: dict[str, Closeness], roles: dict[str, str], twins: dict[str, str]) -> str | None:
    """Does distillation carry human doubt over? The nearest student that heard soft labels, and its scratch twin.

    None where there is no such pair. `twins` are names by name (`relatives.twins`).
    """
    told = [name for name in networks if roles[name] in ("response", "combined") and twins.get(name) in networks]
    if not told:
        return None
    best = min(told, key=lambda name: networks[name].at_one)
    alone = twins[best]

    def against(first: float, second: float) -> str:
        words = "closer to people" if first < second else "no closer to people"
        return f"{words} ({first:.3f} against {second:.3f} nats)"

    text = (
        f"At T = 1 {best}, which heard a teacher's soft labels, is "
        f"{against(networks[best].at_one, networks[alone].at_one)} than {alone}, which heard none"
    )
    least = [networks[name].least for name in (best, alone)]
    return text + ("." if None in least else f"; each at its own closest T, it is {against(*least)}.")
