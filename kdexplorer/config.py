"""What a run is: one teacher, several students, the same batches.

Everything that changes a number is here, validated and bounded, and is stored as JSON. No torch is loaded: forms and
the command line read it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, ValidationInfo, WrapValidator, model_validator

from kdexplorer.datasets import dataset_choices, get_dataset
from kdexplorer.errors import ConfigError
from kdexplorer.files import MAX_JSON_BYTES, parse_json, read_bytes
from kdexplorer.methods import Method, MethodSettings, UnknownSettings, all_methods, find_method
from kdexplorer.methods.kd import KD
from kdexplorer.networks import all_architectures
from kdexplorer.presets import RECIPES
from kdexplorer.schema import RECORDED, Name, StrictModel, is_name, validate


def _keep_unknown_term(value: Any, check: Callable[[Any], Any], info: ValidationInfo) -> Any:
    """In a record, and where it comes from one, a method that is not installed has a stand-in's settings."""
    if isinstance(value, UnknownSettings):
        return value
    key = value.get("method") if info.context and isinstance(value, dict) else None
    known = {method.key for method in all_methods()}
    if isinstance(key, str) and key.isidentifier() and is_name(key) and key not in known:
        return find_method(key).Settings.model_validate(value)
    return check(value)


def _keep_unknown_name(value: Any, check: Callable[[Any], Any], info: ValidationInfo) -> Any:
    """A record may name what is not in the registry."""
    return value if info.context and isinstance(value, str) and is_name(value) else check(value)


if TYPE_CHECKING:
    ArchitectureKey = str
    RecipeKey = str
    Term = MethodSettings
else:
    _unknown = WrapValidator(_keep_unknown_name), SerializeAsAny()
    ArchitectureKey = Annotated[Literal[tuple(one.key for one in all_architectures())], *_unknown]
    RecipeKey = Literal[tuple(RECIPES)]
    _known = Annotated[reduce(or_, (method.Settings for method in all_methods())), Field(discriminator="method")]
    Term = Annotated[_known, WrapValidator(_keep_unknown_term), SerializeAsAny()]


_found = AfterValidator(lambda key: get_dataset(key).key)
DatasetKey = Annotated[str, Field(max_length=300), _found, WrapValidator(_keep_unknown_name)]

RUN_FILES = (
    "config.json", "status.json", "metrics.jsonl", "batches.jsonl", "teacher.json", "log.txt", "state.pt",
    "state.old.pt", "state.damaged.pt",
)  # fmt: skip
"""The files of a run's folder, beside a folder for each student."""

MAX_EPOCHS, MAX_STUDENTS = 1000, 64
"""Of one run."""
SCRATCH = "scratch"
"""The key of an objective without a teacher."""


class Objective(StrictModel):
    """What a student minimizes: `ce_weight * CE + sum of weight * method`, any number of terms."""

    ce_weight: float = Field(1.0, ge=0, le=1e6, description="weight of cross-entropy with the hard label")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of the hard label spread over all classes")
    terms: tuple[Term, ...] = Field((), max_length=16, description="distillation methods with weights and settings")

    @model_validator(mode="after")
    def _has_a_term(self) -> Objective:
        if not self.ce_weight and not self.terms:
            raise ValueError("the objective has no term: set ce_weight above 0 or add a method")
        return self

    @property
    def methods(self) -> list[Method]:
        """The terms' methods with their settings, in order."""
        return [find_method(term.method)(term) for term in self.terms]

    @property
    def unknown(self) -> list[str]:
        """The keys of methods that are not installed."""
        return [term.method for term in self.terms if isinstance(term, UnknownSettings)]

    @property
    def needs(self) -> frozenset[str]:
        """What its terms use of a teacher's outputs, see `Method.needs`; without any it needs no teacher."""
        return frozenset(need for method in self.methods for need in method.needs)

    @property
    def key(self) -> str:
        """The methods' keys, each once, in the registry's order: `scratch`, `kd`, `kd+at`."""
        used = {term.method for term in self.terms}
        return "+".join([*(one.key for one in all_methods() if one.key in used), *sorted(set(self.unknown))]) or SCRATCH

    @property
    def term_names(self) -> list[str]:
        """The terms' names in metrics: the method's key, numbered from its second term on: `kd`, `kd.2`."""
        keys = [term.method for term in self.terms]
        return [f"{k}.{count}" if (count := keys[:i].count(k) + 1) > 1 else k for i, k in enumerate(keys)]

    def weights_by_method(self) -> dict[str, float]:
        """The sum of the weights of each method's terms, by key."""
        return {key: sum(t.weight for t in self.terms if t.method == key) for key in {t.method for t in self.terms}}


def trained_alpha(objective: Objective | None) -> float:
    """α of the lab's formula in an objective: KD's share of the weights of KD and cross-entropy, 0 to 1.

    KD's default weight, the lab's α, where the objective has no such term.
    """
    if objective is None or KD.key not in (weights := objective.weights_by_method()):
        return float(KD.Settings().weight)
    return weights[KD.key] / (weights[KD.key] + objective.ce_weight)


class StudentConfig(Objective):
    """One student: an architecture and its objective."""

    name: Name
    architecture: ArchitectureKey
    initial: str | None = Field(
        None, max_length=300, description="a checkpoint of this architecture to start from instead of random weights"
    )

    @property
    def objective(self) -> Objective:
        """The objective alone."""
        return Objective(ce_weight=self.ce_weight, label_smoothing=self.label_smoothing, terms=self.terms)


def _check_device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", text):
        raise ValueError(f"should be auto, cpu, cuda, or cuda:N, not '{text[:60]}'")
    return text


class RunConfig(StrictModel):
    """One teacher and the students that see the same batches from the same initial weights."""

    version: Literal[2] = 2
    name: Name = Field("run", description="begins the run's id")
    dataset: DatasetKey = Field("cifar10", description=f"where the images come from: {dataset_choices()}")
    image_order: Literal["content", "source"] = Field(
        "content",
        description="of the training images: by content, the same for every source, or as the source has them",
    )
    train_images: int | None = Field(
        None, ge=20, le=1_000_000, description="a class-balanced part of the training split (default: all of it)"
    )
    without_class: int | None = Field(
        None, ge=0, le=999, description="omit the class with this number from the training images, and only from them"
    )
    holdout: int = Field(
        0,
        ge=0,
        le=25_000,
        description="for tuning: hold out this many training images and evaluate on them instead of the test split",
    )
    teacher: str | None = Field(
        None,
        max_length=300,
        description="a bundled checkpoint's name, RUN/STUDENT, or a checkpoint folder; several joined by +",
    )
    students: list[StudentConfig] = Field(min_length=1, max_length=MAX_STUDENTS, description="the networks to train")
    recipe: RecipeKey = Field(
        "standard",
        description="settings by a name; other options override them. Of those for short trainings `fast` is for "
        "AirNets, `muon` for ResNets",
    )
    epochs: int = Field(10, ge=1, le=MAX_EPOCHS, description="passes over the training images")
    batch_size: int = Field(128, ge=4, le=8192, description="images per step")
    learning_rate: float = Field(0.2, gt=0, le=20, description="peak learning rate")
    schedule: Literal["one_cycle", "cosine", "step"] = Field(
        "one_cycle",
        description="after the warm-up: linearly or along half a cosine to zero, or divided by ten at 5/8, 3/4 and 7/8",
    )
    warmup: float = Field(0.2, ge=0, le=0.9, description="share of all steps in which the rate rises from zero")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum; AdamW's first beta")
    optimizer: Literal["sgd", "muon", "adamw"] = Field(
        "sgd", description="muon trains the convolutions and SGD all else; adamw needs a rate of about 0.002"
    )
    filter_rate: float = Field(0.24, gt=0, le=2, description="Muon's peak learning rate")
    filter_momentum: float | None = Field(None, ge=0, lt=1, description="Muon's momentum (default: momentum)")
    bias_factor: float = Field(
        1.0,
        gt=0,
        le=100,
        description="learning rate of the biases of norms and convolutions, as a multiple of the others'",
    )
    norm_momentum: float = Field(0.1, gt=0, le=1, description="a batch's share in the running statistics of batch norm")
    first_layer: Literal["trained", "whitening"] = Field(
        "trained", description="the first convolution; whitening is computed from training images and stays as it is"
    )
    start_filters: Literal["random", "dirac"] = Field(
        "random", description="of fresh convolutions; dirac lets them begin by passing their input on"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of an average of the weights, which is then the result; 0: the last weights"
    )
    weight_decay: float = Field(5e-4, ge=0, le=0.1, description="not of biases, norms and what Muon trains")
    crop_padding: int = Field(4, ge=0, le=8, description="random crop after reflecting this many pixels")
    cutout: int = Field(0, ge=0, le=32, description="pixels a side of a random square in the mean color; 0: none")
    flip: Literal["alternating", "random", "none"] = Field(
        "alternating", description="mirroring; alternating shows each image both ways in turn"
    )
    teacher_view: Literal["same", "fixed", "independent"] = Field(
        "same",
        description="what the teacher sees: the student's crop, the image as it is (computed once), or its own crop",
    )
    mixup: bool = Field(
        False, description="mix each image with another of the batch, for both networks; needs ce_weight 0"
    )
    start_resolution: int = Field(
        32,
        ge=16,
        le=32,
        multiple_of=8,
        description="pixels a side in the first epoch, 16 or 24; grows by 8, and the last quarter of the epochs has 32",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="decides initial weights, order, crops and flips")
    device: Annotated[str, AfterValidator(_check_device)] = Field(
        "auto", description="where to train: auto, cpu, cuda, or cuda:N"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the forward passes; auto takes bfloat16 where the hardware has it, or a GPU's float16"
    )
    compile: bool = Field(
        False, description="torch.compile the networks: half a minute at the start, then often faster; needs g++"
    )
    sync_batch_norm: bool = Field(
        False, description="with several processes: batch norm over the whole batch instead of each process's part"
    )
    threads: int | None = Field(None, ge=1, le=256, description="processor threads (default: torch's choice)")
    evaluate_every: int = Field(
        1, ge=1, le=MAX_EPOCHS, description="epochs from one evaluation to the next; the last one is always evaluated"
    )
    snapshots: int = Field(
        0, ge=0, le=MAX_EPOCHS, description="also save each student every INT epochs, as NAME-after-EPOCH"
    )
    save_minutes: float = Field(5.0, gt=0, le=1440, description="the state is saved every epoch and this often")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, values: Any) -> Any:
        recipe = values.get("recipe") if isinstance(values, dict) else None
        return RECIPES.get(recipe, {}) | values if isinstance(recipe, str) else values

    @model_validator(mode="after")
    def _is_consistent(self) -> RunConfig:
        names = [student.name.lower() for student in self.students]  # folders; some disks ignore case
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two students are called {twice[0]}: give one of them another name")
        snapshots = range(self.snapshots or self.epochs, self.epochs, self.snapshots or 1)
        kept = {f"{name}-after-{epochs}" for name in names for epochs in snapshots}
        if kept and not is_name(longest := max(kept, key=len)):
            raise ValueError(f"the name of a snapshot, {longest}, is too long: shorten it")
        if reserved := [name for name in names if name in kept or name in RUN_FILES]:
            raise ValueError(f"a student cannot be called {reserved[0]}: the run has a file of that name")
        distilled = [student.name for student in self.students if not student.unknown and student.needs]
        if distilled and not self.teacher:
            raise ValueError(f"{distilled[0]} needs a teacher, but no teacher is given: choose one")
        if self.train_images is not None and self.batch_size > self.train_images:
            raise ValueError("the batch is larger than the training set: lower batch_size")
        if self.mixup and self.teacher_view == "fixed":
            raise ValueError("mixup mixes what the teacher sees, too: choose another teacher_view than fixed")
        for student in (one for one in self.students if not one.unknown):
            if self.mixup and (student.ce_weight or not student.needs):
                raise ValueError(f"mixup has no hard labels: set the ce_weight of {student.name} to 0 and add a method")
            if self.mixup and (using := [method.label for method in student.methods if method.uses_labels]):
                raise ValueError(f"mixup has no hard labels, but {student.name} has {using[0]}, which uses them")
            if self.teacher_view == "fixed" and student.needs - {"logits"}:
                raise ValueError(f"{student.name} needs more than logits: choose another teacher_view than fixed")
        return self

    def training_images(self) -> str:
        """How many training images it has, in words: `all`, `all but 5,000` or `20,000`."""
        rest = f"all but {self.holdout:,}" if self.holdout else "all"
        return rest if self.train_images is None else f"{self.train_images:,}"

    def missing(self) -> list[str]:
        """What is not installed of what a record names, in sentences; empty where the run can be trained."""
        known, found = {one.key for one in all_architectures()}, list[str]()
        try:
            get_dataset(self.dataset)
        except ConfigError:
            found.append(f"the data set '{self.dataset}'")
        for student in self.students:
            found += [f"{student.name}: the method '{key}'" for key in student.unknown]
            if student.architecture not in known:
                found.append(f"{student.name}: the network '{student.architecture}'")
        return [f"{what} is not installed: install it, or name its --plugin" for what in found]

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Reads a JSON file, as a record. Raises ConfigError when it is missing or not valid."""
        return validate(cls, cls.read(path), str(path), RECORDED)

    @staticmethod
    def read(path: Path, follow_links: bool = False) -> dict[str, Any]:
        """What a JSON file says of a run, not validated. Raises ConfigError."""
        try:
            values = parse_json(read_bytes(path, MAX_JSON_BYTES, follow_links=follow_links))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} cannot be read as a run: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path} cannot be read as a run: it is no object.")
        if (kind := values.pop("kind", "run")) != "run":
            raise ConfigError(f"{path} describes a {kind}, not a run.")
        return values


def recipe_settings(recipe: str) -> dict[str, Any]:
    """A recipe's value of every setting that any recipe sets, so that one recipe may take another's place."""
    names = {name for values in RECIPES.values() for name in values}
    return {"recipe": recipe} | {name: RunConfig.model_fields[name].default for name in sorted(names)} | RECIPES[recipe]


def split_term_name(name: str) -> tuple[str, str]:
    """A term's method and its number, which is empty for the first: the inverse of `Objective.term_names`.

    The losses by stage of some bundled networks, such as `at_2`, are read like numbered terms.
    """
    number = None if any(method.key == name for method in all_methods()) else re.search(r"[._](\d+)$", name)
    return (name[: number.start()], number[1]) if number else (name, "")


def objective_label(key: str) -> str:
    """An objective's name in tables and charts, such as `KD + AT`."""
    return key if key == SCRATCH else " + ".join(find_method(method).label for method in key.split("+"))


# --- What follows from a configuration, by step and by epoch ---

FULL_RESOLUTION = 32
"""Pixels a side of the images as they are, and as they are evaluated."""


def learning_rate(config: RunConfig, step: int, steps: int) -> float:
    """The rate of a step (from 0): up in a straight line, then down to zero in a line or half a cosine, or by steps.

    The steps are those of RepDistiller's 240 epochs: a tenth from epoch 150, 180 and 210 on.
    """
    rise = round(config.warmup * steps)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    if config.schedule == "step":
        return config.learning_rate * 0.1 ** sum(step >= share * steps for share in (5 / 8, 3 / 4, 7 / 8))
    rest = (step - rise) / max(1, steps - rise)
    shape = 1 - rest if config.schedule == "one_cycle" else (1 + math.cos(math.pi * rest)) / 2
    return config.learning_rate * shape


def resolution(config: RunConfig, epoch: int) -> int:
    """Pixels a side that an epoch (from 0) trains on: even steps of 8 from `start_resolution`, 32 in the last quarter.

    Smaller images first: Tan & Le, "EfficientNetV2", ICML 2021, section 4. However few epochs there are, the last has
    the size that is evaluated, because the statistics of batch norm depend on the size. Steps of 8 because every size
    is compiled for (half a minute for a ResNet-50), and because 28 pixels take nearly the time of 32.
    """
    rising = int(0.75 * config.epochs)
    if epoch >= rising:
        return FULL_RESOLUTION
    steps = (FULL_RESOLUTION - config.start_resolution) // 8
    return config.start_resolution + 8 * (steps * epoch // rising)


def pixel_shares(config: RunConfig) -> list[float]:
    """The pixels of each epoch's images as shares of those at full size, which a step's cost follows."""
    return [(resolution(config, epoch) / FULL_RESOLUTION) ** 2 for epoch in range(config.epochs)]
