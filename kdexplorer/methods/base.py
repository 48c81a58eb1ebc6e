"""What a distillation method is: its description, its settings, and its loss.

A method is a subclass of `Method` in one file of this package or in a plugin; nothing else needs to know it. Reading a
method's description must not load torch, so a method file has it from `networks.outputs`, which loads it at first use.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from pydantic import Field, create_model

from kdexplorer.networks import Architecture
from kdexplorer.networks.outputs import Outputs, Tensor, nn
from kdexplorer.schema import StrictModel

Family = Literal["response", "feature", "relation"]
Need = Literal["logits", "stages", "embedding"]

FAMILIES: tuple[Family, ...] = ("response", "feature", "relation")
"""The field's families (Gou et al., "Knowledge Distillation: A Survey", IJCV 2021), in the order of tables."""


class MethodSettings(StrictModel):
    """The settings of a method; a subclass adds its own fields and may give `weight` another default."""

    method: str = Field("", description="key of the method")
    weight: float = Field(1.0, gt=0, le=1e6, description="weight of this term in the objective")


class WarmupSettings(MethodSettings):
    """The settings of a method whose weight rises linearly from zero at the beginning of training."""

    warmup: float = Field(
        0.08, ge=0, le=1, description="share of all steps in which the weight rises linearly; the reference: 20 of 240"
    )


class TemperatureSettings(MethodSettings):
    """The settings of a method that compares softened probabilities."""

    temperature: float = Field(4.0, ge=0.1, le=100, description="divides the logits of teacher and student")


class Method:
    """A distillation method with chosen settings. Two with equal settings are equal, whatever their weights.

    A subclass sets the class attributes and implements `loss`; the other functions have defaults.
    """

    key: ClassVar[str]
    """The name in configurations, on the command line and in files."""
    label: ClassVar[str]
    """The name in tables and charts."""
    family: ClassVar[Family]
    reference: ClassVar[str]
    """Where the formula comes from: authors, venue, equation."""
    formula: ClassVar[str]
    """The unweighted loss in LaTeX."""
    summary: ClassVar[str]
    """One sentence: what the student imitates."""
    needs: ClassVar[frozenset[Need]]
    """Which of the teacher's outputs the loss uses; empty for a method without a teacher."""
    relates_images: ClassVar[bool] = False
    """Whether the loss compares images of a batch with each other. Then several processes compute it over the batch of
    all of them, and the evaluation over parts of `batch_size` images. It is given what `reduce_teacher` keeps of the
    student's outputs too."""
    uses_labels: ClassVar[bool] = False
    """Whether the loss depends on the labels, which mixed images do not have."""
    min_classes: ClassVar[int] = 2
    """With fewer classes the loss has no gradient."""
    short_keys: ClassVar[dict[str, str]] = {}
    """Short spellings of settings on the command line; `T` for a `temperature` is added."""
    marker: ClassVar[str | None] = None
    """A marker for charts, one of `charts.style.MARKS`; None takes the next one that the family has left."""
    dash: ClassVar[tuple[int, ...] | None] = None
    """A line pattern for charts (pixels on, off, …); None takes the next one that the family has left."""

    class Settings(MethodSettings):
        """The method's settings."""

    def __init_subclass__(cls) -> None:
        """Ties the settings to the method: in JSON they are one object, with the method's key in it."""
        super().__init_subclass__()
        key = getattr(cls, "key", "")
        kept: Any = {"__base__": cls.Settings, "__doc__": cls.Settings.__doc__, "__module__": cls.__module__}
        settings = create_model("Settings", **kept, method=(cast(Any, Literal[key]), key))
        settings.__qualname__ = f"{cls.__qualname__}.Settings"  # by which pickle finds it
        cls.Settings = settings  # type: ignore[assignment, misc]
        if "temperature" in settings.model_fields:
            cls.short_keys = {"T": "temperature"} | cls.short_keys

    def __init__(self, settings: Any = None, **values: Any) -> None:
        self.settings: Any = self.Settings(**values) if settings is None else settings

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.key, repr(self._identity())))

    def _identity(self) -> dict[str, Any]:
        return self.settings.model_dump(exclude={"weight"})

    def weight_factor(self, progress: float) -> float:
        """What the weight is multiplied by in training once this share of all steps (0 to 1) is done.

        It depends on the settings alone, so a resumed run has the same factors. The evaluation takes the full weight.
        """
        if not isinstance(self.settings, WarmupSettings) or progress >= self.settings.warmup:
            return 1.0
        return progress / self.settings.warmup

    def check(self, student: Architecture, teacher: Architecture) -> str | None:
        """Why the two networks cannot be combined by this method and what to do, or None where they can."""
        return None

    def adapter(self, student: Architecture, teacher: Architecture) -> nn.Module | None:
        """What is trained beside the student, such as a regressor; it is no part of the exported network."""
        return None

    def reduce_teacher(self, teacher: Outputs) -> Outputs:
        """The part of the teacher's outputs that `loss` uses, computed once a batch for all students.

        The result for the evaluation split is kept in memory while it is small. The default keeps what `needs` lists.
        """
        stages = teacher.stages if "stages" in self.needs else []
        return Outputs(teacher.logits, stages, teacher.embedding if "embedding" in self.needs else None)

    def relations(self, outputs: Outputs) -> Tensor | None:
        """The relation of all pairs of a batch's images `[B, B]` that the loss compares, for display, or None."""
        return None

    @classmethod
    def source(cls) -> str:
        """The code of the method's file after its first lines: the docstring and imports."""
        text = Path(inspect.getfile(cls)).read_text(encoding="utf-8")
        begin = 0
        for part in ast.parse(text).body:
            if not isinstance(part, (ast.Expr, ast.Import, ast.ImportFrom, ast.If)):
                break
            begin = part.end_lineno or begin
        return "\n".join(text.splitlines()[begin:]).strip() + "\n"

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        """The unweighted loss.

        Args:
            student: logits float32 `[B, K]`, stages `[B, C, H, W]` each and embedding `[B, D]` in the training dtype.
            teacher: what `reduce_teacher` kept; without gradient.
            labels: int64 `[B]`.
            adapter: the trained module, where `adapter` returned one.

        Returns:
            A scalar, the mean over the batch, at least float32.
        """
        raise NotImplementedError
