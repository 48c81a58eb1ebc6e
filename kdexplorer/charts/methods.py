"""Charts about methods: where each connects teacher and student, and one student fitted by forward and reverse KL."""

from __future__ import annotations

from functools import lru_cache

import altair as alt
import numpy as np
from scipy.special import rel_entr

from kdexplorer.charts.common import INK, Spec, data, spec, tooltips
from kdexplorer.charts.style import FAMILY_COLORS, NEUTRAL, TEACHER, color, dash, em, look_of, series
from kdexplorer.methods import FAMILIES, Method, all_methods

BLOCKS = ("image", "stages", "embedding", "logits", "label")
"""What a network computes, from left to right, and the hard label."""
_ROW, _EDGE = 21, 44
"""Pixels: of a method's name, and from a row of blocks to the first name."""


@lru_cache(maxsize=32)
def taxonomy(chosen: str = "") -> Spec:
    """The picture of all methods by place, colored by family; the one with the key `chosen` stands out.

    A method's place is where it connects the networks, a position in `BLOCKS`; without a teacher it is the label's.
    """
    columns: dict[int, list[type[Method]]] = {}
    for method in all_methods():
        place = min((BLOCKS.index(need) for need in method.needs), default=len(BLOCKS) - 1)
        columns.setdefault(place, []).append(method)
    height = max(map(len, columns.values())) * _ROW + 2 * _EDGE + 20
    top, bottom = 16, height - 16
    names = [
        {
            "name": method.label, "mark": look_of(method.key).mark, "family": method.family, "summary": method.summary,
            "x": place, "y": (top + bottom) / 2 + (rank - (len(column) - 1) / 2) * _ROW, "chosen": method.key == chosen,
        }
        for place, column in columns.items()
        for rank, method in enumerate(column)
    ]  # fmt: skip
    rows = [("teacher", top, BLOCKS[:-1]), ("student", bottom, BLOCKS)]
    blocks = [
        {"block": name if place else network, "x": place, "y": y}
        for network, y, row in rows
        for place, name in enumerate(row)
    ]
    links = [
        {"x": place, "y": end, "y2": (top + bottom) / 2 + way * (len(column) / 2 * _ROW + 4)}
        for place, column in columns.items() if place < len(BLOCKS) - 1
        for end, way in ((top + 14, -1), (bottom - 14, 1))
    ]  # fmt: skip
    flows = [{"x": place + 0.45, "x2": place + 0.55, "y": y} for _, y, row in rows for place in range(len(row) - 1)]
    places = alt.Scale(domain=[-0.55, len(BLOCKS) - 0.45])
    x, left = alt.X("x:Q", scale=places, axis=None), alt.X("left:Q", scale=places, axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=None)
    scale = alt.Scale(domain=list(FAMILIES), range=[FAMILY_COLORS[family] for family in FAMILIES])
    colored = alt.Color("family:N", scale=scale, title=None, legend=alt.Legend(orient="bottom", symbolType="circle"))
    tips = tooltips(("name:N", "method"), ("family:N", "family"), ("summary:N", "what the student imitates"))
    listed = alt.Chart(data(names)).transform_calculate(left="datum.x - 0.2")
    words = listed.encode(x=left, y=y, text="name:N", tooltip=tips)
    layers = [
        alt.Chart(data(links)).mark_rule(color=NEUTRAL, strokeDash=[2, 4], opacity=0.6).encode(x=x, y=y, y2="y2:Q"),
        alt.Chart(data(flows)).mark_rule(color=NEUTRAL, strokeWidth=em(2)).encode(x=x, x2="x2:Q", y=y),
        alt.Chart(data(blocks)).mark_text(color=INK, fontWeight="bold").encode(x=x, y=y, text="block:N"),
        listed.mark_text(align="right", dx=em(-3)).encode(x=left, y=y, text="mark:N", color=colored),
        words.transform_filter("!datum.chosen").mark_text(color=INK, align="left"),
        words.transform_filter("datum.chosen").mark_text(color=INK, align="left", fontWeight=900),
    ]
    described = "Teacher above, student below; between them the methods at the output that they compare: " + "; ".join(
        f"{BLOCKS[place]}: {', '.join(method.label for method in column)}" for place, column in sorted(columns.items())
    )
    heading = "Where each method connects teacher (above) and student (below)"
    return spec(layers, heading, "", described, height)


GRID = np.linspace(-6, 6, 121)
BETAS = np.linspace(0, 1, 21)
EXPLANATION = (
    "A student that is too small for its teacher must choose what to give up. The forward KL divergence, KL(teacher ‖ "
    "student), is infinite where the student gives no probability to what has some for the teacher, so the student "
    "covers all modes and puts probability between them. The reverse, KL(student ‖ teacher), penalizes probability "
    "where the teacher has none, so the student seeks one mode. Between the two lies a generalized Jensen–Shannon "
    "divergence.",
    "For ten classes a softmax can imitate any soft label of one image. A language model has more "
    "possible answers than a small student can imitate: with forward KL it gives some probability to answers that its "
    "teacher would never give, with reverse KL it keeps to fewer answers. MiniLLM (Gu et al. 2024) and GKD (Agarwal et "
    "al. 2024) argue for reverse KL or for a divergence between the two.",
)
"""Two paragraphs beside the figure."""
_MODES = ((0.65, -1.8, 0.7), (0.35, 2.0, 0.7))
"""Weight, mean and standard deviation of the teacher's modes."""


def teacher_density() -> np.ndarray:
    """The teacher's probabilities on `GRID`, float64 `[121]`, which sum to 1."""
    density = np.sum([weight * _bell(mean, deviation) for weight, mean, deviation in _MODES], axis=0)
    return density / density.sum()


def divergence(teacher: np.ndarray, students: np.ndarray, beta: float) -> np.ndarray:
    """The generalized Jensen-Shannon divergence, scaled so that its ends are the two KL divergences.

    `β KL(p ‖ m) + (1 − β) KL(q ‖ m)` with `m = β p + (1 − β) q` (Agarwal et al., ICLR 2024, equation 1), divided by
    `β (1 − β)`, is KL(p ‖ q) in the limit of β = 0 and KL(q ‖ p) in that of β = 1.

    Args:
        teacher: p, `[X]`.
        students: q, `[..., X]`.
        beta: 0 to 1.

    Returns:
        float64 `[...]`, in nats.
    """
    if beta in (0.0, 1.0):
        return rel_entr(*((teacher, students) if beta == 0.0 else (students, teacher))).sum(axis=-1)
    mixture = beta * teacher + (1 - beta) * students
    found = beta * rel_entr(teacher, mixture) + (1 - beta) * rel_entr(students, mixture)
    return found.sum(axis=-1) / (beta * (1 - beta))


def fitted_students() -> np.ndarray:
    """The best bell-shaped student for each of `BETAS`, by search over mean and deviation: `[B, 121]`."""
    means, deviations = np.linspace(-3, 3, 121), np.linspace(0.3, 3.5, 65)
    candidates = _bell(means[:, None, None], deviations[:, None]).reshape(-1, len(GRID))
    candidates /= candidates.sum(axis=1, keepdims=True)
    teacher = teacher_density()
    return np.stack([candidates[divergence(teacher, candidates, beta).argmin()] for beta in BETAS])


@lru_cache(maxsize=1)
def mode_figure() -> Spec:
    """Teacher and fitted student over x; a slider in the browser moves β from forward to reverse KL."""
    teacher, students = teacher_density(), fitted_students()
    width = GRID[1] - GRID[0]
    rows = [
        {"x": round(float(x), 3), "teacher": round(float(p) / width, 5)}
        | {f"fit{number}": round(float(density) / width, 5) for number, density in enumerate(q)}
        for x, p, q in zip(GRID, teacher, students.T, strict=True)
    ]
    slider = alt.binding_range(min=0, max=1, step=float(BETAS[1]), name="β, from forward KL (0) to reverse KL (1)")
    beta = alt.param(name="beta", value=0, bind=slider)
    step = alt.param(name="step", expr=f"round(beta * {len(BETAS) - 1})")
    looks = series({"teacher": TEACHER, "student": "kd"})
    base = (
        alt.Chart(data(rows))  # a column for each β: Streamlit sends columns, in which a list is no list
        .transform_calculate(student="datum['fit' + step]")
        .transform_fold(["teacher", "student"], as_=["network", "density"])
    )
    lines = base.mark_line(strokeWidth=em(3)).encode(
        x=alt.X("x:Q", title="outcome x"),
        y=alt.Y("density:Q", title="probability density", scale=alt.Scale(domain=[0, 0.65])),
        color=color(looks),
        strokeDash=dash(looks, in_legend=False),
        tooltip=tooltips(("network:N", "network"), ("x:Q", "x", ".2f"), ("density:Q", "density", ".3f")),
    )
    words = (
        "beta == 0 ? 'Forward KL covers both modes' : beta == 1 ? 'Reverse KL seeks one mode' : "
        "'Between the two: β = ' + format(beta, '.2f')"
    )
    described = (
        "A teacher with two modes and the one-mode student that is closest to it. With forward KL the student is wide "
        "and covers both modes; with reverse KL it is narrow and covers the larger mode alone."
    )
    subtitle = "the student has one mode; its mean and width are fitted for each β"
    return spec([lines], alt.expr(words), subtitle, described, 260, beta, step)


def _bell(mean: np.ndarray | float, deviation: np.ndarray | float) -> np.ndarray:
    return np.exp(-0.5 * ((GRID - mean) / deviation) ** 2) / deviation
