"""Tables in Markdown, as TensorBoard's tab of texts shows them."""

from collections.abc import Iterable, Sequence
from typing import Any


def create_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Creates a table.

    Args:
      titles: Titles of the columns.
      rows: Cells of each row, from `write` or plain text.

    Returns:
      Lines.
    """
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(value: Any) -> str:
    """Writes a value as code that no character of it can break out of a cell.

    Args:
      value: A flag's value, a number or a text; None, and what is empty, is a dash.

    Returns:
      The cell.
    """
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    if value is None or value == "":
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    cell = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{cell}`"
