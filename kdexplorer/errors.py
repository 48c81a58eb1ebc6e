"""What can go wrong in a way that a user can fix. Every message says what to do."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(name: str, choices: Collection[str]) -> str:
    """The nearest of the choices in parentheses, after a space; empty where none is near."""
    near = get_close_matches(name[:60], choices, 1, cutoff=0.75)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unknown_name(kind: str, name: str, choices: Collection[str]) -> str:
    """What is said of a name that is none of the choices."""
    return f"unknown {kind} '{name[:60]}'{did_you_mean(name, choices)}: choose one of {', '.join(choices)}"


class KDError(ValueError):
    """Base of all errors that carry a message for the user; pydantic takes a validator's for the field's."""


class ConfigError(KDError):
    """The run cannot be trained as written."""


class DataError(KDError):
    """The data set is missing, truncated or of another kind."""


class ImageError(KDError):
    """The bytes are not an image that can be shown to a network."""


class ImageMemoryError(ImageError):
    """There was no memory for reading the image; it may be readable."""


class CheckpointError(KDError):
    """The checkpoint is incomplete, altered, or not what its card says."""


class RunError(KDError):
    """The run's state does not allow the command."""


class TrainingError(KDError):
    """Training cannot go on."""
