"""HTML and SVG from small parts, in which text is escaped unless it is markup already."""

import html
import re
from collections.abc import Iterable
from typing import Any

# What HTML has no place for: control characters, but for tabs and line breaks.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_REPLACEMENT = "\ufffd"
_VOID = ("br", "link", "meta", "wbr")


class Markup(str):
    """Text that is markup, and is not escaped again."""

    __slots__ = ()

    def __add__(self, other: str) -> "Markup":
        """Adds markup, or text, which is escaped."""
        return Markup(str.__add__(self, escape(other)))


def escape(text: Any) -> Markup:
    """Makes text safe, in an element and in an attribute.

    Args:
      text: Text of whatever origin, or a value that `str` writes.

    Returns:
      Markup that shows that text; what HTML or UTF-8 has no place for is replaced.
    """
    if isinstance(text, Markup):
        return text
    plain = str(text).encode("utf-8", "replace").decode()
    return Markup(html.escape(_CONTROL.sub(_REPLACEMENT, plain), quote=True))


def join(parts: Iterable[Any]) -> Markup:
    """Puts parts behind each other; what is no markup is escaped."""
    return Markup("".join(map(escape, parts)))


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """Writes an element.

    Args:
      tag: Name of the element.
      *children: Contents of the element; what is no markup is escaped.
      **attributes: Values by name, where `class_` is `class` and `_` is `-`; None leaves one out.

    Returns:
      The element.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def name(text: Any) -> Markup:
    """Writes the name of something of the reader's own: its direction turns nothing around it."""
    return element("bdi", text)


def breakable(text: str) -> Markup:
    """Writes a name that may go on in the next line after each slash."""
    return Markup(f"/{element('wbr')}".join(map(escape, text.split("/"))))


def command(text: str) -> Markup:
    """Writes a command line that goes on in the next line between words alone."""
    words = [element("span", word, class_="word") for word in text.split(" ")]
    return element("pre", element("code", Markup(" ".join(words))))


def table(
    header: Iterable[Any], rows: Iterable[Iterable[Any]], caption: Any, num_leading: int = 1
) -> Markup:
    """Writes a table in a box of its own, in which it scrolls where it is wider than the page.

    Args:
      header: The columns' titles.
      rows: Cells of each row; one that is a `td` or a `th` already is kept.
      caption: The table's title.
      num_leading: Number of columns of text, at the left; the others hold numbers.

    Returns:
      The box.
    """
    titles = [
        element("th", title, scope="col", class_=None if index < num_leading else "number")
        for index, title in enumerate(header)
    ]
    body = [element("tr", *_cells(row, num_leading)) for row in rows]
    label = _to_text(caption)
    whole = element(
        "table", element("thead", element("tr", *titles)), element("tbody", *body), aria_label=label
    )
    # Whoever has no mouse scrolls it by the keyboard. The caption stays where it is.
    box = element("div", whole, class_="box", tabindex="0", role="region", aria_label=label)
    return element("figure", element("figcaption", caption), box, class_="table")


def _cells(row: Iterable[Any], num_leading: int) -> Iterable[Markup]:
    for index, cell in enumerate(row):
        if isinstance(cell, Markup) and cell.startswith(("<td", "<th")):
            yield cell
        elif index == 0:
            yield element("th", cell, scope="row")
        else:
            yield element("td", cell, class_=None if index < num_leading else "number")


def _to_text(caption: Any) -> str:
    return (
        html.unescape(re.sub(r"<[^>]*>", "", caption)) if isinstance(caption, Markup) else caption
    )
