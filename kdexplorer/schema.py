"""What every record that is read from outside shares: strict models, names that stay in their folder, clear errors."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from kdexplorer.errors import ConfigError, did_you_mean, unknown_name

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.=+-]{0,63}"


class StrictModel(BaseModel):
    """Immutable, without unknown fields, without infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Record(BaseModel):
    """What is read from a file that another version may have written: unknown fields are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def is_name(text: str) -> bool:
    """Whether text may name a run or a checkpoint, so that it cannot leave its folder."""
    return re.fullmatch(NAME_PATTERN, text) is not None and ".." not in text


def _check_name(text: str) -> str:
    if not is_name(text):
        rule = "starting with a letter or digit, without two dots in a row"
        raise ValueError(f"takes letters, digits and . _ - = +, at most 64, {rule}")
    return text


Name = Annotated[str, AfterValidator(_check_name)]

RECORDED = {"recorded": True}
"""The context in which what a program wrote is read: it may name methods and networks that are not installed now."""


def validate(model: type[Model], values: Any, where: str = "", context: dict[str, Any] | None = None) -> Model:
    """Builds a model; pydantic's report becomes one sentence per field in a ConfigError.

    `where` begins the message, a file or the text that was parsed; `context` is `RECORDED` for what a program wrote.
    """
    try:
        return model.model_validate(values, context=context)
    except ValidationError as error:
        sentences = [f"{field}: {message}" if field else message for field, message in problems(error)]
        prefix = f"'{where}': " if where else ""
        raise ConfigError(prefix + "; ".join(sentences)) from error


def read_record(model: type[Model], values: dict[str, Any]) -> Model:
    """The record with every field that is valid; the others have their defaults, which every field needs."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        invalid = {item["loc"][0] for item in error.errors()}
        return model.model_validate({key: value for key, value in values.items() if key not in invalid})


def problems(error: ValidationError) -> list[tuple[str, str]]:
    """The invalid fields and the reasons in a user's words, for forms that show them beside the field."""
    found = []
    for item in error.errors():
        field, kind, given = ".".join(map(str, item["loc"])), item["type"], item["input"]
        message = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
        if kind == "extra_forbidden":
            message = "is not a setting"
        elif kind == "union_tag_invalid":
            tags = item["ctx"]["expected_tags"].replace("'", "").split(", ")
            message = unknown_name(item["ctx"]["discriminator"].strip("'"), item["ctx"]["tag"], tags)
        elif kind != "value_error" and given is not None and not isinstance(given, (dict, list)):
            message += f", not {str(given)[:60]!r}"
            if kind == "literal_error":
                message += did_you_mean(str(given), re.findall("'([^']*)'", item["ctx"]["expected"]))
        found.append((field, message))
    return found
