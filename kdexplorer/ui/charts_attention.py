"""Charts of attention: a grid of overlays whose opacity lives in the browser, and similarity per stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import altair as alt
import numpy as np
import pandas as pd

from kdexplorer import attention_study, drawing
from kdexplorer.ui.charts import COLOURS, FIT, INK, SHAPES, Spec, broken, filled, spec, title
from kdexplorer.ui.style import legend

CELL, LABEL, LINE = 180, 30, 19
"""Pixels: a map at most, a network's name above its row, a line of numbers under a map."""
BETWEEN = LABEL + 3 * LINE + 12
"""Pixels from the end of one network's maps to the next one's."""


@dataclass(frozen=True)
class Row:
    """One network's row: name, role, maps `[H, W]` a stage, and per stage cosine and MSE to the teacher's (or None)."""

    name: str
    role: str
    maps: list[np.ndarray]
    cosine: np.ndarray | None = None
    mse: np.ndarray | None = None


def row(name: str, role: str, maps: list[np.ndarray], teacher: list[np.ndarray] | None = None) -> Row:
    """A network's row, with its likeness to the teacher's maps where those are given and have the same stages."""
    alike = None if teacher is None else attention_study.pair([m[None] for m in maps], [m[None] for m in teacher])
    cosine, mse = (None, None) if alike is None else (part[0] for part in alike)
    return Row(name, role, maps, cosine, mse)


def shown_values(rows: Sequence[Row], mode: str) -> list[list[np.ndarray | None]]:
    """What is coloured: maps relative to an even spread, or the difference to the first row's."""
    if mode != "difference":
        return [[drawing.relative(map_) for map_ in row.maps] for row in rows]
    teacher = rows[0]
    return [
        [
            drawing.difference(map_, teacher.maps[stage]) if len(row.maps) == len(teacher.maps) else None
            for stage, map_ in enumerate(row.maps)
        ]
        for row in rows
    ]


def limits(values: Sequence[Sequence[np.ndarray | None]], mode: str) -> tuple[float, float]:
    """The ends of the shared scale: zero to the 99th percentile of all maps, or symmetric about zero for differences.

    A single bright pixel would darken every map; what lies beyond the ends takes the ends' colour.
    """
    found = [map_ for row in values for map_ in row if map_ is not None]
    top = max((float(np.quantile(np.abs(map_), 0.99)) for map_ in found), default=1.0)
    if mode == "difference":
        return -max(top, 1e-6), max(top, 1e-6)
    return min(0.0, min((float(map_.min()) for map_ in found), default=0.0)), max(top, 1e-6)


def grid(
    rows: Sequence[Row], photo: np.ndarray, mode: str, shared: bool, opacity: float, colours: str, beta: float
) -> Spec:
    """Networks by stages: the photo under each map, the map's opacity on a slider in the browser.

    Args:
        rows: the teacher first.
        photo: uint8 `[32, 32, 3]`.
        mode: `map` or `difference` (to the teacher).
        shared: one colour scale for all maps, else each map fills it.
        opacity: where the slider starts, 0 (photo) to 1 (map alone).
        colours: `cividis` or `viridis`.
        beta: weight of the attention term, for the numbers under the maps.
    """
    from kdexplorer.images import enlarged_png

    colours = "difference" if mode == "difference" else colours
    values = shown_values(rows, mode)
    low, high = limits(values, mode)
    columns = max(len(row.maps) for row in rows)
    cells = []
    for number, (row, maps) in enumerate(zip(rows, values, strict=True)):
        for stage, map_ in enumerate(maps):
            if map_ is None:
                continue
            ends = (low, high) if shared else own_limits(map_, mode)
            cells.append(
                {
                    "network": row.name,
                    "stage": f"stage {stage + 1}",
                    "column": stage,
                    "row": number,
                    "url": drawing.data_url(drawing.map_png(map_, *ends, colours)),
                    **numbers_under(row, stage, beta),
                }
            )
    heads = [{"network": row.name, "row": number, "colour": COLOURS[row.role]} for number, row in enumerate(rows)]
    what = "Where each network looks"
    if mode == "difference":
        what = "Where each student looks more (orange) or less (violet) than its teacher"
    return filled(
        _grid_shape(len(rows), columns),
        {"cells": cells, "heads": heads},
        {"opacity": opacity, "photo": drawing.data_url(enlarged_png(photo, 192))},
        title={"text": broken(what)},
        description=(
            f"Grid of attention maps over the image: {', '.join(row.name for row in rows)} in rows, "
            f"{columns} stages in columns; under each student's map its similarity to the teacher's."
        ),
    )


@lru_cache(maxsize=32)
def _grid_shape(rows: int, columns: int) -> Spec:
    """The grid without its pictures and numbers."""
    place = f"datum.column * min({CELL + 16}, width / {columns})"
    side = alt.expr(f"max(0, min({CELL}, width / {columns} - 8))")  # a first layout may leave no width
    top = f"datum.row * (cell + {BETWEEN})"
    base = alt.Chart(alt.NamedData("cells")).transform_calculate(
        left=place, middle=f"{place} + cell / 2", top=f"{top} + {LABEL}"
    )
    x, y = alt.X("left:Q", scale=None, axis=None), alt.Y("top:Q", scale=None, axis=None)
    picture = {"align": "left", "baseline": "top", "aspect": False, "width": side, "height": side}
    tooltip = ["network:N", "stage:N", alt.Tooltip("size:N", title="map")]
    layers = [
        base.mark_image(**picture).encode(x=x, y=y, url=alt.UrlValue(alt.expr("photo"))),
        base.mark_image(**picture, opacity=alt.expr("opacity")).encode(x=x, y=y, url="url:N", tooltip=tooltip),
    ]
    for line, field in enumerate(("first", "second", "third")):
        below = base.transform_calculate(below=f"datum.top + cell + {LINE * line + 14}")
        text = below.mark_text(color=INK, align="left", fontSize=alt.expr("cell < 120 ? 10 : 13"))
        layers.append(text.encode(x=x, y=alt.Y("below:Q", scale=None, axis=None), text=f"{field}:N"))
    names = alt.Chart(alt.NamedData("heads")).transform_calculate(top=f"{top} + 15")
    layers += [
        names.mark_square(size=200, opacity=1).encode(
            x=alt.XValue(8), y=y, color=alt.Color("colour:N", scale=None, legend=None)
        ),
        names.mark_text(color=INK, align="left", fontSize=16, fontWeight="bold").encode(
            x=alt.XValue(22), y=y, text="network:N"
        ),
    ]
    slider = alt.binding_range(min=0, max=1, step=0.01, name="Opacity, from photo to map alone")
    return spec(
        alt.layer(*layers)
        .properties(
            height=rows * (CELL + BETWEEN),
            autosize=FIT,
            title=title("", "columns: " + ", ".join(f"stage {k + 1}" for k in range(columns))),
        )
        .add_params(
            alt.param(name="opacity", value=0, bind=slider),
            alt.param(name="photo", value=""),
            alt.param(name="cell", expr=f"max(0, min({CELL}, width / {columns} - 8))"),
            alt.param(name="height", expr=f"{rows} * (cell + {BETWEEN})"),  # maps are smaller on a telephone
        )
    )


def own_limits(map_: np.ndarray, mode: str) -> tuple[float, float]:
    """The ends of one map's own scale."""
    if mode == "difference":
        top = max(float(np.abs(map_).max()), 1e-6)
        return -top, top
    return float(map_.min()), float(map_.max())


def numbers_under(row: Row, stage: int, beta: float) -> dict[str, str]:
    """The three lines under a map, and its size for the tooltip."""
    height, width = row.maps[stage].shape
    size = f"{height} × {width}"
    if row.role == "teacher":
        return {"size": size, "first": f"stage {stage + 1}: {size}", "second": "", "third": ""}
    if row.cosine is None or row.mse is None:
        return {"size": size, "first": "other stages than", "second": "the teacher's", "third": ""}
    share = row.mse[stage] / max(row.mse.sum(), 1e-30)
    return {
        "size": size,
        "first": f"cosine {row.cosine[stage]:.3f}",
        "second": f"MSE {row.mse[stage]:.1e}",
        "third": f"β·MSE {beta * row.mse[stage]:.3f} ({share:.0%})",
    }


def scale_bar(low: float, high: float, colours: str, mode: str, shared: bool) -> Spec:
    """What the colours measure, and whether all maps share the scale."""
    steps = pd.DataFrame({"value": np.linspace(low, high, 64)})
    step = (high - low) / 64
    steps["end"] = steps["value"] + 1.5 * step  # overlapping, or seams show
    unit = "student minus teacher" if mode == "difference" else "attention (1 = spread evenly)"
    axis = alt.Axis(title=unit, tickCount=5, grid=False)
    if not shared:
        words = "'−'" if mode == "difference" else "'least'"
        axis = alt.Axis(
            title=f"{unit.split(' (')[0]}, each map on its own scale",
            values=[low, high],
            labelExpr=f"datum.index == 0 ? {words} : {words.replace('−', '+').replace('least', 'most')}",
            grid=False,
        )
    return spec(
        alt.Chart(steps)
        .mark_rect()
        .encode(
            x=alt.X("value:Q", axis=axis, scale=alt.Scale(domain=[low, high + 1.5 * step], nice=False)),
            x2="end:Q",
            color=alt.Color(
                "value:Q", scale=alt.Scale(range=list(drawing.PALETTES[colours]), domain=[low, high]), legend=None
            ),
        )
        .properties(
            height=18,
            autosize=FIT,
            title=title("One scale for all maps" if shared else "A scale for each map"),
            description=f"Colour scale: {unit}, {'shared by all maps' if shared else 'each map on its own'}.",
        )
    )


def similarity_by_stage(rows: Sequence[dict], count: int) -> Spec:
    """Mean cosine to the teacher's map per stage and student; bars span the middle 80 % of images.

    Args:
        rows: `attention_study.summarise` with `network` and `role` put in.
        count: how many images were measured.
    """
    frame = pd.DataFrame(rows)
    names = list(dict.fromkeys(frame["network"]))
    roles = [frame.loc[frame["network"] == name, "role"].iloc[0] for name in names]
    frame["stage"] = "stage " + frame["stage"].astype(str)
    stages = list(dict.fromkeys(frame["stage"]))
    x = alt.X("stage:N", sort=stages, title=None, axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("network:N", sort=names)
    colour = alt.Color(
        "network:N",
        scale=alt.Scale(domain=names, range=[COLOURS[role] for role in roles]),
        title=None,
        legend=legend(len(names)),
    )
    words = "cosine to the teacher's map (1 = same)"
    y = alt.Y("cosine:Q", title=words, scale=alt.Scale(zero=False))
    base = alt.Chart(frame).encode(x=x, xOffset=offset, color=colour)
    spread = base.mark_rule(strokeWidth=4, opacity=0.5).encode(y=alt.Y("low:Q", title=words), y2="high:Q")
    points = base.mark_point(size=170, filled=True, opacity=1).encode(
        y=y,
        shape=alt.Shape("network:N", scale=alt.Scale(domain=names, range=[SHAPES[role] for role in roles]), title=None),
        tooltip=[
            "network:N",
            "stage:N",
            alt.Tooltip("cosine:Q", format=".4f", title="mean cosine"),
            alt.Tooltip("low:Q", format=".4f", title="10th percentile"),
            alt.Tooltip("high:Q", format=".4f", title="90th percentile"),
            alt.Tooltip("mse:Q", format=".2e", title="mean MSE"),
        ],
    )
    chart = alt.layer(spread, points).properties(
        height=360,
        autosize=FIT,
        title=title(
            "Who looks where the teacher looks", f"mean over {count:,} test images; lines: 10th to 90th percentile"
        ),
        description=f"Points with spread: cosine to the teacher's attention per stage for {', '.join(names)}.",
    )
    return spec(chart)
