"""Recommendations as a table: for people, as CSV, or as JSON lines."""

# Tested in tests/serving/test_explaining.py.

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import rich.box
import rich.console
import rich.table
import rich.text

from fedrec_tff.serving.explaining import Recommendation
from fedrec_tff.serving.history_files import SEPARATOR

_WIDTH = 400


def to_text(lines: Sequence[Recommendation]) -> str:
    """Renders a table for people; the history's name is a column where there are several.

    Args:
      lines: The recommendations.

    Returns:
      Several lines.
    """
    if not lines:
        return "nothing is left to recommend"
    several = len({line.history for line in lines}) > 1
    table = rich.table.Table(box=rich.box.SIMPLE)
    for title in (*(("history",) if several else ()), "", "item", "id", "score", "near to"):
        table.add_column(title, justify="right" if title in ("", "score") else "left")
    for line in lines:
        near = "; ".join(f"{one.because} ({one.similarity:.2f})" for one in line.reasons)
        cells = (
            *((line.history,) if several else ()),
            str(line.rank),
            str(line.recommended),
            str(line.recommended.item),
            f"{line.score:.3f}",
            near,
        )
        # As text: titles with brackets are no markup.
        table.add_row(*map(rich.text.Text, cells))
    console = rich.console.Console(width=_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())


def to_csv(lines: Sequence[Recommendation]) -> str:
    """Renders CSV: history, rank, item, title, score, near_to (ids by `;`) and similarity.

    Args:
      lines: The recommendations.

    Returns:
      Text with a header.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["history", "rank", "item", "title", "score", "near_to", "similarity"])
    for line in lines:
        writer.writerow(
            [
                line.history,
                line.rank,
                line.recommended.item,
                line.recommended.title or "",
                f"{line.score:.6g}",
                SEPARATOR.join(str(one.because.item) for one in line.reasons),
                SEPARATOR.join(f"{one.similarity:.4f}" for one in line.reasons),
            ]
        )
    return file.getvalue().rstrip("\n")


def to_json(lines: Sequence[Recommendation]) -> str:
    """Renders JSON lines: an object for each recommendation, with a list `near_to`.

    Args:
      lines: The recommendations.

    Returns:
      A line for each.
    """
    return "\n".join(
        json.dumps(
            {
                "history": line.history,
                "rank": line.rank,
                "item": line.recommended.item,
                "title": line.recommended.title,
                "score": round(line.score, 6),
                "near_to": [
                    {
                        "item": one.because.item,
                        "title": one.because.title,
                        "similarity": round(one.similarity, 4),
                    }
                    for one in line.reasons
                ],
            },
            ensure_ascii=False,
        )
        for line in lines
    )


FORMATS: Mapping[str, Callable[[Sequence[Recommendation]], str]] = MappingProxyType(
    {"text": to_text, "csv": to_csv, "json": to_json}
)
