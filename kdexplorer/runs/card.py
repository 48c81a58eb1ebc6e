"""A checkpoint's card: what the network is, how it was trained, what it scores. JSON, versioned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, JsonValue, StringConstraints, ValidationError

from kdexplorer.config import MAX_EPOCHS, SCRATCH, ArchitectureKey, Objective
from kdexplorer.datasets import Dataset, Normalization, all_datasets, find_dataset, get_dataset
from kdexplorer.errors import CheckpointError
from kdexplorer.files import read_json
from kdexplorer.runs.run_folder import EpochMeasures, Epochs, Values
from kdexplorer.schema import RECORDED, Name, Record, problems

Text = Annotated[str, StringConstraints(max_length=300)]
Count = Annotated[int, Field(ge=1, lt=10**15, strict=True)]


class TeacherReference(Record):
    """The network that a student was distilled from: its weights' hash identifies it, whatever its name."""

    name: Text
    sha256: Text
    members: tuple[TeacherReference, ...] = ()
    """The networks whose probabilities were averaged, where there were several; empty for one."""


class DataFacts(Record):
    """What a network was trained and evaluated on."""

    dataset: Text = "cifar10"
    sha256: Text = ""
    """Of its pixels and labels, where the name does not say what the images are."""
    train_images: Count | None = None
    evaluation_split: Literal["test", "holdout"] = "test"
    """`holdout`: training images held out while settings were tuned."""
    evaluation_images: Count = 10_000


class Environment(Record):
    """What decides a run's bits beside its configuration, from a step on: another one gives other bits."""

    epoch: Epochs = 0
    step: Annotated[int, Field(ge=0, lt=10**15, strict=True)] = 0
    """The first step, of that epoch, that was trained in it."""
    threads: Count
    processes: Count = 1
    device: Text
    precision: Text
    torch: Text
    processor: Text = ""
    """Or the GPU, see `describe_environment`; empty where a version that did not record it wrote the card."""

    def differences(self, other: Environment) -> list[str]:
        """What differs in another one, such as `threads 2 instead of 1`, as far as both are known."""
        own, theirs = (one.model_dump(exclude={"epoch", "step"}) for one in (self, other))
        known = [name for name in own if "" not in (own[name], theirs[name])]
        return [f"{name} {theirs[name]} instead of {own[name]}" for name in known if own[name] != theirs[name]]


class Leg(Record):
    """One run of a network's training; a network that is trained on has several."""

    run: Text | None = None
    initial: Text | None = None
    """The checkpoint that it started from; None for random weights."""
    epochs: Epochs
    seed: int | None = None
    recipe: dict[str, JsonValue] = {}
    """The other settings of the run."""
    seconds: float | None = None
    device: Text | None = None
    precision: Text | None = None
    students: int | None = None
    """How many students the run trained together."""
    versions: dict[str, str] = {}
    environments: tuple[Environment, ...] = ()
    """More than one where the run was resumed in another one."""
    history: tuple[EpochMeasures, ...] = Field((), max_length=MAX_EPOCHS)
    """The learning curve; empty where it was not stored."""


class AfterChoice(Record):
    """The test split, measured once after settings were chosen on held-out training images."""

    dataset: Text
    images: Count
    accuracy: float = Field(ge=0, le=1)
    cross_entropy: float


class Card(Record):
    """A checkpoint's `card.json`."""

    version: Literal[2] = 2
    name: Name
    architecture: ArchitectureKey
    parameters: Annotated[int, Field(ge=0, lt=10**15, strict=True)]
    """0 where only logits are known."""
    multiply_adds: Count | None = None
    """Of one image; None where it was not counted."""
    classes: tuple[Text, ...] = Field(min_length=2, max_length=1000)
    normalization: Normalization
    objective: Objective | None = None
    """None for weights that were imported."""
    teacher: TeacherReference | None = None
    data: DataFacts = DataFacts()
    legs: tuple[Leg, ...] = Field((), max_length=64)
    """Every run of its training, in order."""
    test_accuracy: float = Field(ge=0, le=1)
    test_cross_entropy: float
    test_objective: float | None = None
    test_terms: Values = {}
    after_choice: AfterChoice | None = None
    """Only of networks that were evaluated on held-out images."""
    sha256: Text = ""
    """Of the weights' file."""

    @property
    def objective_key(self) -> str:
        """The methods' keys (see `Objective.key`); weights of unknown origin count as trained on labels alone."""
        return self.objective.key if self.objective else SCRATCH

    @property
    def dataset(self) -> str:
        """The key of the data set that fits the network: the card's where the classes agree, else the first one."""
        dataset = find_dataset(self.data.dataset)
        return dataset.key if dataset.classes == self.classes else all_datasets()[0].key

    @property
    def known_dataset(self) -> Dataset | None:
        """The data set that is named here; None where it is not known, or has other classes or images."""
        dataset = find_dataset(self.data.dataset)
        return dataset if (dataset.classes, dataset.sha256) == (self.classes, self.data.sha256) else None

    @property
    def evaluation_dataset(self) -> Dataset | None:
        """The data set on whose test split it was evaluated; None for held-out images and for other classes."""
        return self.known_dataset if self.data.evaluation_split == "test" else None

    def split_logits(self, logits: np.ndarray | None, dataset: str) -> np.ndarray | None:
        """Of the stored logits those of this data set's whole test split in its order, or None where any is missing."""
        evaluated, wanted = self.evaluation_dataset, get_dataset(dataset)
        if logits is None or evaluated is None or len(logits) != evaluated.sizes["test"]:
            return None
        return logits[: wanted.sizes["test"]] if evaluated.begins_with(wanted) else None

    @property
    def teacher_hashes(self) -> frozenset[str]:
        """Of the weights of every network that taught this one."""
        taught = (self.teacher.members or (self.teacher,)) if self.teacher else ()
        return frozenset(one.sha256 for one in taught)

    @property
    def run(self) -> str | None:
        """The run that wrote this checkpoint."""
        return self.legs[-1].run if self.legs else None

    @property
    def epochs(self) -> int | None:
        """Epochs over all legs."""
        return sum(leg.epochs for leg in self.legs) if self.legs else None

    @property
    def continued_in_view(self) -> bool:
        """Whether training was continued after the accuracy on the test split was known, which is the card's.

        Every run reports measures of its evaluation split after each epoch; one on held-out images shows none of the
        test split.
        """
        return self.data.evaluation_split == "test" and any(not leg.recipe.get("holdout") for leg in self.legs[:-1])

    @property
    def history(self) -> list[EpochMeasures]:
        """The stored learning curve over all legs; epochs are counted from the first leg on."""
        rows, begin = [], 0
        for leg in self.legs:
            rows += [row.model_copy(update={"epoch": begin + row.epoch}) for row in leg.history]
            begin += leg.epochs
        return rows


def read_card(path: Path) -> Card:
    """Reads and validates a `card.json`. Raises CheckpointError, which says what is wrong with it."""
    if (values := read_json(path)) is None:
        raise CheckpointError(f"{path.parent} has no readable {path.name}: it is not a checkpoint of this application.")
    try:
        card = Card.model_validate(values, context=RECORDED)
    except ValidationError as error:
        field, message = problems(error)[0]
        raise CheckpointError(f"{path}: {field}: {message}.") from error
    if not card.sha256:
        raise CheckpointError(f"{path}: sha256: the hash of the weights is missing.")
    return card
