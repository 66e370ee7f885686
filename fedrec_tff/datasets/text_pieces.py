"""Text that is read in pieces, each of whole rows, for files that memory can't hold."""

from __future__ import annotations

import codecs
import csv
import io
import pathlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from fedrec_tff import errors
from fedrec_tff.datasets import compression, delimited
from fedrec_tff.datasets.delimited import TextFormat

PIECE_BYTES = 2**24
# A row of so many pieces is none: a quote was never closed, or lines end in a way of their own.
_MOST_PIECES_PER_ROW = 16


def read(
    path: pathlib.Path,
    encoding: str = "utf-8",
    quoted: TextFormat | None = None,
    piece_bytes: int = PIECE_BYTES,
    count_fn: Callable[[int], None] = lambda num_bytes: None,
) -> Iterator[str]:
    """Reads a file, unpacked on the way.

    Args:
      path: The file.
      encoding: The encoding of its text.
      quoted: The layout of a file whose rows may have several lines, within quotes; None where a
        line is a row.
      piece_bytes: How much to read at once.
      count_fn: Told how many bytes were read each time, unpacked.

    Yields:
      The text, cut behind a row's end, but for the last piece; the first one is not blank.

    Raises:
      UserError: If the file is missing, empty, of another encoding, or a row is longer than any.
    """
    delimited.check_is_file(path)
    pending, is_first = "", True
    with compression.open_stream(path) as stream:
        for text in _decode(path, stream, encoding, piece_bytes, count_fn):
            pending += text
            end = _find_end(pending, quoted)
            if is_first and not pending[:end].strip():
                end = 0  # Blank lines before the first row are no piece.
            if end:
                yield pending[:end]
                pending, is_first = pending[end:], False
            elif len(pending) > _MOST_PIECES_PER_ROW * piece_bytes:
                raise errors.UserError(
                    f"{path}: a row that begins with {pending[:40]!r} does not end: a quote is not "
                    "closed (--noquoting, if quotes are ordinary characters), or lines end in none "
                    "of the usual ways"
                )
    if pending.strip():
        yield pending
    elif is_first:
        raise errors.UserError(f"{path} is empty")


def _decode(
    path: pathlib.Path,
    stream: BinaryIO,
    encoding: str,
    piece_bytes: int,
    count_fn: Callable[[int], None],
) -> Iterator[str]:
    delimited.check_encoding(encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    lines_before, is_first, data = 0, True, b" "
    while data:
        data = stream.read(piece_bytes)
        count_fn(len(data))
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            raise delimited.refuse_bytes(path, encoding, error, lines_before) from error
        if text:
            yield text.removeprefix("\ufeff") if is_first else text
            lines_before += text.count("\n")
            is_first = False


def _find_end(text: str, quoted: TextFormat | None) -> int:
    """Where the last whole row of a text ends; 0 if there is none."""
    if quoted is None or '"' not in text:
        return text.rfind("\n") + 1
    separated, delimiter = delimited.separate(text, quoted)
    lines = io.StringIO(separated, newline="").readlines()
    rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL, strict=True)
    last = before = 0
    while True:
        try:
            next(rows)
        except StopIteration:
            break
        except csv.Error:
            if rows.line_num == len(lines):
                break  # The piece ends within quotes.
        before, last = last, rows.line_num
    if not text.endswith("\n") and last == len(lines):
        last = before
    return sum(map(len, io.StringIO(text, newline="").readlines()[:last]))
