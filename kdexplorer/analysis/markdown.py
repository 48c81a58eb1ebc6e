"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table without a final line break; a `|` in a cell is escaped.

    Args:
        headings: one for each column.
        rows: cells as they are shown.
        text_columns: how many of the first columns are aligned to the left; the others are numbers.
    """

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = "".join("---|" if column < text_columns else "---:|" for column in range(len(headings)))
    return "\n".join([line(headings), f"|{rule}", *(line(cells) for cells in rows)])
