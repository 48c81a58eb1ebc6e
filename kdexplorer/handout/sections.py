"""The handout's sections and their order, which is that of a lecture's steps; and the one about the room's votes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kdexplorer.analysis.metrics import entropy
from kdexplorer.charts.common import Spec
from kdexplorer.charts.votes import room_bars
from kdexplorer.images.render import data_url
from kdexplorer.story.lecture import read_lecture
from kdexplorer.vote.analysis import count_votes, soft_label
from kdexplorer.vote.questions import Question

SECTIONS = {
    "soft": "Soft labels",
    "gradient": "Gradient",
    "attention": "Attention",
    "own-image": "Your own image",
    "human-labels": "Human labels",
    "classes": "Classes",
    "methods": "Methods",
    "results": "Results",
    "experiments": "Experiments",
    "votes": "The room's votes",
    "formulas": "Formulas",
    "training": "Training",
}
"""Each section's title in the list of sections, by its name; in this order where no lecture names them."""


def order_sections(first: Sequence[str], present: Collection[str]) -> dict[str, str]:
    """The titles of the present sections, those of a lecture first; where none are given, the bundled lecture's."""
    first = [name for name in first or read_lecture().sections() if name in SECTIONS]
    return {name: SECTIONS[name] for name in dict.fromkeys([*first, *SECTIONS]) if name in present}


def draw_votes(questions: Sequence[Question]) -> dict[str, Spec]:
    """A chart of each question's totals, by the name under which the page draws it."""
    return {
        f"votes {number}": room_bars(one.totals, one.classes, one.label)
        for number, one in enumerate(questions, start=1)
    }


def describe_votes(questions: Sequence[Question]) -> list[dict[str, str]]:
    """Each question's picture and a caption: the label, how many voted, the entropy of the room's soft label."""
    found = []
    for number, one in enumerate(questions, start=1):
        room = soft_label(one.totals)
        parts = [f"Question {number}"] + ([f"label {one.classes[one.label]}"] if one.label is not None else [])
        parts.append(count_votes(sum(one.totals)))
        parts += [] if room is None else [f"entropy {float(entropy(room)):.2f} nats"]
        found.append({"picture": data_url(one.picture), "caption": ", ".join(parts)})
    return found
