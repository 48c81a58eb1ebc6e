"""The audience's votes on one picture as a soft label, beside the teacher's with a temperature slider in the browser.

While votes arrive only the rows change, never the specification: so the browser keeps the slider where it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts import style
from kdexplorer.charts.common import INK, NetworkLogits, Spec, fill_shape, slider_value, spec, tooltips
from kdexplorer.charts.style import DESIGN_EM, EM, PROJECTOR_EM
from kdexplorer.charts.temperature import kl, log_softmax, temperature_params

AUDIENCE = style.look_of(style.AUDIENCE).label
TEXT = (0.2, 0.35, 0.55)
"""Room for a percentage right of the longest bar, in lengths of that bar, with one to three sources."""


def vote_bars(
    counts: Sequence[int],
    classes: Sequence[str],
    label: int | None = None,
    teacher: NetworkLogits | None = None,
    human: np.ndarray | None = None,
    temperature: float = 1.0,
    projector: bool = False,
) -> Spec:
    """Bars of each class, the sources side by side: the audience's share of votes, the teacher's probability at the
    slider's T, the annotators'.

    Args:
        counts: votes for each of the K classes.
        label: the hard label, starred, or None where there is none or it must not be shown.
        teacher: None while its prediction must not be shown; then there is no slider.
        human: the shares of annotators `[K]`, where they are available.
        temperature: where the slider starts.
        projector: in letters for the last row.
    """
    sources: list[tuple[str, Any]] = [(AUDIENCE, counts)]
    if teacher is not None:
        sources.append((teacher.name, teacher.shifted))
    if human is not None:
        sources.append(("human labels", human))
    total, rows = max(1, sum(counts)), []
    for source, values in sources:
        for index, name in enumerate(classes):
            is_teacher = teacher is not None and source == teacher.name
            value = float(values[index]) / (total if source == AUDIENCE else 1)
            rows.append(
                {
                    "class": f"★ {name}" if index == label else name, "source": source, "place": index,
                    "logit": value if is_teacher else 0.0, "fixed": 0.0 if is_teacher else value,
                    "soft": is_teacher, "audience": counts[index] / total,
                }
            )  # fmt: skip
    names = tuple(source for source, _ in sources)
    shape = _shape(names, teacher.name if teacher else None, len(classes), projector)
    hard = "" if label is None else f"★ the hard label, {classes[label]}"
    described = f"Bars for each class: the shares of {', '.join(names)}. {hard}"
    return fill_shape(shape, {"votes": rows}, {"logT": slider_value(temperature)}, described)


@lru_cache(maxsize=32)
def _shape(sources: tuple[str, ...], teacher: str | None, count: int, projector: bool) -> Spec:
    """The bars without their rows: each source starts a step further right, and has its name above."""
    step, last = 1 + TEXT[len(sources) - 1], len(sources) - 1
    base = (
        log_softmax(alt.Chart(alt.NamedData("votes")), "source", logp="datum.logit / T" if teacher else "0")
        .transform_calculate(p="datum.soft ? exp(datum.logp) : datum.fixed")
        .transform_calculate(percent="0.995 <= datum.p && datum.p < 1 ? '> 99%' : format(datum.p, '.0%')")
        .transform_calculate(begin=f"{step} * indexof({json.dumps(sources)}, datum.source)")
        .transform_calculate(end="datum.begin + datum.p")
    )
    scale = alt.Scale(domain=[0, step * last + step], nice=False)
    x, end = alt.X("begin:Q", scale=scale, axis=None), alt.X("end:Q", scale=scale, axis=None)
    axis = alt.Axis(labelColor=INK, ticks=False, domain=False, labelOverlap=False)
    y = alt.Y("class:N", sort=alt.EncodingSortField("place", op="min"), title=None, axis=axis)
    roles = [style.AUDIENCE, *([style.TEACHER] if teacher else []), style.HUMAN][: len(sources)]
    colors = alt.Scale(domain=list(sources), range=[style.look_of(role).color for role in roles])
    color = alt.Color("source:N", scale=colors, legend=None)
    tips = tooltips(("source:N", "whose"), ("class:N", "class"), ("p:Q", "share", ".3f"))
    bars = base.mark_bar().encode(x=x, x2="end:Q", y=y, color=color, tooltip=tips)
    text = base.mark_text(color=INK, align="left", dx=6)
    percent = text.transform_filter("datum.p >= 0.005").encode(x=end, y=y, text="percent:N")
    words = "'teacher' + (datum.voted > 0 ? ', KL ' + format(max(0, datum.K), '.2f') : '')"
    if teacher:  # KL(audience ‖ teacher), where anybody has voted
        share = "(datum.soft ? datum.audience : 0)"
        text = kl(text, "K", "source", share, "log(datum.audience)", "datum.logp")
        text = text.transform_joinaggregate(voted="sum(audience)", groupby=["source"])
    above = text.transform_filter("datum.place === 0")
    names = above.transform_calculate(said=f"datum.soft ? {words} : datum.source").encode(
        x=x, y=alt.YValue(alt.expr("-0.7 * em")), text="said:N"
    )
    layers = [bars, percent, names] if last else [bars, percent]
    said: Any = "Share of votes"
    if teacher:
        said = alt.expr(f"{json.dumps(f'{teacher} at T = ')} + format(T, '.2f')")
    params = temperature_params() if teacher else [alt.param(name="logT", value=0)]
    line, size = (1.18, PROJECTOR_EM) if projector else (1.7, EM)  # the height of a class, in `em`, and the text's size
    made = spec(layers, said, "", "", count * line * DESIGN_EM, *params, size=size)
    return made | {"title": made["title"] | {"offset": {"expr": f"{0.2 if last else 0.4} * em"}}}
