"""What somebody wants in a handout, checked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdexplorer import comparison, images, relatives
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import ConfigError, ImageError
from kdexplorer.handout import sources
from kdexplorer.handout.sources import Picture, Sources
from kdexplorer.ui import charts
from kdexplorer.ui.charts_soft import T_MAX, T_MIN

MOST_NETWORKS, MOST_PICTURES = 5, 48


@dataclass(frozen=True)
class Order:
    """What goes into a handout.

    Attributes:
        networks: by the name they are shown under, the teacher first; at most `MOST_NETWORKS`, of the same classes.
        pictures: 1 to `MOST_PICTURES`.
        compared: rows of the results table, all measured on the same images; the networks where it is empty.
        temperature: where the slider begins, `T_MIN` to `T_MAX`.
        alpha: weight on the teacher's term, where its slider begins, 0 to 1.
        command: how to make this file again, if there is a command.
        live: whether the networks themselves go in, to answer to pictures of the reader's own.

    Raises:
        ConfigError: when one of these does not hold.
    """

    networks: dict[str, Checkpoint]
    pictures: list[Picture]
    compared: dict[str, Checkpoint] = field(default_factory=dict)
    temperature: float = 4.0
    alpha: float = 0.7
    command: str = ""
    live: bool = False

    def __post_init__(self) -> None:
        if not self.compared:
            object.__setattr__(self, "compared", self.networks)
        problems = {
            "give a teacher and at most four students": not 1 <= len(self.networks) <= MOST_NETWORKS,
            f"choose 1 to {MOST_PICTURES} pictures": not 1 <= len(self.pictures) <= MOST_PICTURES,
            f"the temperature must be {T_MIN:g} to {T_MAX:g}": not T_MIN <= self.temperature <= T_MAX,
            "alpha must be 0 to 1": not 0 <= self.alpha <= 1,
            "these networks know different classes": len({c.classes for c in self.networks.values()}) > 1,
            "these networks were measured on different images": len(comparison.groups(self.compared)) > 1,
        }
        for problem, there in problems.items():
            if there:
                raise ConfigError(f"a handout cannot be made: {problem}.")

    @property
    def teacher(self) -> Checkpoint:
        """The first network."""
        return next(iter(self.networks.values()))

    @property
    def dataset(self) -> str:
        """The data set whose test images have an index here."""
        return comparison.dataset_of(self.teacher)

    @property
    def baseline(self) -> str | None:
        """To whom the table's differences are: the first network in it from scratch that is nobody's teacher."""
        guides = {self.teacher.sha256, *(self.compared[name].sha256 for name in relatives.teachers(self.compared))}
        others = (name for name, c in self.compared.items() if c.sha256 not in guides)
        return next((name for name in others if self.compared[name].card.get("method") == "scratch"), None)

    def roles(self, networks: dict[str, Checkpoint]) -> dict[str, str]:
        """Each network's role, for its colour."""
        return {name: charts.role(checkpoint, self.teacher) for name, checkpoint in networks.items()}


def ordered(
    names: Sequence[str],
    count: int,
    test_images: Sequence[int],
    photos: Sequence[Path],
    temperature: float,
    alpha: float,
    given: Sources,
    live: bool = False,
) -> Order:
    """An order by the names that a command line gives; see `train.find_checkpoint`.

    `photos` and `test_images` come first; images that have something to tell fill up to `count`.

    Raises:
        KDError: when something is not there or cannot be used; OSError when a photo cannot be opened.
    """
    from kdexplorer.train import find_checkpoint

    networks = {short: find_checkpoint(name) for name, short in comparison.short_names(list(names)).items()}
    teacher, *students = networks.values()
    pictures = [_photo(path) for path in photos]
    pictures += sources.test_pictures(test_images, comparison.dataset_of(teacher), given)
    pictures = sources.choose(count, teacher, students, given, pictures)
    words = ["python", "-m", "kdexplorer", "handout", "--networks", *names, "--images", str(count)]
    words += ["--test-images", *map(str, test_images)] if test_images else []
    words += ["--photos", *(path.name for path in photos)] if photos else []
    words += ["--live"] if live else []
    return Order(networks, pictures, {}, temperature, alpha, shlex.join(words), live)


def _photo(path: Path) -> Picture:
    try:
        return Picture(images.decode_image(path.read_bytes()).transpose(2, 0, 1), name=path.name)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
