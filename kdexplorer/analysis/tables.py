"""Markdown of headings and cells."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table without a final line break; all but the first `text_columns` are aligned to the right."""
    rule = "".join("---|" if column < text_columns else "---:|" for column in range(len(headings)))
    lines = [" | ".join(cell.replace("|", r"\|") for cell in cells) for cells in (headings, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}", *(f"| {line} |" for line in lines[1:])])
