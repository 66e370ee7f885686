"""Charts as SVG: lines and points with bands, named where they end, in two widths.

Nobody needs colours to tell lines apart: each has a dash and a marker of its own, and its name
beside it, or below the chart where there is no room. What a chart shows is said in its description.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from fedrec_tff.studies.report import scales, svg
from fedrec_tff.studies.report.markup import Markup, element

_HEIGHT = 300
_TOP, _LEFT, _BOTTOM = 30, 54, 46
_MARGIN = 14
_LINE = 16
_MOST_CHARACTERS = 28
_MOST_MARKERS = 9
_DASHES = (None, "7 4", "2 3", "9 3 2 3", "14 4", "4 2", "1 5", "10 3 2 3 2 3")
_LEVEL_DASHES = ("3 5", "16 3 2 3", "1 3")
# Around (0, 0).
_MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
    "M-3.5,-3.5H3.5V3.5H-3.5Z",
    "M0,-4.5L4.5,3.5H-4.5Z",
    "M0,-5L5,0L0,5L-5,0Z",
    "M0,4.5L4.5,-3.5H-4.5Z",
    "M-5,0H5M0,-5V5",
    "M-4,-4L4,4M-4,4L4,-4",
    "M-5,-1.5H5V1.5H-5Z",
)


@dataclasses.dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
      name: Name of the series.
      style: Number of the colour, the dash and the marker; the same in all charts of a page. None
        for one of many, that are not named.
      x: Places of the points, ascending.
      y: Values of the points.
      low: Lower ends of the spread around the values; None for no spread.
      high: Upper ends of the spread; None for no spread.
      is_joined: Whether a line joins the points; if not, each spread is a bar, and not a band.
      is_hollow: Whether markers are hollow: the place of a point is a number that is nobody's.
    """

    name: str
    style: int | None
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    is_joined: bool = True
    is_hollow: bool = False


@dataclasses.dataclass(frozen=True)
class Level:
    """A value that others are held against: a line from side to side.

    Attributes:
      name: Name of the level.
      style: Number of the colour.
      y: The value.
      dash: Number of the dash.
    """

    name: str
    style: int
    y: float
    dash: int = 0


@dataclasses.dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Attributes:
      title: Title of the chart.
      description: The same in words, for whoever does not see it.
      x_title: Title of the axis below, with its unit.
      y_title: Title of the axis at the side, with its unit.
      series: Series in the order of their names.
      levels: Levels.
      caption: Text below the chart: what points, lines and bands are.
    """

    title: str
    description: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    levels: Sequence[Level] = ()
    caption: str | Markup = ""


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Where values are in a picture."""

    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    width: float
    right: float

    @property
    def bottom(self) -> float:
        return _HEIGHT - _BOTTOM

    def x(self, value: float) -> float:
        share = (value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])
        return _LEFT + share * (self.width - self.right - _LEFT)

    def y(self, value: float) -> float:
        share = (value - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])
        return self.bottom - share * (self.bottom - _TOP)


def figure(chart: Chart, identifier: str) -> Markup:
    """Draws a chart for wide pages and for phones; the page's style shows one of them.

    Args:
      chart: Chart with at least one point.
      identifier: Identifier of the figure, unique in its page.

    Returns:
      The figure, with its caption.
    """
    return svg.figure(lambda *place: _draw(chart, *place), chart.caption or chart.title, identifier)


def describe(series: Iterable[Series], unit: str) -> str:
    """Says what series show.

    Args:
      series: Series with at least one point each.
      unit: Name of the places, as in `round`.

    Returns:
      A sentence for each.
    """
    return " ".join(_describe(one, unit) for one in series)


def _describe(series: Series, unit: str) -> str:
    first, last = (f"{series.y[i]:.4f} at {unit} {series.x[i]:.6g}" for i in (0, -1))
    if len(series.x) == 1:
        return f"{series.name}: {first}."
    best = max(range(len(series.y)), key=lambda index: series.y[index])
    highest = f"{series.y[best]:.4f} at {unit} {series.x[best]:.6g}"
    return f"{series.name}: from {first} to {last}, highest {highest}."


def _draw(chart: Chart, identifier: str, width: int) -> Markup:
    is_wide = width == svg.WIDE
    named = [series for series in chart.series if series.style is not None]
    # Room for the names of what ends at the right.
    at_end = [*(series for series in named if series.is_joined), *chart.levels] if is_wide else []
    longest = max((len(svg.shorten(one.name, _MOST_CHARACTERS)) for one in at_end), default=0)
    right = _MARGIN + longest * svg.CHARACTER
    frame = _create_frame(chart, width, right)
    parts = [
        *_draw_axes(chart, frame),
        *(_draw_level(level, frame) for level in chart.levels),
        *(_draw_series(series, frame) for series in chart.series),
    ]
    height = _HEIGHT
    if is_wide:
        parts += _draw_names([*chart.levels, *named], frame)
    else:
        parts += _draw_key([*named, *chart.levels], width)
        height += (len(named) + len(chart.levels)) * (_LINE + 4)
    return svg.picture(parts, chart.title, chart.description, identifier, (width, height))


def _create_frame(chart: Chart, width: int, right: float) -> _Frame:
    xs = [x for series in chart.series for x in series.x]
    tops = [y for series in chart.series for y in (*series.y, *(series.high or ()))]
    tops += [level.y for level in chart.levels]
    # Both axes begin at zero, where values are never below it.
    lows = [y for series in chart.series for y in (*series.y, *(series.low or ()))]
    y_ticks = scales.find_ticks(min(0.0, *lows), max(tops), 5)
    x_ticks = scales.find_ticks(0.0, max(xs), 8 if width == svg.WIDE else 5)
    return _Frame(x_ticks, y_ticks, width, right)


def _draw_axes(chart: Chart, frame: _Frame) -> Iterable[Markup]:
    left, right = _LEFT, frame.width - frame.right
    for tick, text in zip(frame.y_ticks, scales.format_ticks(frame.y_ticks), strict=True):
        y = frame.y(tick)
        yield svg.line("grid", left, y, right, y)
        yield svg.text(left - 8, y + 4, text, "tick", "end")
    for tick, text in zip(frame.x_ticks, scales.format_ticks(frame.x_ticks), strict=True):
        x = frame.x(tick)
        yield svg.line("axis", x, frame.bottom, x, frame.bottom + 4)
        yield svg.text(x, frame.bottom + 18, text, "tick", "middle")
    yield svg.line("axis", left, frame.bottom, right, frame.bottom)
    yield svg.text(2, 14, chart.y_title, "tick", "start")
    yield svg.text(right, frame.bottom + 36, chart.x_title, "tick", "end")


def _draw_series(series: Series, frame: _Frame) -> Markup:
    points = [(frame.x(x), frame.y(y)) for x, y in zip(series.x, series.y, strict=True)]
    if series.style is None:
        return element("path", d=_path(points), class_="others")
    parts = []
    if series.low is not None and series.is_joined and len(points) > 1:
        upper = [(frame.x(x), frame.y(y)) for x, y in zip(series.x, series.high, strict=True)]
        lower = [(frame.x(x), frame.y(y)) for x, y in zip(series.x, series.low, strict=True)]
        parts.append(element("path", d=f"{_path([*upper, *reversed(lower)])}Z", class_="band"))
    elif series.low is not None:
        for (x, _), low, high in zip(points, series.low, series.high, strict=True):
            parts.append(svg.line("span", x, frame.y(low), x, frame.y(high)))
    if series.is_joined and len(points) > 1:
        dash = _find_dash(series)
        parts.append(element("path", d=_path(points), class_="line", stroke_dasharray=dash))
    every = math.ceil(len(points) / _MOST_MARKERS)
    # Counted from the end, so that the last point has one.
    parts += [_draw_marker(series, *point) for point in points[::-1][::every]]
    return element("g", *parts, class_=svg.name_class(series.style))


def _draw_marker(series: Series, x: float, y: float) -> Markup:
    return element(
        "path",
        d=_MARKERS[series.style % len(_MARKERS)],
        transform=f"translate({svg.write_number(x)},{svg.write_number(y)})",
        class_="mark hollow" if series.is_hollow else "mark",
    )


def _draw_level(level: Level, frame: _Frame) -> Markup:
    y, dash = frame.y(level.y), _find_dash(level)
    line = svg.line("level", _LEFT, y, frame.width - frame.right, y, stroke_dasharray=dash)
    return element("g", line, class_=svg.name_class(level.style))


def _draw_names(named: Sequence[Series | Level], frame: _Frame) -> Iterable[Markup]:
    """Names beside the last points, each moved no further than to where it overlaps none."""
    placed: list[_Label] = []
    for one in sorted(named, key=lambda one: frame.y(_find_last(one))):
        label = _find_free(_create_label(one, frame), placed, frame)
        placed.append(label)
        text = svg.text(label.x, label.y + 4, label.text, "name halo", label.anchor)
        yield element("g", text, class_=svg.name_class(one.style))


@dataclasses.dataclass(frozen=True)
class _Label:
    """A line of text beside a point."""

    text: str
    x: float
    y: float
    anchor: str

    @property
    def left(self) -> float:
        return self.x if self.anchor == "start" else self.x - len(self.text) * svg.CHARACTER

    def overlaps(self, other: "_Label") -> bool:
        first, second = sorted((self, other), key=lambda label: label.left)
        reaches = first.left + len(first.text) * svg.CHARACTER > second.left
        return reaches and abs(self.y - other.y) < _LINE


def _create_label(one: Series | Level, frame: _Frame) -> _Label:
    """At the right of the point, or at its left where there is no room."""
    text = svg.shorten(one.name, _MOST_CHARACTERS)
    x = frame.width - frame.right if isinstance(one, Level) else frame.x(one.x[-1])
    has_room = x + 9 + len(text) * svg.CHARACTER <= frame.width
    x, anchor = (x + 9, "start") if has_room else (x - 9, "end")
    return _Label(text, x, frame.y(_find_last(one)), anchor)


def _find_free(label: _Label, placed: Sequence[_Label], frame: _Frame) -> _Label:
    """The nearest place above or below, within the frame; where there is none, its own."""
    for distance in range(int(frame.bottom - _TOP)):
        for y in (label.y + distance, label.y - distance):
            moved = dataclasses.replace(label, y=y)
            is_inside = _TOP - _LINE / 2 <= y <= frame.bottom
            if is_inside and not any(moved.overlaps(other) for other in placed):
                return moved
    return label


def _find_last(one: Series | Level) -> float:
    return one.y if isinstance(one, Level) else one.y[-1]


def _draw_key(named: Sequence[Series | Level], width: int) -> Iterable[Markup]:
    """Names below each other, each with a piece of its line."""
    for number, one in enumerate(named):
        y = _HEIGHT + number * (_LINE + 4) + 6
        parts = [] if isinstance(one, Level) or not one.is_joined else [_draw_piece(one, y)]
        parts.append(_draw_piece(one, y) if isinstance(one, Level) else _draw_marker(one, 22, y))
        most = int((width - 54) / svg.CHARACTER)
        parts.append(svg.text(50, y + 4, svg.shorten(one.name, most), "name", "start"))
        yield element("g", *parts, class_=svg.name_class(one.style))


def _draw_piece(one: Series | Level, y: float) -> Markup:
    name = "level" if isinstance(one, Level) else "line"
    return svg.line(name, 4, y, 40, y, stroke_dasharray=_find_dash(one))


def _find_dash(one: Series | Level) -> str | None:
    if isinstance(one, Level):
        return _LEVEL_DASHES[one.dash % len(_LEVEL_DASHES)]
    return _DASHES[one.style % len(_DASHES)]


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{svg.write_number(x)},{svg.write_number(y)}" for x, y in points)
