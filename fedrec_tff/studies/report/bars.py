"""Bars as SVG: amounts in groups, each bar with its name before it and its value behind it."""

# Tested in tests/studies/report/test_report_charts.py.

import dataclasses
from collections.abc import Iterable, Sequence

from fedrec_tff.studies.report import svg
from fedrec_tff.studies.report.markup import Markup, element

_HEAD, _BAR, _STEP, _GAP = 18, 12, 18, 8
_LEFT, _MARGIN = 48, 8


@dataclasses.dataclass(frozen=True)
class Bar:
    """An amount.

    Attributes:
      name: Name of the amount, the same in all groups.
      value: The amount, zero or more; None where it is not known.
      text: What is written behind the bar.
    """

    name: str
    value: float | None
    text: str


@dataclasses.dataclass(frozen=True)
class BarGroup:
    """Amounts of one thing.

    Attributes:
      name: Name of the thing.
      style: Number of its colour.
      bars: Its amounts; the first is filled, the others are hollow.
    """

    name: str
    style: int
    bars: Sequence[Bar]


def figure(title: str, groups: Sequence[BarGroup], caption: str, identifier: str) -> Markup:
    """Draws bars for wide pages and for phones.

    Args:
      title: Title of the picture, with the unit.
      groups: At least one group.
      caption: Text below the picture.
      identifier: Identifier of the figure, unique in its page.

    Returns:
      The figure, with its caption.
    """
    description = " ".join(
        f"{group.name}: {', '.join(f'{bar.name} {bar.text}' for bar in group.bars)}."
        for group in groups
    )

    def draw(name: str, width: int) -> Markup:
        parts = list(_draw(groups, width))
        return svg.picture(parts, title, description, name, (width, _measure(groups)))

    return svg.figure(draw, caption, identifier)


def _measure(groups: Iterable[BarGroup]) -> int:
    return sum(_HEAD + _STEP * len(group.bars) + _GAP for group in groups)


def _draw(groups: Sequence[BarGroup], width: int) -> Iterable[Markup]:
    bars = [bar for group in groups for bar in group.bars]
    largest = max((bar.value or 0.0 for bar in bars), default=0.0) or 1.0
    # Room for what is written behind the longest bar.
    room = _MARGIN + svg.CHARACTER * max(len(bar.text) for bar in bars)
    full, y = width - _LEFT - room, 0
    for group in groups:
        most = int(width / svg.CHARACTER)
        parts = [svg.text(0, y + 13, svg.shorten(group.name, most), "name", "start")]
        y += _HEAD
        for number, bar in enumerate(group.bars):
            length = full * (bar.value or 0.0) / largest
            parts.append(svg.text(_LEFT - 8, y + 12, bar.name, "tick", "end"))
            parts.append(
                element(
                    "rect",
                    class_="bar hollow" if number else "bar",
                    **dict(zip(("x", "y"), map(svg.write_number, (_LEFT, y + 2)), strict=True)),
                    width=svg.write_number(length),
                    height=_BAR,
                )
            )
            parts.append(svg.text(_LEFT + length + 6, y + 12, bar.text, "value", "start"))
            y += _STEP
        y += _GAP
        yield element("g", *parts, class_=svg.name_class(group.style))
