"""What pictures of a report share: two widths of each, its name in words, lines and texts."""

# Tested in tests/studies/report/test_report_charts.py.

from collections.abc import Callable, Iterable

from fedrec_tff.studies.report import style
from fedrec_tff.studies.report.markup import Markup, element

# Of a desk's page and of a phone's, in pixels.
WIDE, NARROW = 960, 328
# Width of a letter, at most.
CHARACTER = 7.6


def figure(draw_fn: Callable[[str, int], Markup], caption: str | Markup, identifier: str) -> Markup:
    """Draws a picture for wide pages and for phones; the page's style shows one of them.

    Args:
      draw_fn: Function from an identifier and a width to the picture.
      caption: Text below the picture.
      identifier: Identifier of the figure, unique in its page.

    Returns:
      The figure, with its caption.
    """
    pictures = [
        element("div", draw_fn(f"{identifier}-{name}", width), class_=name)
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    ]
    return element("figure", *pictures, element("figcaption", caption), id=identifier)


def picture(
    parts: Iterable[Markup], title: str, description: str, identifier: str, size: tuple[int, int]
) -> Markup:
    """Writes a picture that is named and described for whoever does not see it.

    Args:
      parts: What is drawn.
      title: Title of the picture.
      description: The same in words.
      identifier: Identifier, unique in the page.
      size: Width and height in pixels.

    Returns:
      The picture.
    """
    return element(
        "svg",
        element("title", title, id=f"{identifier}-title"),
        element("desc", description, id=f"{identifier}-desc"),
        *parts,
        viewBox=f"0 0 {size[0]} {size[1]}",
        role="img",
        aria_labelledby=f"{identifier}-title {identifier}-desc",
    )


def shorten(name: str, most: int) -> str:
    """Cuts a name to so many letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def name_class(number: int) -> str:
    """The class of a colour."""
    return f"s{number % style.NUM_SERIES}"


def line(name: str, x1: float, y1: float, x2: float, y2: float, **more: str | None) -> Markup:
    """Draws a line of a class between two places."""
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", class_=name, **{k: write_number(v) for k, v in places.items()}, **more)


def text(x: float, y: float, said: str, name: str, anchor: str) -> Markup:
    """Writes a text of a class from, around or up to a place."""
    place = {"x": write_number(x), "y": write_number(y)}
    return element("text", said, **place, class_=name, text_anchor=anchor)


def write_number(value: float) -> str:
    """Writes a place with a decimal where it has one."""
    return f"{value:.1f}".removesuffix(".0")
