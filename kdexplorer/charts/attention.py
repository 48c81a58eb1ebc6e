"""Attention maps of one image, overlays whose opacity is set in the browser, and their similarity over many images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
from PIL import Image

from kdexplorer.analysis.attention_similarity import StageSimilarity, compare_maps, map_difference, relative_map
from kdexplorer.charts import common, style
from kdexplorer.charts.common import INK, Rows, Spec, across, data, join_parts, name_networks, spec, tooltips
from kdexplorer.charts.style import DESIGN_EM, area, em
from kdexplorer.images.picture import PALETTES, data_url, enlarge_png, map_png

ALL_STAGES = "all"
HEIGHT, LARGE = 321, 400
"""Of all stages' maps with their numbers, which then fit a first screen, and of a single stage's; in a window of 1280
pixels."""
OPACITY = 0.9
"""Where the slider from photo to map starts."""


@dataclass(frozen=True)
class NetworkMaps:
    """One network's attention maps `[H, W]` of the image by stage, its name, and its role (see `style.role_of`).

    `beta` is the weight of the attention term for the numbers under the maps, see `attention_weight`.
    """

    name: str
    role: str
    maps: list[np.ndarray]
    beta: float


@dataclass(frozen=True)
class Maps:
    """What the charts of attention maps are drawn from."""

    maps: Sequence[NetworkMaps]
    """The teacher first."""
    photo: np.ndarray
    """Uint8 `[32, 32, 3]`."""
    shared: bool = True
    """One color scale for all maps, or one for each map."""
    smooth: bool = False
    """Whether the maps are interpolated between their pixels."""
    power: int = 1
    """Of the activations whose mean over channels the maps are."""


def relative_maps(rows: Sequence[NetworkMaps], mode: str) -> list[list[np.ndarray]]:
    """What is colored: `map` relative to an even spread, or `difference` to the first row's.

    There is no difference where a network has another number of stages than the first.
    """
    if mode != "difference":
        return [[relative_map(map_) for map_ in row.maps] for row in rows]
    first = rows[0].maps
    return [
        [map_difference(*pair) for pair in zip(row.maps, first, strict=True)] if len(row.maps) == len(first) else []
        for row in rows
    ]


def color_limits(values: Sequence[Sequence[np.ndarray]], mode: str) -> tuple[float, float]:
    """The ends of the shared scale: zero to the 99th percentile of all maps, or symmetric about zero for differences.

    A single bright pixel would darken every map; values beyond the ends take the ends' color.
    """
    found = [map_ for row in values for map_ in row]
    top = max(1e-6, *(float(np.quantile(np.abs(map_), 0.99)) for map_ in found))
    return -top if mode == "difference" else min(0.0, *(float(map_.min()) for map_ in found)), top


def grid(source: Maps, mode: str, stage: str) -> Spec:
    """Stages by networks: the photo in gray under each map, the map's opacity on a slider in the browser.

    A bar says what the colors measure: below a single stage's teacher, who has no correlation, else below all maps.
    Another slider puts the teacher's map over the students' from the left, and a press on a map shows it for so long.
    The mode is `map` or `difference` (to the teacher); one stage alone, from 1, is large, or there are `ALL_STAGES`.
    """
    rows, values = source.maps, relative_maps(source.maps, mode)
    limits = color_limits(values, mode)
    stages = max(len(row.maps) for row in rows)
    listed = [number for number in range(stages) if stage in (ALL_STAGES, str(number + 1))]
    heads, cells = Rows(), Rows()
    for row, maps in zip(rows, values, strict=True):
        if mode == "difference" and row is rows[0]:  # zero everywhere
            continue
        look, numbers = style.look_of(row.role), describe_stages(row, rows[0])
        heads.append({"network": row.name, "column": len(heads), "color": look.color, "what": look.what})
        for place, number in enumerate(listed):
            words = numbers[number] if number < len(numbers) else {"first": "no such stage"}
            cells.append(heads[-1] | {"stage": f"stage {number + 1}", "row": place} | words)
            if number >= len(maps):
                continue
            map_ = maps[number]
            top = max(float(np.abs(map_).max()), 1e-6)
            own = (-top, top) if mode == "difference" else (float(map_.min()), float(map_.max()))
            ends = limits if source.shared else own
            cells[-1]["url"] = data_url(map_png(map_, *ends, mode, smooth=source.smooth))
    if mode == "map":
        of_teacher = {cell["row"]: cell.get("url") for cell in cells if cell["column"] == 0}
        for cell in cells:
            cell["teacher"] = of_teacher.get(cell["row"]) if cell["column"] and "url" in cell else None
    heading = "Spatial attention of each network"
    if mode == "difference":
        heading = "Student minus teacher: more attention (orange) or less (violet)"
    gray = np.asarray(Image.fromarray(source.photo).convert("L").convert("RGB"))
    which = f"rows: stage 1 to {stages}" if stage == ALL_STAGES else f"stage {stage} of {stages}"
    subtitle = join_parts(
        which,
        "means of squares" if source.power == 2 else "",
        "interpolated between the maps' pixels" if source.smooth else "",
    )
    return common.fill_shape(
        _grid_shape(max(1, len(heads)), len(listed), mode, source.shared),
        {"cells": cells, "heads": heads},
        {
            "photo": data_url(enlarge_png(gray, 192)), "heading": heading, "subtitle": subtitle,
            "longest": max(len(row.name) for row in rows), "low": limits[0], "high": limits[1],
        },
        f"{heading}, over the image in gray: {', '.join(head['network'] for head in heads)} in columns, {which}; "
        "under each student's map its similarity to the teacher's.",
    )  # fmt: skip


def describe_stages(row: NetworkMaps, teacher: NetworkMaps) -> Rows:
    """For each stage three lines of numbers under the map, its size for the tooltip, and the correlation (`like`).

    The teacher itself, to whose maps a network's are compared, has the sizes alone.
    """
    sizes = [" × ".join(map(str, map_.shape)) for map_ in row.maps]
    unknown = {"second": "", "third": "", "like": None}
    if row is teacher:
        return [{"size": one, "first": f"stage {k}: {one}"} | unknown for k, one in enumerate(sizes, start=1)]
    if len(row.maps) != len(teacher.maps):
        return [{"size": one, "first": "not comparable"} | unknown for one in sizes]
    compared = compare_maps([map_[None] for map_ in row.maps], [map_[None] for map_ in teacher.maps])
    cosine, mse, correlation, *_ = compared[:, 0]
    return [
        {
            "size": size,
            "first": f"correlation {correlation[stage]:z.2f}",
            "second": f"cosine {cosine[stage]:.3f}",
            "like": float(correlation[stage]),
            "third": f"β·MSE {row.beta * mse[stage]:.3f} ({mse[stage] / max(mse.sum(), 1e-30):.0%})",
        }
        for stage, size in enumerate(sizes)
    ]


@lru_cache(maxsize=32)
def _grid_shape(networks: int, stages: int, mode: str, shared: bool) -> Spec:
    """The grid without its maps and numbers; a single stage is large, with its correlations as numbers and bars."""
    slider = alt.binding_range(min=0, max=1, step=0.01, name="Opacity of the maps, 0 to 1")
    wipe = alt.binding_range(min=0, max=1, step=0.01, name="Wipe to the teacher")
    is_large, line = stages == 1, _LARGE if stages == 1 else _LINE
    own = f"{(LARGE if is_large else HEIGHT) / DESIGN_EM:.4g} * em"
    strip = 0 if is_large and mode == "map" else 3.2
    side = f"(room > 0 ? room - names - {strip} * em : {own}) / {stages} - {line} * em"
    params = [
        alt.param(name="opacity", value=OPACITY, bind=slider),
        alt.param(name="wipe", value=0, bind=wipe if mode == "map" and networks > 1 else alt.Undefined),
        alt.param(name="photo", value=""),
        alt.param(name="column", expr=f"width / {max(networks, 3)}"),
        *(alt.param(name=name, value=0) for name in ("longest", "low", "high")),
        alt.param(name="names", expr=common.NAMES),
        alt.param(name="room", value=0),
        alt.param(name="cell", expr=f"max(0, min({side}, column - em / 4))"),  # the first layout may have no width
    ]
    maps = f"names + {stages} * (cell + {line} * em)"
    params += [
        alt.param(name="scale", expr=f"{maps} + {0.5 if strip else 1.6 - _LARGE} * em"),
        alt.param(name="long", expr=f"max(0, {'column' if strip else 'cell'} - em / 2)"),
    ]
    heads = alt.Chart(alt.NamedData("heads")).transform_calculate(left="datum.column * column")
    layers = [*_pictures(line), *(_correlations() if is_large else []), *_scale_bar(mode, shared)]
    layers += name_networks(heads)
    return spec(layers, "", "—", "", f"{maps} + {strip} * em", *params)


_LINE, _LARGE = 1.4, 4.4
"""Height of what stands under a map, in `em`: a line, or a line, a number and its bar."""


def _covered() -> str:
    """A picture of the teacher's map over the photo, as wide as the field `share` says, as a Vega expression."""
    size = "width=%221%22 height=%221%22 preserveAspectRatio=%22none%22 style=%22image-rendering:pixelated%22"
    open_, image = "%3Csvg xmlns=%22http://www.w3.org/2000/svg%22", f"%3Cimage {size} href=%22"
    return (
        f"'data:image/svg+xml,{open_} viewBox=%220 0 1 1%22%3E{open_} height=%221%22 width=%22' + datum.share + "
        f"'%22%3E{image}' + photo + '%22/%3E{image}' + datum.teacher + '%22 opacity=%22' + opacity + "
        "'%22/%3E%3C/svg%3E%3C/svg%3E'"
    )


def _pictures(line: float) -> list[alt.Chart]:
    """The photo, the map over it, and a line of text under it, before a number if there is room for one."""
    base = alt.Chart(alt.NamedData("cells")).transform_calculate(
        left="datum.column * column", top=f"names + datum.row * (cell + {line} * em)"
    )
    side, drawn = alt.expr("cell"), base.transform_filter("isValid(datum.url)")
    x, y = across("left"), alt.Y("top:Q", scale=None, axis=None)
    picture: dict[str, Any] = {"align": "left", "baseline": "top", "aspect": False, "width": side, "height": side}
    picture["aria"] = False  # else a screen reader reads the picture's data; what can be pressed has the words
    numbers = [("first:N", "below the map"), ("second:N", "not centered"), ("third:N", "weighted loss")]
    tooltip = tooltips(("network:N", "network"), ("stage:N", "stage"), ("size:N", "map"), *numbers)
    short = "column < 8.5 * em ? replace(datum.first, regexp('^(correlation|stage [0-9]+:) '), '') : datum.first"
    if line == _LARGE:
        long = "column < 13 * em ? 'correlation' : 'correlation with the teacher'"
        short = f"isValid(datum.like) ? ({long}) : datum.first"
    below = base.transform_calculate(below=f"datum.top + cell + {_LINE / 2} * em", short=short)
    corner = base.transform_calculate(right="datum.left + cell", bottom="datum.top + cell")
    pressed = alt.selection_point(  # the column of the map
        name="held", fields=["column"], on="pointerdown", clear="window:pointerup", toggle=False
    )
    held = "isValid(held) && isValid(held.column) && indexof(held.column, datum.column) >= 0"
    over = corner.transform_filter("isValid(datum.teacher)").transform_calculate(share=f"{held} ? 1 : wipe")
    over = over.transform_filter("datum.share > 0").transform_calculate(
        covered=_covered(), edge="datum.left + cell * datum.share"
    )
    edge, press = over.mark_rule(color="white", strokeWidth=em(2), aria=False), corner.mark_rect(opacity=0)
    text = below.mark_text(color=INK, align="left", baseline="middle")
    return [
        drawn.mark_image(**picture).encode(x=x, y=y, url=alt.UrlValue(alt.expr("photo"))),
        drawn.mark_image(**picture, opacity=alt.expr("opacity")).encode(x=x, y=y, url="url:N"),
        over.mark_image(**picture).encode(x=x, y=y, url="covered:N"),
        edge.encode(x=across("edge"), y=y, y2="bottom:Q"),
        press.encode(x=x, x2="right:Q", y=y, y2="bottom:Q", tooltip=tooltip).add_params(pressed),
        text.encode(x=x, y=alt.Y("below:Q", scale=None, axis=None), text="short:N"),
    ]


def _correlations() -> list[alt.Chart]:
    """Under each student's map the correlation with the teacher's as a large number and as a part of the width."""
    base = alt.Chart(alt.NamedData("cells")).transform_filter("isValid(datum.like)").transform_calculate(
        left="datum.column * column", end="datum.left + cell", full="datum.left + cell * clamp(datum.like, 0, 1)",
        number="names + 2.6 * em + cell", bar="names + 4 * em + cell",
    )  # fmt: skip
    x, y = across("left"), alt.Y("bar:Q", scale=None, axis=None)
    bar = base.mark_rule(strokeWidth=em(8), strokeCap="butt")
    number = base.mark_text(color=INK, align="left", baseline="middle", fontSize=em(32), fontWeight="bold")
    return [
        bar.encode(x=x, y=y, x2="end:Q", opacity=alt.value(0.2), color=alt.value("gray")),
        bar.encode(x=x, y=y, x2="full:Q", color=alt.Color("color:N", scale=None, legend=None)),
        number.encode(x=x, y=alt.Y("number:Q", scale=None, axis=None), text=alt.Text("like:Q", format=".2f")),
    ]


def _scale_bar(mode: str, shared: bool) -> list[alt.Chart]:
    """The bar of the colors, a legend from the parameters `low` to `high`, and what it measures.

    The parameters `scale` and `long` are its top and width.
    """
    is_map = mode == "map"
    says, short = ("attention (1 = even)", "1 = even") if is_map else ("student minus teacher", "minus teacher")
    number = "format(datum.value, '.1f')"
    if not shared:
        says, short = f"{says.split(' (')[0]}, each map\\'s own scale", "own scales"
        least, middle, most = ("least", "", "most") if is_map else ("−", "0", "+")
        number = f"datum.value <= low ? '{least}' : datum.value >= high ? '{most}' : '{middle}'"
    scale = alt.Scale(domain=[alt.expr("low"), alt.expr("high")], range=[*PALETTES[mode]], nice=False)
    legend = alt.Legend(
        orient="none", direction="horizontal", legendX=0, legendY=alt.expr("scale"), title=None, padding=0, offset=0,
        values=alt.expr(f"[low, min({int(is_map)}, high), high]"), labelExpr=number,
        gradientLength=alt.expr("long"), gradientThickness=em(9), gradientOpacity=1,
    )  # fmt: skip
    base = alt.Chart(data([{"value": 0}]))
    words = base.mark_text(color=INK, align="left", baseline="middle").encode(
        x=alt.XValue(0),
        y=alt.YValue(alt.expr("scale + 2.3 * em")),
        text=alt.TextValue(alt.expr(f"long < 10 * em ? '{short}' : '{says}'")),
    )
    unseen = base.mark_square(opacity=0, aria=False)
    return [unseen.encode(fill=alt.Fill("value:Q", scale=scale, legend=legend)), words]


def similarity_by_stage(compared: Sequence[StageSimilarity], roles: Mapping[str, str], count: int) -> Spec:
    """Mean correlation with the teacher's map by stage and student; lines span the middle 80 % of `count` images.

    A tick marks the chance level: the correlation with the teacher's map of another image. For roles see
    `style.role_of`.
    """
    names = list(dict.fromkeys(one.name for one in compared))
    looks, kept = style.series({name: roles[name] for name in names}), ("correlation", "low", "high", "cosine", "mse")
    rows = [
        {key: getattr(one, key) for key in kept}
        | {"network": one.name, "stage": f"stage {one.stage}", "chance": None if math.isnan(one.chance) else one.chance}
        for one in compared
    ]
    stages = list(dict.fromkeys(str(row["stage"]) for row in rows))
    words = "correlation with the teacher's map (1 = same)"
    base = alt.Chart(data(rows)).encode(
        x=alt.X("stage:N", sort=stages, title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("network:N", sort=names),
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
        f"Points with spread: centered correlation with the teacher's attention per stage for {', '.join(names)}, "
        "and ticks for its chance level."
    )
    return spec([spread, points, chance], "Similarity to the teacher's attention", over, described, 360)
