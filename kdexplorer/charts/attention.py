"""Attention maps of one image, overlays whose opacity is set in the browser, and their similarity over many images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.attention_similarity import StageSimilarity, compare_maps, map_difference, relative_map
from kdexplorer.charts import style
from kdexplorer.charts.common import INK, Spec, data, fill_shape, spec, title, tooltips
from kdexplorer.charts.style import DESIGN_EM, area, em
from kdexplorer.images.picture import PALETTES, data_url, enlarge_png, map_png

HEIGHT = 321
"""Of all stages' maps with their numbers, in pixels in a window of 1280 pixels: they then fit its first screen."""


@dataclass(frozen=True)
class NetworkMaps:
    """One network's attention maps `[H, W]` of the image by stage, its name, and its role (see `style.role_of`).

    `beta` is the weight of the attention term for the numbers under the maps, see `attention_weight`.
    """

    name: str
    role: str
    maps: list[np.ndarray]
    beta: float


def relative_maps(rows: Sequence[NetworkMaps], mode: str) -> list[list[np.ndarray | None]]:
    """What is colored: `map` relative to an even spread, or `difference` to the first row's.

    A map is None where the network has another number of stages than the first.
    """
    if mode != "difference":
        return [[relative_map(map_) for map_ in row.maps] for row in rows]
    first = rows[0].maps
    return [
        [map_difference(*pair) for pair in zip(row.maps, first, strict=True)]
        if len(row.maps) == len(first)
        else [None] * len(row.maps)
        for row in rows
    ]


def color_limits(values: Sequence[Sequence[np.ndarray | None]], mode: str) -> tuple[float, float]:
    """The ends of the shared scale: zero to the 99th percentile of all maps, or symmetric about zero for differences.

    A single bright pixel would darken every map; values beyond the ends take the ends' color.
    """
    found = [map_ for row in values for map_ in row if map_ is not None]
    top = max((float(np.quantile(np.abs(map_), 0.99)) for map_ in found), default=1.0)
    if mode == "difference":
        return -max(top, 1e-6), max(top, 1e-6)
    return min(0.0, min((float(map_.min()) for map_ in found), default=0.0)), max(top, 1e-6)


def grid(rows: Sequence[NetworkMaps], photo: np.ndarray, mode: str, shared: bool, opacity: float) -> Spec:
    """Stages by networks: the photo under each map, the map's opacity on a slider in the browser.

    Args:
        rows: the teacher first.
        photo: uint8 `[32, 32, 3]`.
        mode: `map` or `difference` (to the teacher).
        shared: one color scale for all maps, or one for each map.
        opacity: where the slider starts, 0 (photo) to 1 (map alone).
    """
    values = relative_maps(rows, mode)
    limits = color_limits(values, mode)
    stages = max(len(row.maps) for row in rows)
    shown = [row for row in rows if mode != "difference" or row is not rows[0]]  # the teacher's is zero everywhere
    cells = []
    for row, maps in zip(rows, values, strict=True):
        numbers = describe_stages(row, rows[0])
        for stage, map_ in enumerate(maps):
            if row in shown and map_ is not None:
                top = max(float(np.abs(map_).max()), 1e-6)
                own = (-top, top) if mode == "difference" else (float(map_.min()), float(map_.max()))
                url = data_url(map_png(map_, *(limits if shared else own), mode))
                place = {"network": row.name, "stage": f"stage {stage + 1}", "column": shown.index(row), "row": stage}
                cells.append(place | {"url": url} | numbers[stage])
    heads = [{"network": row.name, "column": k, "color": style.look_of(row.role).color} for k, row in enumerate(shown)]
    heading = "Spatial attention of each network"
    if mode == "difference":
        heading = "Student minus teacher: more attention (orange) or less (violet)"
    return fill_shape(
        _grid_shape(max(1, len(shown)), stages),
        {"cells": cells, "heads": heads},
        {"opacity": opacity, "photo": data_url(enlarge_png(photo, 192)), "heading": heading},
        f"Grid of attention maps over the image: {', '.join(row.name for row in shown)} in columns, {stages} stages in "
        "rows; under each student's map its similarity to the teacher's.",
    )


def describe_stages(row: NetworkMaps, teacher: NetworkMaps) -> list[dict[str, str]]:
    """For each stage three lines of numbers under the map, and its size for the tooltip.

    Args:
        row: the network.
        teacher: to whose maps it is compared; the same object has the sizes alone.
    """
    sizes = [" × ".join(str(side) for side in map_.shape) for map_ in row.maps]
    if row is teacher:
        return [
            {"size": size, "first": f"stage {number}: {size}", "second": "", "third": ""}
            for number, size in enumerate(sizes, start=1)
        ]
    if len(row.maps) != len(teacher.maps):
        return [{"size": size, "first": "not comparable", "second": "", "third": ""} for size in sizes]
    compared = compare_maps([map_[None] for map_ in row.maps], [map_[None] for map_ in teacher.maps])
    cosine, mse, correlation, _ = compared[:, 0]
    return [
        {
            "size": size,
            "first": f"correlation {correlation[stage]:.2f}",
            "second": f"cosine {cosine[stage]:.3f}",
            "third": f"β·MSE {row.beta * mse[stage]:.3f} ({mse[stage] / max(mse.sum(), 1e-30):.0%})",
        }
        for stage, size in enumerate(sizes)
    ]


@lru_cache(maxsize=32)
def _grid_shape(networks: int, stages: int) -> Spec:
    """The grid without its maps and numbers."""
    slider = alt.binding_range(min=0, max=1, step=0.01, name="Opacity of the maps, 0 to 1")
    listed = ", ".join(f"stage {number}" for number in range(1, stages + 1))
    side = f"{HEIGHT / DESIGN_EM / stages:.4g} * em - {_LINE} * em"
    params = [
        alt.param(name="opacity", value=0, bind=slider),
        alt.param(name="photo", value=""),
        alt.param(name="column", expr=f"width / {max(networks, 3)}"),
        alt.param(name="cell", expr=f"max(0, min({side}, column - em / 2))"),  # the first layout may have no width
    ]
    height = f"{_NAMES} * em + {stages} * (cell + {_LINE} * em)"
    return spec([*_pictures(), *_names()], title("", f"rows: {listed}"), "", height, *params)


_NAMES, _LINE = 2.5, 1.4
"""Height of the networks' names, and of the line under a map, in `em`."""


def _pictures() -> list[alt.Chart]:
    """The photo, the map over it, and a line of text under it."""
    base = alt.Chart(alt.NamedData("cells")).transform_calculate(
        left="datum.column * column", top=f"{_NAMES} * em + datum.row * (cell + {_LINE} * em)"
    )
    side = alt.expr("cell")
    x, y = alt.X("left:Q", scale=None, axis=None), alt.Y("top:Q", scale=None, axis=None)
    picture: dict[str, Any] = {"align": "left", "baseline": "top", "aspect": False, "width": side, "height": side}
    numbers = [("first:N", "similarity"), ("second:N", "loss"), ("third:N", "weighted loss")]
    tooltip = tooltips(("network:N", "network"), ("stage:N", "stage"), ("size:N", "map"), *numbers)
    short = "column < 8.5 * em ? replace(datum.first, regexp('^(correlation|stage [0-9]+:) '), '') : datum.first"
    below = base.transform_calculate(below=f"datum.top + cell + {_LINE / 2} * em", short=short)
    text = below.mark_text(color=INK, align="left", baseline="middle")
    return [
        base.mark_image(**picture).encode(x=x, y=y, url=alt.UrlValue(alt.expr("photo"))),
        base.mark_image(**picture, opacity=alt.expr("opacity")).encode(x=x, y=y, url="url:N", tooltip=tooltip),
        text.encode(x=x, y=alt.Y("below:Q", scale=None, axis=None), text="short:N"),
    ]


def _names() -> list[alt.Chart]:
    """Each network's color and name above its column, the name in as many lines as it needs."""
    count = "max(6, floor((column - 1.4 * em) / (0.6 * em)))"
    lines = f"replace(datum.network, regexp('(.{{1,' + {count} + '}})(-|$)', 'g'), '$1$2\\n')"
    heads = alt.Chart(alt.NamedData("heads")).transform_calculate(left="datum.column * column", lines=lines)
    color = alt.Color("color:N", scale=None, legend=None)
    names = heads.transform_calculate(left="datum.left + 1.2 * em").mark_text(
        color=INK, align="left", baseline="top", fontWeight="bold", lineBreak="\n", lineHeight=em(19)
    )
    squares = heads.transform_calculate(left="datum.left + em / 2").mark_square(size=area(200), opacity=1)
    x = alt.X("left:Q", scale=None, axis=None)
    return [
        squares.encode(x=x, y=alt.YValue(em(9)), color=color),
        names.encode(x=x, y=alt.YValue(0), text="lines:N"),
    ]


def scale_bar(low: float, high: float, mode: str, shared: bool) -> Spec:
    """What the colors measure, and whether all maps share the scale."""
    starts, step = np.linspace(low, high, 64), (high - low) / 64
    steps = [{"value": float(start), "end": float(start + 1.5 * step)} for start in starts]  # overlap: no seams
    unit = "student minus teacher" if mode == "difference" else "attention (1 = spread evenly)"
    axis = alt.Axis(title=None, tickCount=5, grid=False)
    if not shared:
        least, most = ("−", "+") if mode == "difference" else ("least", "most")
        axis = alt.Axis(
            title=None,
            values=[low, high],
            labelExpr=f"datum.index == 0 ? '{least}' : '{most}'",
            grid=False,
        )
    colors = alt.Scale(range=list(PALETTES[mode]), domain=[low, high])
    x = alt.X("value:Q", axis=axis, scale=alt.Scale(domain=[low, high + 1.5 * step], nice=False))
    bar = alt.Chart(data(steps)).mark_rect()
    heading = title(unit if shared else f"{unit.split(' (')[0]}, each map on its own scale")
    described = f"Color scale: {unit}, {'shared by all maps' if shared else 'each map on its own'}."
    return spec(
        [bar.encode(x=x, x2="end:Q", color=alt.Color("value:Q", scale=colors, legend=None))], heading, described, 12
    )


_SUMMARY = ("correlation", "low", "high", "chance", "cosine", "mse")
"""What the chart shows of a stage's comparison."""


def similarity_by_stage(
    summaries: Mapping[str, Sequence[StageSimilarity]], roles: Mapping[str, str], count: int
) -> Spec:
    """Mean correlation with the teacher's map by stage and student; lines span the middle 80 % of images.

    A tick marks the chance level: the correlation with the teacher's map of another image.

    Args:
        summaries: `attention_similarity.summarize` by network.
        roles: each network's, see `style.role_of`.
        count: how many images were compared.
    """
    looks = style.series({name: roles[name] for name in summaries})
    rows = [
        {key: getattr(summary, key) for key in _SUMMARY} | {"network": name, "stage": f"stage {summary.stage}"}
        for name, stages in summaries.items()
        for summary in stages
    ]
    rows = [row | {"chance": None if math.isnan(row["chance"]) else row["chance"]} for row in rows]
    stages, words = list(dict.fromkeys(row["stage"] for row in rows)), "correlation with the teacher's map (1 = same)"
    base = alt.Chart(data(rows)).encode(
        x=alt.X("stage:N", sort=stages, title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("network:N", sort=list(summaries)),
        color=style.color(looks),
    )
    spread = base.mark_rule(strokeWidth=em(4), opacity=0.5).encode(y=alt.Y("low:Q", title=words), y2="high:Q")
    points = base.mark_point(size=area(170), filled=True, opacity=1).encode(
        y=alt.Y("correlation:Q", title=words),
        shape=style.shape(looks),
        tooltip=tooltips(
            ("network:N", "network"), ("stage:N", "stage"), ("correlation:Q", "mean correlation", ".3f"),
            ("low:Q", "10th percentile", ".3f"), ("high:Q", "90th percentile", ".3f"), ("chance:Q", "chance", ".3f"),
            ("cosine:Q", "mean cosine", ".4f"), ("mse:Q", "mean MSE", ".2e"),
        ),
    )  # fmt: skip
    chance = base.transform_filter("isValid(datum.chance)").mark_tick(orient="horizontal", thickness=3, size=26)
    chance = chance.encode(y=alt.Y("chance:Q", title=words))
    over = f"mean of {count:,} test images; lines: 10th to 90th percentile; ticks: chance, another image's map"
    described = (
        f"Points with spread: centered correlation with the teacher's attention per stage for {', '.join(summaries)}, "
        "and ticks for its chance level."
    )
    return spec([spread, points, chance], title("Similarity to the teacher's attention", over), described, 360)
