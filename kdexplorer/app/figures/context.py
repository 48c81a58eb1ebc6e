"""What a figure that stands alone is drawn from: the networks, the picture and T that all pages share."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.app import soft_labels
from kdexplorer.app.compare.compare_sections import Comparison
from kdexplorer.app.parts import network_picker, picture
from kdexplorer.app.soft_labels import SoftLabels
from kdexplorer.app.state import choices, result_caches
from kdexplorer.app.state.choices import pick_option
from kdexplorer.charts.style import role_of
from kdexplorer.images.picture import Picture
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint


@dataclass(frozen=True)
class Context:
    """The networks; a picture is chosen by the figures that show one."""

    teacher: Checkpoint
    students: list[Checkpoint]

    def many(self) -> tuple[Checkpoint, list[Checkpoint]]:
        """The teacher and up to four students, where none are chosen."""
        return network_picker.choose_networks(network_picker.MAX_STUDENTS)

    def pick_picture(self, label: bool = True) -> Picture:
        """Draws the picture with the buttons for another; without `label` its caption does not name the class."""
        with st.container(key="picture", gap="small"):
            return picture.pick_next(self.teacher, self.students, label)

    def predict(self, picture: Picture) -> SoftLabels:
        """The networks' logits for the picture."""
        return soft_labels.build(picture, self.teacher, self.students)

    def pick_family(self) -> Comparison:
        """Draws the choice of a teacher; the networks of its family, or those that were chosen."""
        found = network_picker.networks()
        teachers = lineage.list_teachers({name: c for name, c in found.items() if "/" not in name})
        own = self._own_name(found)
        name = pick_option("family", "Teacher", dict.fromkeys([own, *teachers]))
        return self._compare(found, name, name == own and choices.is_chosen("students"))

    def compare(self) -> Comparison:
        """The teacher and the chosen students, else those of its family."""
        found = network_picker.networks()
        return self._compare(found, self._own_name(found), choices.is_chosen("students"))

    def _own_name(self, found: dict[str, Checkpoint]) -> str:
        """The teacher's name among all networks."""
        return next((name for name, one in found.items() if one.path == self.teacher.path), self.teacher.name)

    def _compare(self, found: dict[str, Checkpoint], name: str, chosen: bool) -> Comparison:
        teacher = found[name]
        students = self.students if chosen else [found[one] for one in lineage.first_family(found, teacher)]
        networks = dict(zip(network_picker.short_names([teacher, *students]), [teacher, *students], strict=True))
        same = next(iter(results.group_by_evaluation(networks).values()))
        networks = {short: networks[short] for short in same}
        short = next(iter(networks))
        labels = result_caches.evaluation_labels(networks[short])
        rows = result_caches.result_rows(networks, labels, (short, networks[short]), None, {}, None)
        return Comparison(networks, {}, (short, networks[short]), [], rows, labels, {})


def roles(comparison: Comparison) -> dict[str, str]:
    """Each network's role, by its name in the table."""
    assert comparison.teacher is not None
    return {name: role_of(one, comparison.teacher[1]) for name, one in comparison.networks.items()}
