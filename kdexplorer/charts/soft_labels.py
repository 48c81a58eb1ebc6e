"""One image's soft labels: a column for each network with a temperature slider in the browser, bars of one
distribution, and the audience's votes.

The temperature is a Vega parameter bound to a range input, and softmax, entropy and KL are Vega transforms: moving the
slider takes no request to the server. They are computed over all classes, whichever are shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts import common, style
from kdexplorer.charts.common import INK, Spec, across, data, format_share, select_classes, slider_value, spec, tooltips
from kdexplorer.charts.style import DESIGN_EM, EM, PROJECTOR_EM, em
from kdexplorer.charts.temperature import kl, log_softmax, temperature_params

ROW = 30
"""Height of a class, in pixels in a window of 1280 pixels; see `style.em`."""

_LINE = 0.8
"""Height of a line of numbers, in rows."""
_NUMBERS = (
    ("effective classes", "eff. classes", "format(exp(datum.H), '.2f')"),
    ("entropy (nats)", "entropy", "format(datum.H, '.2f')"),
    ("KL from teacher", "KL", "datum.column ? format(max(0, datum.K), '.3f') : ''"),
    ("T² · KL", "T² · KL", "datum.column ? format(max(0, T * T * datum.K), '.3f') : ''"),
)
"""What stands below the bars, with a shorter name for a phone."""

_REST, _NEVER = -1, -1e9
"""In the place of a class: all that are not shown; and a logit of no probability."""


def _name_rest(count: int) -> str:
    return f"the other {count}" if count else ""


def columns(source: common.Source) -> Spec:
    """A column of bars for each network, the teacher first, a row for each class, and numbers below.

    For which classes are shown see `select_classes`.
    """
    networks, classes, label = source.logits, source.classes, source.label
    shown = select_classes(source.teacher.logits, label)
    hard = f"★ and shading: the hard label, {classes[label]}" if label is not None else "This image has no hard label"
    selection = common.describe_selection(len(shown), len(classes), "the teacher's most probable")
    names, rest = [classes[index] for index in shown], len(classes) - len(shown)
    return common.fill_shape(
        _columns_shape(len(shown), len(networks), rest > 0),
        {"rows": _rows(source, shown)},
        {
            "logT": slider_value(source.temperature), "subtitle": common.join_parts(hard, selection),
            "letters": max(len(name) for name in [*names, _name_rest(rest)]) + 2,
            "longest": max(len(one.name) for one in networks),
        },
        f"Bars of {len(shown)} classes in a column for each network: {', '.join(one.name for one in networks)}."
        " A slider sets the temperature; below the bars stand effective classes, entropy and KL from the teacher.",
    )  # fmt: skip


@lru_cache(maxsize=32)
def _columns_shape(count: int, networks: int, rest: bool) -> Spec:
    """The columns of so many networks and classes, and with `rest` all others as one, without their rows."""
    count += rest
    end, longest = count + (len(_NUMBERS) + 0.5) * _LINE, max(len(name) for name, *_ in _NUMBERS)
    down = alt.Scale(domainMin=alt.expr("-head"), domainMax=end, reverse=True, nice=False, zero=False)
    base = log_softmax(alt.Chart(alt.NamedData("rows")), "network", logp="datum.d / T", logpt="datum.dt / T")
    base = base.transform_calculate(p="exp(datum.logp)", pt="exp(datum.logpt)", h="-exp(datum.logp) * datum.logp")
    base = (  # classes that are not shown only count in the sums
        kl(base, "K", "network", "datum.pt", "datum.logpt", "datum.logp")
        .transform_calculate(others="datum.hidden ? datum.p : 0")
        .transform_joinaggregate(H="sum(h)", best="max(logp)", others="sum(others)", groupby=["network"])
        .transform_filter("!datum.hidden")
        .transform_calculate(p="datum.rest ? datum.others : datum.p")
        .transform_calculate(left="names + datum.column * column")
    )
    first = base.transform_filter("datum.column == 0")
    shading = alt.condition("datum.hard", alt.value(0.16), alt.value(0))  # of no row where there is no hard label
    band = first.mark_rect(color="#888888", aria=False).encode(opacity=shading)
    text = first.mark_text(color=INK, align="right", baseline="middle", limit=alt.expr("names - em / 2"))
    layers = [
        band.encode(x=alt.XValue(0), x2=alt.X2Value(alt.expr("width")), y=_down("row", down), y2="row2:Q"),
        text.encode(x=alt.XValue(alt.expr("names - em / 2")), y=_down("middle", down), text="shown:N"),
        *common.name_networks(base.transform_filter("datum.first")),
        *_bars(base, down, rest),
        *_numbers(base.transform_filter("datum.first"), down, count),
    ]
    heading = alt.expr("'Soft labels at T = ' + format(T, '.2f')")
    params = [
        *(alt.param(name=name, value=0) for name in ("letters", "longest")),
        alt.param(name="narrow", expr="width < 30 * em"),
        alt.param(name="names", expr=f"min(0.31 * width, (0.46 * max(letters, narrow ? 0 : {longest}) + 0.7) * em)"),
        alt.param(name="column", expr=f"max(1, (width - names) / {networks})"),
        alt.param(name="bar", expr="max(1, column - 3.1 * em)"),
        alt.param(name="names_above", expr=common.NAMES),
        alt.param(name="head", expr=f"names_above * {end} / max(1, height - names_above)"),  # in rows
    ]
    height = f"names_above + {end * ROW / DESIGN_EM:.4g} * em"
    return spec(layers, heading, "", "", height, *temperature_params(), *params)


def _down(field: str, scale: alt.Scale) -> alt.Y:
    return alt.Y(f"{field}:Q", axis=None, scale=scale)


def _bars(base: alt.Chart, down: alt.Scale, rest: bool) -> list[alt.Chart]:
    """The bars, the track of a whole one, and the percentages, bold for each network's prediction."""
    base = base.transform_calculate(
        top="datum.row + 0.14", bottom="datum.row + 0.86", whole="datum.left + bar", end="datum.left + bar * datum.p"
    )
    y = {"y": _down("top", down), "y2": alt.Y2("bottom:Q")}
    tips = tooltips(("network:N", "network"), ("class:N", "class"), ("p:Q", "probability at T", ".4f"))
    color = alt.Color("color:N", scale=None, legend=None)  # in the row: no shape depends on which networks are shown
    track = base.mark_rect(color="#888888", opacity=0.13, aria=False).encode(x=across("left"), x2="whole:Q", **y)
    bars = base.mark_rect().encode(x=across("left"), x2="end:Q", **y, color=color, tooltip=tips)
    parts = [bars.transform_filter("datum.rest")] if rest else []
    parts.append(bars.transform_filter("!datum.rest").encode(tooltip=[*tips, *tooltips(("logit:Q", "logit", ".3f"))]))
    percent = "datum.p >= 0.995 ? '> 99%' : format(datum.p, '.0%')"  # as `format_share`
    legible = base.transform_filter("datum.p >= 0.005").transform_calculate(percent=percent)
    words: dict[str, Any] = {"color": INK, "align": "left", "baseline": "middle", "dx": em(4), "aria": False}
    percents = [
        legible.transform_filter("datum.logp == datum.best" if bold else "datum.logp != datum.best")
        .mark_text(**words, fontWeight="bold" if bold else "normal")
        .encode(x=across("end"), y=_down("middle", down), text="percent:N")
        for bold in (False, True)
    ]
    return [track, *parts, *percents]


def _numbers(once: alt.Chart, down: alt.Scale, count: int) -> list[alt.Chart]:
    """Each network's effective classes, entropy, KL and T² KL, as text that follows the slider."""
    layers = []
    for line, (name, short, expression) in enumerate(_NUMBERS, start=1):
        below = once.transform_calculate(line=f"{count + line * _LINE}", value=expression)
        words = f"narrow ? '{short}' : '{name}'"
        head = below.transform_filter("datum.column == 0").transform_calculate(words=words)
        before, y = alt.XValue(alt.expr("names - em / 2")), _down("line", down)
        layers += [
            head.mark_text(color=INK, align="right", baseline="middle").encode(x=before, y=y, text="words:N"),
            below.mark_text(color=INK, align="left", baseline="middle").encode(x=across("left"), y=y, text="value:N"),
        ]
    return layers


def _rows(source: common.Source, shown: Sequence[int]) -> common.Rows:
    """A row for each network, the teacher first, and class; those not shown follow and have the logits alone.

    Between them is a row for their sum, whose own probability is 0.
    """
    hidden = [index for index in range(len(source.classes)) if index not in shown]
    order = [*shown, *([_REST] if hidden else []), *hidden]
    of_teacher, rows = source.teacher.shifted, []
    for column, network in enumerate(source.logits):
        own, look = network.shifted, style.look_of(network.role)
        for place, index in enumerate(order):
            rest = index == _REST
            d, dt = (_NEVER, _NEVER) if rest else (float(own[index]), float(of_teacher[index]))
            name = _name_rest(len(hidden)) if rest else source.classes[index]
            row = {"network": network.name, "class": name, "d": d, "dt": dt, "hidden": not rest and place >= len(shown)}
            row |= {"rest": True} if rest else {"logit": float(network.logits[index])}
            if not row["hidden"]:
                row |= {
                    "color": look.color, "what": look.what, "column": column,
                    "shown": f"★ {name}" if index == source.label else name, "first": place == 0,
                    "hard": index == source.label,
                    "row": float(place), "middle": place + 0.5, "row2": place + 1.0,
                }  # fmt: skip
            rows.append(row)
    return rows


def probability_bars(
    probabilities: np.ndarray,
    classes: Sequence[str],
    label: int | None,
    role: str,
    heading: str,
    subtitle: str,
    shown: Sequence[int] | None = None,
    rule: str = "the most probable",
) -> Spec:
    """One image's probabilities, a bar a class, the hard label starred.

    Args:
        probabilities: `[K]`, a network's or the shares of annotators (`style.HUMAN`).
        classes: the names of all K classes.
        role: see `style.role_of`.
        shown: indices of the classes to show; by default see `select_classes`, with these probabilities as logits.
        rule: says which classes are shown where these are not all.
    """
    shown = select_classes(probabilities, label) if shown is None else shown
    names = [f"★ {classes[index]}" if index == label else classes[index] for index in shown]
    shares = dict(zip(names, map(float, probabilities[list(shown)]), strict=True))
    if rest := len(classes) - len(shown):
        shares[_name_rest(rest)] = max(0.0, 1 - sum(shares.values()))
    rows = [{"class": name, "p": share, "percent": format_share(share)} for name, share in shares.items()]
    axis = alt.Axis(format=".0%", values=[0, 0.5, 1])
    base = alt.Chart(data(rows)).encode(
        x=alt.X("p:Q", title="probability", scale=alt.Scale(domain=[0, 1.25]), axis=axis),
        y=alt.Y("class:N", sort=[*shares], title=None),
        tooltip=tooltips(("class:N", "class"), ("p:Q", "probability", ".2%")),
    )
    bars = base.mark_bar(color=style.look_of(role).color)
    text = base.transform_filter("datum.p >= 0.005").mark_text(color=INK, align="left", dx=em(4))
    top = ", ".join(f"{classes[k]} {probabilities[k]:.0%}" for k in np.argsort(-probabilities)[:3])
    said = common.join_parts(subtitle, common.describe_selection(len(shown), len(classes), rule))
    layers, described = [bars, text.encode(text="percent:N")], f"{heading}, {subtitle}: {top}."
    return spec(layers, heading, said, described, 27 * len(rows))


_TEXT = (0.2, 0.35, 0.55)
"""Room for a percentage right of the longest bar, in lengths of that bar, with one to three sources."""


def vote_bars(
    counts: Sequence[int],
    classes: Sequence[str],
    label: int | None = None,
    teacher: common.NetworkLogits | None = None,
    human: np.ndarray | None = None,
    temperature: float = 1.0,
    projector: bool = False,
) -> Spec:
    """Bars of each class, the sources side by side: the audience's share of votes, the teacher's probability at the
    slider's T, the annotators'.

    While votes arrive only the rows change, never the specification: so the browser keeps the slider where it is.

    Args:
        counts: votes for each of the K classes.
        label: the hard label, starred, or None where there is none or it must not be shown.
        teacher: None while its prediction must not be shown; then there is no slider.
        human: the shares of annotators `[K]`, where they are available.
        temperature: where the slider starts.
        projector: in letters for the last row.
    """
    shares = [count / max(1, sum(counts)) for count in counts]
    sources: list[tuple[str, Any, bool]] = [(style.AUDIENCE, shares, False)]
    if teacher is not None:
        sources.append((teacher.name, teacher.shifted, True))
    if human is not None:
        sources.append(("human labels", human, False))
    rows = [
        {
            "class": f"★ {name}" if index == label else name, "source": source, "place": index,
            "logit": float(values[index]) if soft else 0.0, "fixed": 0.0 if soft else float(values[index]),
            "soft": soft, "audience": shares[index],
        }
        for source, values, soft in sources
        for index, name in enumerate(classes)
    ]  # fmt: skip
    names = tuple(source for source, *_ in sources)
    shape = _votes_shape(names, teacher.name if teacher else None, len(classes), projector)
    hard = "" if label is None else f"★ the hard label, {classes[label]}"
    described = f"Bars for each class: the shares of {', '.join(names)}. {hard}"
    return common.fill_shape(shape, {"votes": rows}, {"logT": slider_value(temperature)}, described)


@lru_cache(maxsize=32)
def _votes_shape(sources: tuple[str, ...], teacher: str | None, count: int, projector: bool) -> Spec:
    """The bars without their rows: each source starts a step further right, and has its name above."""
    step, last = 1 + _TEXT[len(sources) - 1], len(sources) - 1
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
