"""A handout's charts: the application's own, drawn once; the page's sliders set temperature, alpha, opacity and β.

They are compiled from Vega-Lite to Vega when the file is written: a phone would take long for it. The same chart of
twelve pictures differs in its rows, description and parameter values only; everything else, its shape, is compiled and
stored in the file once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kdexplorer.analysis import metrics, results
from kdexplorer.analysis.attention_similarity import attention_weight
from kdexplorer.analysis.human_agreement import closeness
from kdexplorer.analysis.inference import predict_picture
from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts import attention, class_maps, evaluation, gradients, methods, soft_labels, style, temperature
from kdexplorer.charts.attention import ALL_STAGES, Maps, NetworkMaps
from kdexplorer.charts.common import CLASS_LIMIT, NetworkLogits, Source, Spec, fresh_student
from kdexplorer.charts.learning_curves import Curves, learning_curves
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.images.picture import Picture

EM = "file ? file.em : width < 400 ? 12 : 14"
"""The size of charts' text as `style.EM`: a handout is read on one's own screen or on paper, and is not as wide as the
window."""

LOOK: dict[str, Any] = style.CONFIG | {
    "axis": style.CONFIG["axis"]
    | dict.fromkeys(("tickColor", "domainColor", "gridColor"), style.INK)
    | {"titleFontWeight": "normal", "domainOpacity": 0.4, "tickOpacity": 0.4, "gridOpacity": 0.12},
    "title": {"color": style.INK, "subtitleColor": style.INK},
    "view": {"stroke": None},
    "background": "transparent",
    "font": "system-ui, sans-serif",
}
"""What the application's theme does to a chart."""

TEMPERATURES = tuple(2 ** (k / 4) for k in range(-4, 19))
"""Of the class maps, four steps per octave: beyond both ends of the slider."""

Chart = dict[str, Any]
"""A chart as `page.js` draws it: `shape` (see `Charts.shapes`), `rows` by data set, parameters'
`values` by name, `description`."""


class Charts:
    """The charts of one handout; `give_way` is called between two steps.

    Attributes:
        human: the annotators' shares `[N, K]`, where they and a network's stored logits of the same images are known.
        shapes: the index of each shape of a chart that was added, by its specification as JSON.
    """

    def __init__(self, request: HandoutRequest, give_way: Callable[[], object] = lambda: None) -> None:
        self.request, self.give_way = request, give_way
        self.shapes: dict[str, int] = {}
        self.roles = request.roles(request.networks)
        self.stored = self._read_logits(request.teacher.card.dataset)
        self.annotated = {} if request.human_labels is None else self._read_logits(Cifar10.key)
        self.human = request.human_labels if self.annotated else None
        self.computing = {name: one.network() for name, one in request.networks.items()}

    def _read_logits(self, dataset: str) -> dict[str, np.ndarray]:
        """The networks' logits `[N, K]` of this data set's whole test split, where they are stored."""
        networks = self.request.networks.items()
        found = {name: one.card.split_logits(one.logits_or_none(), dataset) for name, one in networks}
        return {name: logits for name, logits in found.items() if logits is not None}

    def add(self, spec: Spec) -> Chart:
        """Splits one of the application's Vega-Lite specifications into its shape and the rest.

        A shape is as wide as its frame, and has no rows and no sliders of its own.
        """
        params = [param | {"expr": EM} if param["name"] == "em" else param for param in spec["params"]]
        separate = ("$schema", "config", "datasets", "description", "usermeta")
        shape = {key: value for key, value in spec.items() if key not in separate}
        shape["params"] = [{key: param[key] for key in ("name", "expr") if key in param} for param in params]
        index = self.shapes.setdefault(json.dumps(shape, sort_keys=True), len(self.shapes))
        values, rows = {p["name"]: p["value"] for p in params if "value" in p}, spec.get("datasets", {})
        return {"shape": index, "rows": rows, "values": values, "description": spec["description"]}

    def pictures(self) -> list[dict[str, Any]]:
        """Each picture's caption, pixels, and charts by the name under which the page draws them. Raises KDError."""
        found = []
        for picture in self.request.pictures:
            self.give_way()
            caption = picture.caption(self.request.teacher.classes) + self._describe_right(picture)
            drawn = self._draw_predictions(picture) | self._draw_human_labels(picture)
            charts = {name: self.add(spec) for name, spec in drawn.items()}
            found.append({"caption": caption, "pixels": picture.data_url, "charts": charts})
        return found

    def _describe_right(self, picture: Picture) -> str:
        """Which networks predict the label of a test image; empty without a label or stored logits."""
        if picture.label is None:
            return ""
        right = {name: int(logits[picture.index].argmax()) == picture.label for name, logits in self.stored.items()}
        parts = {word: [name for name, one in right.items() if one is (word == "right")] for word in ("right", "wrong")}
        return "".join(f"; {word}: {', '.join(names)}" for word, names in parts.items() if names)

    def _draw_predictions(self, picture: Picture) -> dict[str, Spec]:
        networks, rows = [], []
        for name, checkpoint in self.request.networks.items():
            logits, maps = predict_picture(self.computing[name], picture.pixels, checkpoint.card.normalization)
            stored = self.stored.get(name) if picture.index is not None else None
            role = self.roles[name]
            networks.append(NetworkLogits(name, role, logits if stored is None else stored[picture.index]))
            rows.append(NetworkMaps(name, role, maps[1], attention_weight(checkpoint)))
        teacher, *students = networks
        classes, start = self.request.teacher.classes, self.request.temperature
        shown = Source(networks, classes, picture.label, start)
        first, *own = (self.request.alpha_of(checkpoint) for checkpoint in self.request.networks.values())
        moments = [(fresh_student(teacher), own[0] if own else first), *zip(students, own, strict=True)]
        return {
            "soft_labels": soft_labels.columns(shown),
            "attention": attention.grid(Maps(rows, picture.pixels_last), "map", ALL_STAGES),
        } | {
            f"gradient {number}": gradients.gradient_push(replace(shown, alpha=alpha), student)
            for number, (student, alpha) in enumerate(moments)
        }

    def _draw_human_labels(self, picture: Picture) -> dict[str, Spec]:
        """The human labels of a test image, and how close each network is to them."""
        if self.human is None or picture.index is None or not Cifar10().begins_with(get_dataset(picture.dataset)):
            return {}
        labels, name = self.human[picture.index], f"test image {picture.index}"
        near = {name: closeness(labels, logits[picture.index]) for name, logits in self.annotated.items()}
        said = "Human labels", f"about 50 annotators, {name}"
        classes = self.request.teacher.classes
        return {
            "human labels": soft_labels.probability_bars(labels, classes, picture.label, style.HUMAN, *said),
            "closeness": temperature.closeness_curves(near, self.roles, labels, name),
        }

    def split(self, rows: list[ResultRow]) -> dict[str, Chart]:
        """The charts that no picture changes: class maps over T, accuracies, learning curves, methods, votes."""
        roles = self.request.roles(self.request.compared)
        drawn: dict[str, Spec | None] = {
            "accuracies": evaluation.accuracies(rows, roles),
            "taxonomy": methods.taxonomy(),
            "divergence": methods.mode_figure(),
            **self._draw_class_maps(),
        }
        histories, teacher = results.learning_curves(self.request.compared, self.request.teacher)
        curves = Curves(histories, style.series(roles), teacher=teacher)
        for measure in ("accuracy", "cross_entropy"):
            drawn[f"curve {measure}"] = learning_curves(curves, measure, "test")
        if self.human is not None:
            subject = f"{len(self.human):,} test images"
            near = {name: closeness(self.human, logits) for name, logits in self.annotated.items()}
            drawn["closeness on the split"] = temperature.closeness_curves(near, self.roles, self.human, subject)
        votes = enumerate(self.request.votes, start=1)
        drawn |= {f"votes {k}": soft_labels.vote_bars(one.totals, one.classes, one.label) for k, one in votes}
        return {name: self.add(spec) for name, spec in drawn.items() if spec is not None}

    def _draw_class_maps(self) -> dict[str, Spec]:
        dataset = get_dataset(self.request.teacher.card.dataset)
        teacher = self.stored.get(next(iter(self.request.networks)))
        groups = dataset.test_labels()
        if groups is None and teacher is not None:
            groups = teacher.argmax(axis=1)
        if groups is None or not self.stored:
            return {}
        classes, members, limit = self.request.teacher.classes, None, CLASS_LIMIT
        if grouped := dataset.superclasses(classes):
            (classes, members), limit = grouped, len(grouped[0])
        stacks = dict[str, np.ndarray]()
        for name, logits in self.stored.items():
            self.give_way()
            stacks[name] = np.stack([metrics.class_similarity(logits, groups, t, members) for t in TEMPERATURES])
        drawn, names = class_maps.similarities(stacks, classes, TEMPERATURES, limit=limit), [*self.request.networks]
        return {f"classes {names.index(name)}": chart for name, chart in drawn.items()}
