"""Which classes a network finds similar: the mean soft label of each class as a map."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from kdexplorer.charts.common import CLASS_LIMIT, FIT, Spec, describe_selection, largest_classes, spec, title


def most_similar_classes(matrices: np.ndarray, limit: int = CLASS_LIMIT) -> list[int]:
    """The classes that share most probability with others off the diagonal, as indices; all where they are few.

    Args:
        matrices: `[K, K]`, or a stack of those; see `analysis.metrics.class_similarity`.
        limit: how many to select.
    """
    mean = matrices.reshape(-1, *matrices.shape[-2:]).mean(axis=0)
    others = np.nan_to_num(mean) * ~np.eye(len(mean), dtype=bool)
    return largest_classes(others.sum(axis=0) + others.sum(axis=1), limit)


def similarity(
    matrices: np.ndarray,
    classes: Sequence[str],
    name: str,
    top: float,
    diagonal: bool,
    octaves: tuple[float, ...] = (),
    shown: Sequence[int] | None = None,
) -> Spec:
    """The mean soft label per class as a map.

    Args:
        matrices: `[K, K]`; or one for each of `octaves`, `[S, K, K]`.
        classes: their names.
        name: the network's.
        top: the probability at the end of the color scale.
        diagonal: whether the diagonal is shown.
        octaves: log2 T of each matrix, evenly spaced; the parameter `logT` then picks the nearest in the browser.
        shown: indices of the classes to show; by default see `most_similar_classes`.
    """
    shown = most_similar_classes(matrices) if shown is None else shown
    names = [classes[index] for index in shown]
    stack = (matrices if octaves else matrices[None])[:, shown][:, :, shown]
    rows = [
        {"of": of, "as": as_} | _values(stack[:, i, j])
        for i, of in enumerate(names)
        for j, as_ in enumerate(names)
        if (diagonal or i != j) and np.isfinite(stack[:, i, j]).all()
    ]
    chart = alt.Chart(alt.Data(values=rows))  # in the specification: as a data set of its own a list is no list
    if octaves:
        chart = chart.transform_calculate(value="datum.values[step]")
    heading, parameters = _choose_matrix(name, octaves)
    selection = describe_selection(len(shown), len(classes), "the largest similarities")
    return spec(
        alt.layer(*_cells(chart, names, top))
        .properties(
            height=420,
            autosize=FIT,
            title=title(heading, selection, "" if diagonal else "diagonal removed"),
            description=f"Map of classes by classes: the mean probability that {name} gives each, per class of image.",
        )
        .add_params(*parameters)
    )


def _values(values: np.ndarray) -> dict[str, float | list[float]]:
    rounded = np.round(values, 5).tolist()
    return {"values": rounded} if len(rounded) > 1 else {"value": rounded[0]}


def _choose_matrix(name: str, octaves: tuple[float, ...]) -> tuple[str | alt.ExprRef, list[alt.Parameter]]:
    """The title, and the parameters that choose the matrix of the nearest temperature."""
    if not octaves:
        return name, []
    first, spacing = octaves[0], octaves[1] - octaves[0]
    nearest = f"clamp(round((logT - {first}) / {spacing}), 0, {len(octaves) - 1})"
    heading = alt.expr(f"'{name} at T = ' + format(pow(2, {first} + step * {spacing}), '.2f')")
    return heading, [alt.param(name="logT", value=2.0), alt.param(name="step", expr=nearest)]


def _cells(chart: alt.Chart, names: Sequence[str], top: float) -> list[alt.Chart]:
    """Colored cells with their percentages."""
    labels = alt.Axis(labelAngle=-60, labelOverlap=False)
    base = chart.transform_calculate(light=f"datum.value > {0.6 * top}").encode(
        x=alt.X("as:N", sort=names, title="probability given to", axis=labels),
        y=alt.Y("of:N", sort=names, title="images of class"),
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
    return [cells, text]
