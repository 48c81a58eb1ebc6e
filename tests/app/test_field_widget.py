"""Widgets for fields of pydantic models."""

from kdexplorer.app.parts.field_widget import describe_field
from kdexplorer.methods import get_method


def test_the_help_text_contains_the_bounds():
    words = describe_field(get_method("kd").Settings.model_fields["temperature"])
    assert "at least 0.1, at most 100" in words
    assert "above 0, at most 1,000,000" in describe_field(get_method("kd").Settings.model_fields["weight"])
