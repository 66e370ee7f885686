"""A comparison as Markdown, CSV or LaTeX."""

# Tested in tests/studies/comparison/test_comparison_report.py.

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Mapping, Sequence

# Characters that mean something to LaTeX, or are not in its fonts.
_LATEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
      text: Text that a person reads.
      numbers: Values that a program reads, by the name of their column; by default the text.
    """

    text: str
    numbers: Mapping[str, float | str] | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A table, and what belongs to it.

    Attributes:
      header: The columns' names.
      rows: Cells, as many a row as there are columns.
      notes: Sentences that must be read with the table.
      commands: Origin of each kind of row: its name, the command that made it, the versions.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]
    commands: Sequence[tuple[str, str, str]]


def to_markdown(comparison: Comparison) -> str:
    """Returns the table, the notes, and a list of commands."""
    lines = [comparison.header, ["---"] * len(comparison.header)]
    lines += [[_escape_stars(cell.text) for cell in row] for row in comparison.rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    commands = "\n".join(f"- {name}: `{words}` ({by})" for name, words, by in comparison.commands)
    return "\n\n".join([table, *map(_escape_stars, comparison.notes), commands])


def to_latex(comparison: Comparison) -> str:
    """Returns a `tabular` with the rules of booktabs; notes and commands are comments."""
    columns = "l" * min(2, len(comparison.header)) + "r" * (len(comparison.header) - 2)
    rows = [[_escape_latex(cell.text) for cell in row] for row in comparison.rows]
    body = [" & ".join(row) + r" \\" for row in rows]
    head = " & ".join(map(_escape_latex, comparison.header)) + r" \\"
    comments = [f"% {note}" for note in comparison.notes]
    comments += [f"% {name}: {words} ({by})" for name, words, by in comparison.commands]
    return "\n".join(
        [
            *comments,
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def to_csv(comparison: Comparison) -> str:
    """Returns the table for programs: numbers in full, a mean and its deviation in two columns."""
    rows = [
        [
            cell.numbers or {name: cell.text}
            for name, cell in zip(comparison.header, row, strict=True)
        ]
        for row in comparison.rows
    ]
    # A column of the table may be several here, and not all rows have all of them.
    columns = dict.fromkeys(
        name for cells in zip(*rows, strict=True) for numbers in cells for name in numbers
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: n for numbers in row for name, n in numbers.items()} for row in rows)
    return text.getvalue().rstrip("\n")


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}


def _escape_stars(text: str) -> str:
    return text.replace("*", r"\*")


def _escape_latex(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda match: _LATEX[match.group()], text)
