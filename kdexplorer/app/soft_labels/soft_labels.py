"""One picture and the networks' logits for it: what the page Soft labels and the figures about predictions show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdexplorer.app.parts import network_picker
from kdexplorer.app.parts.plain import show_error
from kdexplorer.app.state import caches, choices
from kdexplorer.charts.common import NetworkLogits
from kdexplorer.charts.style import role_of
from kdexplorer.config import SCRATCH
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture
from kdexplorer.runs.checkpoints import Checkpoint


@dataclass(frozen=True)
class SoftLabels:
    """What the page shows: one picture, the networks' logits for it, and the pinned temperature."""

    picture: Picture
    networks: dict[str, Checkpoint]
    """By the name that they are shown under, the teacher first."""
    logits: list[NetworkLogits]
    """In the same order."""
    temperature: float
    human: np.ndarray | None
    """The shares of annotators `[N, K]` for the test split, where they are available for this picture."""

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.networks.values())).classes

    @property
    def shown(self) -> tuple[object, ...]:
        """What the charts show apart from the temperature."""
        return self.picture.index, self.picture.pixels.tobytes(), tuple(self.networks)

    @property
    def teacher(self) -> NetworkLogits:
        return self.logits[0]

    @property
    def students(self) -> list[NetworkLogits]:
        return self.logits[1:]

    @property
    def distilled(self) -> NetworkLogits:
        """The first distilled student, else the first student; there is one."""
        return next((student for student in self.students if student.role != SCRATCH), self.students[0])


def build(picture: Picture, teacher: Checkpoint, students: list[Checkpoint]) -> SoftLabels:
    """The networks' logits for a picture; what is missing is reported. Without the teacher's the page ends."""
    human = None
    try:
        human = caches.human_labels_of(picture.dataset) if picture.label is not None else None
    except KDError as error:
        show_error(error)
    networks = dict(zip(network_picker.short_names([teacher, *students]), [teacher, *students], strict=True))
    found = network_picker.compute_each(
        networks, lambda one: caches.image_logits(one, picture.pixels, picture.index, picture.dataset)
    )
    networks = {name: networks[name] for name in found}
    logits = [NetworkLogits(name, role_of(networks[name], teacher), values) for name, values in found.items()]
    return SoftLabels(picture, networks, logits, choices.pinned("T"), human)
