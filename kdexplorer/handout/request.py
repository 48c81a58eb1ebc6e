"""What a handout shall contain, validated: networks, and pictures worth showing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer.analysis import image_filters
from kdexplorer.analysis.results import group_by_evaluation, on_same_images
from kdexplorer.charts.style import role_of
from kdexplorer.charts.temperature import T_MAX, T_MIN
from kdexplorer.config import trained_alpha
from kdexplorer.datasets import Split, get_dataset
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import ConfigError, ImageError
from kdexplorer.files import read_bytes
from kdexplorer.images.decode import MAX_BYTES, decode_image
from kdexplorer.images.picture import Picture
from kdexplorer.notation import format_number
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint
from kdexplorer.runs.lineage import is_distilled, list_teachers, short_names
from kdexplorer.vote.questions import Question

MAX_NETWORKS, MAX_PICTURES = 5, 48

FILTERS = (
    "Only the distilled student is right", "Only the scratch baseline is right", "Most uncertain teacher", "All images",
)  # fmt: skip
"""The filters of `image_filters` that take turns when images are chosen: those that favor distillation and those that
do not."""


def choose_pictures(
    count: int,
    teacher: Checkpoint,
    students: Sequence[Checkpoint],
    first: Sequence[Picture] = (),
    gallery: Split | None = None,
) -> list[Picture]:
    """These pictures first, then up to `count` in all test images that `FILTERS` find, in turns.

    Where the networks' logits are not stored, the first images of the gallery: `gallery` where it is known.
    """
    dataset = get_dataset(teacher.card.dataset)
    gallery = dataset.gallery() if gallery is None else gallery
    known = image_filters.gather_predictions(teacher, students, dataset.key, gallery.labels)
    orders = [np.arange(len(gallery))]
    if known is not None:
        available = image_filters.available_filters(known)
        orders = [image_filters.filter_images(name, known) for name in FILTERS if name in available]
    turns = (rank for ranks in zip_longest(*(order[:count] for order in orders)) for rank in ranks)
    taken = {picture.index for picture in first}
    found = [int(rank) for rank in dict.fromkeys(turns) if rank is not None]
    more = [index for index in found if index not in taken][: max(0, count - len(first))]
    return [*first, *dataset.pictures(more, teacher.classes, gallery)]


@dataclass(frozen=True)
class HandoutRequest:
    """What goes into a handout. Raises ConfigError when one of these does not hold."""

    networks: Mapping[str, Checkpoint]  # by displayed name, the teacher first; at most `MAX_NETWORKS`, of same classes
    pictures: list[Picture]  # 1 to `MAX_PICTURES`
    compared: Mapping[str, Checkpoint] = field(default_factory=dict)  # the results table's rows; empty is the networks
    temperature: float = 4.0  # the slider's start, `T_MIN` to `T_MAX`
    alpha: float | None = None  # weight of the teacher's term, its slider's start, 0 to 1; None is each student's own
    command: str = ""  # how to write this file again, if there is a command
    live: bool = False  # whether the networks are embedded, to classify the reader's own images
    experiments: bool = False  # whether the verdicts of the measured prepared experiments are included
    votes: tuple[Question, ...] = ()  # closed questions of the audience's vote, whose totals are included
    order: tuple[str, ...] = ()  # the sections that come first, as `Lecture.sections`; empty is the bundled lecture's
    address: str = ""  # where the reader finds the application, for links to its pages; empty where there is none
    # Of CIFAR-10's test split, see `Dataset.human_labels`.
    human_labels: np.ndarray | None = field(default_factory=lambda: Cifar10().human_labels())

    def __post_init__(self) -> None:
        compared = on_same_images(self.compared or self.networks)
        if not self.compared:  # a student of held-out images has no row beside its teacher
            compared = {name: compared[name] for name in max(group_by_evaluation(compared).values(), key=len)}
        object.__setattr__(self, "compared", compared)
        is_web = self.address.startswith(("http://", "https://"))
        problems = {
            "give a teacher and at most four students": not 1 <= len(self.networks) <= MAX_NETWORKS,
            f"choose 1 to {MAX_PICTURES} pictures": not 1 <= len(self.pictures) <= MAX_PICTURES,
            f"the temperature must be {T_MIN:g} to {T_MAX:g}": not T_MIN <= self.temperature <= T_MAX,
            "alpha must be 0 to 1": self.alpha is not None and not 0 <= self.alpha <= 1,
            "a question whose votes are included must be closed": any(one.is_open for one in self.votes),
            "the address must begin with http:// or https://": bool(self.address) and not is_web,
            "these networks have different classes": len({c.classes for c in self.networks.values()}) > 1,
            "these networks were evaluated on different images": len(group_by_evaluation(self.compared)) > 1,
        }
        for problem, occurs in problems.items():
            if occurs:
                raise ConfigError(f"a handout cannot be written: {problem}.")

    @property
    def teacher(self) -> Checkpoint:
        """The first network."""
        return next(iter(self.networks.values()))

    @property
    def baseline(self) -> str | None:
        """The network that the table's differences refer to: its first without a teacher that teaches none itself."""
        teachers = {self.teacher.sha256, *(self.compared[name].sha256 for name in list_teachers(self.compared))}
        others = (name for name, c in self.compared.items() if c.sha256 not in teachers)
        return next((name for name in others if not is_distilled(self.compared[name])), None)

    @property
    def opened(self) -> int:
        """The number of the student that the page opens with, from 1: the first distilled one; 0 without students."""
        students = list(self.networks.values())[1:]
        distilled = (number for number, student in enumerate(students, start=1) if is_distilled(student))
        return next(distilled, min(1, len(students)))

    def alpha_of(self, checkpoint: Checkpoint) -> float:
        """Where a student's α starts: the requested value, else the one that it was trained with."""
        return trained_alpha(checkpoint.card.objective) if self.alpha is None else self.alpha

    def roles(self, networks: Mapping[str, Checkpoint]) -> dict[str, str]:
        return {name: role_of(checkpoint, self.teacher) for name, checkpoint in networks.items()}


def make_request(
    names: Sequence[str],
    count: int,
    test_images: Sequence[int] = (),
    photos: Sequence[Path] = (),
    story: Path | None = None,
    **options: Any,
) -> HandoutRequest:
    """A request from the values of a command line; `names` as `find_checkpoint` takes them.

    `photos` and `test_images` come first; `choose_pictures` fills up to `count`. `story` has ordered the sections;
    `options` are the request's others. Raises KDError, and OSError when a photo cannot be opened.
    """
    networks = {short: find_checkpoint(name) for name, short in short_names(list(names)).items()}
    teacher, *students = networks.values()
    pictures = [_read_photo(path) for path in photos]
    pictures += get_dataset(teacher.card.dataset).pictures(test_images, teacher.classes)
    pictures = choose_pictures(count, teacher, students, pictures)
    words = ["python", "-m", "kdexplorer", "handout", "--networks", *names, "--images", str(count)]
    words += ["--test-images", *map(str, test_images)] if test_images else []
    words += ["--photos", *(path.name for path in photos)] if photos else []
    for name in ("temperature", "alpha"):
        if options.get(name) not in (None, HandoutRequest.__dataclass_fields__[name].default):
            words += [f"--{name}", format_number(options[name])]
    words += ["--story", story.name] if story else []
    words += [f"--{name}" for name in ("live", "experiments", "votes") if options.get(name)]
    return HandoutRequest(networks, pictures, command=shlex.join(words), **options)


def _read_photo(path: Path) -> Picture:
    try:
        return Picture(decode_image(read_bytes(path, MAX_BYTES, follow_links=True)).transpose(2, 0, 1), name=path.name)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
