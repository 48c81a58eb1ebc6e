"""The figures about methods: where they connect two networks, what one asks of a student, two directions of KL."""

from __future__ import annotations

from collections.abc import Iterator

from kdexplorer.charts import methods as charts
from kdexplorer.figures import Choice, Figure, Part, Words
from kdexplorer.methods import all_methods, get_method


def _choose_method() -> Choice:
    labels = {method.key: method.label for method in all_methods()}
    return Choice("method", "Method", labels, "kd", is_labeled=False)


def _taxonomy(method: str) -> Iterator[Part]:
    yield charts.taxonomy(method)
    chosen = get_method(method)
    yield Words(f": {chosen.summary}", strong=chosen.label)


FIGURES = (
    Figure(
        "taxonomy", "Where methods connect two networks", "methods", "the method", "methods", _taxonomy, "",
        (_choose_method,),
    ),
    Figure("method", "A method's gradient on a student", "methods", "the method", "methods", needs="picture"),
    Figure("divergence", "Forward or reverse KL", "methods", "β", "methods", charts.mode_figure, is_titled=True),
)  # fmt: skip
