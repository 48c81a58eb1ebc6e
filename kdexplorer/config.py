"""What an experiment is: one teacher, several students, the same batches.

Everything that changes a number stands here, validated and bounded, and goes to disk as JSON.
No torch in this room: the application's forms and the command line read it before torch is loaded.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdexplorer.errors import ConfigError

ARCHITECTURES = (
    "resnet8",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet18",
    "resnet34",
    "resnet50",
    "wrn_16_2",
    "wrn_40_2",
    "mobilenet_v2",
)
"""The architectures that `kdexplorer.models` can build, in the order in which forms list them."""

METHODS = ("scratch", "response", "feature", "combined")

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.=+-]{0,63}"
RUN_FILES = (
    "config.json",
    "status.json",
    "metrics.jsonl",
    "teacher.json",
    "log.txt",
    "state.pt",
    "state.old.pt",
    "state.damaged.pt",
)
"""What else lies in a run's folder, beside a folder per student."""


def is_name(text: str) -> bool:
    """Whether text may be a run's or a checkpoint's name (so it cannot leave its folder)."""
    return re.fullmatch(NAME_PATTERN, text) is not None and ".." not in text


def _one_folder(name: str) -> str:
    if not is_name(name):
        raise ValueError("must not hold two dots in a row")
    return name


Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$"), AfterValidator(_one_folder)]

PRESETS: dict[str, dict[str, float]] = {
    "scratch": {"ce_weight": 1.0},
    "response": {"ce_weight": 0.3, "response_weight": 0.7, "temperature": 4.0},
    "feature": {"ce_weight": 1.0, "attention_weight": 1000.0},
    "combined": {
        "ce_weight": 0.3,
        "response_weight": 0.7,
        "temperature": 4.0,
        "attention_weight": 1000.0,
    },
}
"""The lab's four objectives; `alpha` in the lab's formula is `response_weight`."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


MAX_EPOCHS = 1000


class StudentConfig(_Strict):
    """One student: an architecture and the objective that it minimises.

    `L = ce_weight * CE + response_weight * T^2 * KL + attention_weight * AT`; see `losses.py`.
    """

    name: Name
    architecture: Literal[ARCHITECTURES]  # type: ignore[valid-type]
    ce_weight: float = Field(1.0, ge=0, le=1e6)
    response_weight: float = Field(0.0, ge=0, le=1e6)
    temperature: float = Field(4.0, ge=0.1, le=100)
    attention_weight: float = Field(0.0, ge=0, le=1e6)
    attention_power: Literal[1, 2] = 1
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    initial: str | None = Field(
        None, max_length=300, description="a checkpoint of this architecture to go on from, instead of fresh weights"
    )

    @model_validator(mode="after")
    def _some_objective(self) -> StudentConfig:
        if self.ce_weight + self.response_weight + self.attention_weight == 0:
            raise ValueError("all three weights are 0, so there is nothing to learn from: raise one of them")
        return self

    @property
    def needs_teacher(self) -> bool:
        return self.response_weight > 0 or self.attention_weight > 0

    @property
    def method(self) -> str:
        """The field's name for this objective: scratch, response, feature or combined."""
        return METHODS[(self.response_weight > 0) + 2 * (self.attention_weight > 0)]

    @classmethod
    def parse(cls, text: str) -> StudentConfig:
        """Reads the command line's notation, `ARCHITECTURE:PRESET[:KEY=VALUE…]`.

        Keys: `name`, `T` (temperature), `alpha` (response weight, with `1 - alpha` on the
        cross-entropy), `beta` (attention weight), `power`, `smoothing`, and every field's full name.

        Raises:
            ConfigError: on an unknown architecture, preset, key, or a value out of bounds.
        """
        architecture, preset, *pairs = [*text.split(":"), "scratch"] if ":" not in text else text.split(":")
        if preset not in PRESETS:
            raise ConfigError(f"'{text}': there is no preset '{preset}'. Choose one of {', '.join(PRESETS)}.")
        values: dict[str, Any] = {"name": f"{architecture}-{preset}", "architecture": architecture}
        values.update(PRESETS[preset])
        short = {
            "T": "temperature",
            "beta": "attention_weight",
            "power": "attention_power",
            "smoothing": "label_smoothing",
        }
        for pair in pairs:
            key, separator, value = pair.partition("=")
            if not separator:
                raise ConfigError(f"'{text}': '{pair}' is not KEY=VALUE, as in T=4.")
            if key == "alpha":
                alpha = _number(text, key, value)
                values.update(response_weight=alpha, ce_weight=round(1 - alpha, 12))
                continue
            key = short.get(key, key)
            if key not in cls.model_fields:
                choices = ", ".join(["T", "alpha", "beta", "power", "smoothing", *cls.model_fields])
                raise ConfigError(f"'{text}': there is no key '{key}'. Choose one of {choices}.")
            values[key] = value if key in ("name", "architecture", "initial") else _number(text, key, value)
        return validated(cls, values, where=text)


class ExperimentConfig(_Strict):
    """One teacher and the students that see the same batches from the same initial weights."""

    name: Name = Field("experiment", description="label that begins the run's id")
    dataset: Literal["cifar10", "synthetic"] = Field("cifar10", description="where the images come from")
    train_images: int | None = Field(
        None, ge=20, le=1_000_000, description="a class-balanced part of the training split (default: all of it)"
    )
    holdout: int = Field(
        0,
        ge=0,
        le=25_000,
        description="tuning: hold this many training images out and measure on them instead of the test split",
    )
    teacher: str | None = Field(
        None, max_length=300, description="bundled checkpoint's name, RUN/STUDENT, or a checkpoint folder"
    )
    students: list[StudentConfig] = Field(min_length=1, max_length=64, description="the networks to train")
    epochs: int = Field(10, ge=1, le=MAX_EPOCHS, description="passes over the training images")
    batch_size: int = Field(128, ge=4, le=8192, description="images a step")
    learning_rate: float = Field(0.2, gt=0, le=20, description="peak learning rate")
    schedule: Literal["one_cycle", "cosine"] = Field(
        "one_cycle", description="after the warm-up: a straight line to zero, or half a cosine"
    )
    warmup: float = Field(0.2, ge=0, le=0.9, description="share of all steps in which the rate rises from zero")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum")
    weight_decay: float = Field(5e-4, ge=0, le=0.1, description="on weights; biases and norms have none")
    crop_padding: int = Field(4, ge=0, le=8, description="random crop after reflecting this many pixels")
    flip: Literal["alternating", "random", "none"] = Field(
        "alternating", description="mirroring; alternating shows each image either way in turn"
    )
    start_resolution: int = Field(
        32,
        ge=16,
        le=32,
        multiple_of=8,
        description="pixels a side in the first epoch, 16 or 24; grows by 8, and the last quarter of the epochs has 32",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="decides initial weights, order, crops and flips")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the forward passes; auto takes bfloat16 where the hardware has it"
    )
    compile: bool = Field(
        False,
        description="torch.compile the networks: half a minute at the start, 1.2 times the speed after; needs g++",
    )
    sync_batch_norm: bool = Field(
        False, description="in a team of processes: batch norm over the whole batch instead of each process's part"
    )
    threads: int | None = Field(None, ge=1, le=256, description="processor threads (default: torch's choice)")
    save_minutes: float = Field(5.0, gt=0, le=1440, description="the state is saved every epoch and this often")

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        names = [student.name.lower() for student in self.students]  # folders, and some disks know one case only
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two students are called {twice[0]}: give one of them another name")
        taken = [name for name in names if name in RUN_FILES]
        if taken:
            raise ValueError(f"a student cannot be called {taken[0]}: the run keeps a file of that name")
        if not self.teacher:
            listening = [student.name for student in self.students if student.needs_teacher]
            if listening:
                raise ValueError(f"{listening[0]} learns from a teacher, but no teacher is given: choose one")
        if self.train_images is not None and self.batch_size > self.train_images:
            raise ValueError("the batch is larger than the training set: lower batch_size")
        return self

    @classmethod
    def load(cls, path: Path) -> ExperimentConfig:
        """Reads a JSON file. Raises ConfigError when it is missing, not JSON, or not valid."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} cannot be read as an experiment: {error}") from error
        return validated(cls, values, where=str(path))


def validated(model: type[_Strict], values: Any, where: str = "") -> Any:
    """Builds a configuration; pydantic's report becomes one sentence per field in a ConfigError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        sentences = [f"{field}: {message}" if field else message for field, message in problems(error)]
        prefix = f"'{where}': " if where else ""
        raise ConfigError(prefix + "; ".join(sentences)) from error


def problems(error: ValidationError) -> list[tuple[str, str]]:
    """The fields that are wrong and why, in a user's words, for forms that show it beside the field."""
    found = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
        if item["type"] == "extra_forbidden":
            message = "is not a setting"
        elif item["type"] == "string_pattern_mismatch":
            message = "takes letters, digits and . _ - = +, at most 64, beginning with a letter or digit"
        elif item["input"] is not None and not isinstance(item["input"], (dict, list)):
            message += f", not {str(item['input'])[:60]!r}"
        found.append((field, message))
    return found


def _number(text: str, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"'{text}': {key} takes a number, not '{value[:60]}'.") from None
