"""Guesses the flags by which a file or a folder is read: its kind, and what its columns hold.

A guess goes by names that are common and, without any, by what the first rows hold. It is for the
owner of the data to look at: no run guesses.
"""

import itertools
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import data_places
from fedrec_tff.config.data_config import DATASETS, NEED_DATA_DIR
from fedrec_tff.datasets import compression, delimited, parts, sequence_files, tables, times

_NUM_LINES = 1000
# By the flag that names the column; names as they are once only letters and digits are left.
_NAMES = {
    "user_column": (
        *("userid", "user", "uid", "reviewerid", "customerid", "visitorid", "memberid", "username"),
        *("accountid", "clientid", "personid", "sessionid", "session"),
    ),
    "item_column": (
        *("itemid", "item", "iid", "movieid", "parentasin", "asin", "productid", "businessid"),
        *("trackid", "songid", "artistid", "bookid", "isbn", "gameid", "appid", "newsid"),
        *("articleid", "videoid", "locationid", "venueid", "movie", "product", "artist", "track"),
    ),
    "time_column": (
        *("timestamp", "time", "unixreviewtime", "datetime", "date", "eventtime", "createdat"),
        *("ts", "reviewtime"),
    ),
    "value_column": (
        "rating",
        "stars",
        "overall",
        "score",
        "value",
        "weight",
        "playcount",
        "plays",
    ),
}
# What a column without a name is called, if it is guessed.
_CALLED = {
    "user_column": "user_id",
    "item_column": "item_id",
    "time_column": "timestamp",
    "value_column": "rating",
}
_NO_LETTER = re.compile(r"[^a-z0-9]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")
_LARGEST_RATING, _MOST_RATINGS = 100.0, 20
_FIRST_SECOND = 10**8  # in 1973: smaller whole numbers are ids or ranks
_DELIMITERS = ("::", "\t", ",", ";", "|", " ")


def guess_flags(place: str, given: dict[str, Any]) -> dict[str, Any]:
    """Guesses the flags that read a place.

    Args:
      place: A file, a folder, a pattern of files or the name of a data set.
      given: Flags that are known, which are not guessed.

    Returns:
      These and the guessed ones, `dataset` and `data_dir` among them.

    Raises:
      UserError: If nothing is there, or nothing that can be a table.
    """
    if place in DATASETS and place not in NEED_DATA_DIR:
        return {"dataset": place} | given
    path = pathlib.Path(place)
    flags = {"dataset": "csv"}
    if path.is_dir():
        found = data_places.find_flags(path)
        if found is None:
            raise errors.UserError(
                f"the folder {place} holds none of {', '.join(data_places.FILES)}, nor parts of a "
                "table alone: name the file in it"
            )
        flags = found
    first = parts.find(path if path.is_dir() else place)[0]
    if flags["dataset"] == "csv" and "dataset" not in given:
        flags = {"dataset": "sequences" if _is_sequences(first, given) else "csv"}
    flags |= {"data_dir": place} | given
    return flags | _guess_columns(first, flags) if flags["dataset"] == "csv" else flags


def _is_sequences(path: pathlib.Path, given: dict[str, Any]) -> bool:
    """Whether text is lines of ids, either of different lengths or pairs, without a header."""
    if path.name == sequence_files.FILE_NAME:
        return True
    if compression.find_suffix(path) not in (".txt", "", ".dat") or "column_names" in given:
        return False
    rows = [line.split() for line in _read_lines(path, given)]
    are_ids = all(re.fullmatch(r"\w+", field) for row in rows for field in row)
    lengths = {len(row) for row in rows}
    is_header = any(_find_role(field) for field in rows[0])
    return are_ids and not is_header and min(lengths) > 1 and (len(lengths) > 1 or lengths == {2})


def _guess_columns(path: pathlib.Path, flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that name columns, for those that are not given."""
    names = flags.get("column_names")
    layout = tables.TableLayout(
        tuple(names.split(",")) if names else (),
        flags.get("delimiter"),
        flags.get("encoding", "utf-8"),
        quoting=flags.get("quoting", True),
    )
    columns = tables.read_names(path, layout)
    if not names and not any(map(_find_role, columns)) and _has_values(columns):
        return _guess_unnamed(path, flags)
    guessed: dict[str, Any] = {}
    for flag, known in _NAMES.items():
        fitting = [name for word in known for name in columns if _letters(name) == word]
        if fitting and flag not in flags:
            guessed[flag] = fitting[0]
    for flag in ("user_column", "item_column"):
        if flag not in guessed and flag not in flags:
            raise errors.UserError(
                f"{path}: which column is --{flag}? Name it; there are: {', '.join(columns)}"
            )
    return guessed


def _guess_unnamed(path: pathlib.Path, flags: dict[str, Any]) -> dict[str, Any]:
    """Names for the columns of text without a header, by what they hold."""
    delimiter = flags.get("delimiter")
    lines = _read_lines(path, flags)
    if delimiter is None:
        is_told = tables.find_text_format(path).delimiter
        delimiter = (
            is_told
            if is_told in lines[0]
            else next((mark for mark in _DELIMITERS if mark in lines[0]), ",")
        )
    width = len(lines[0].split(delimiter))
    rows = [line.split(delimiter) for line in lines]
    columns = list(zip(*(row for row in rows if len(row) == width), strict=True))
    roles: dict[int, str] = {}
    for flag, is_fitting in (("time_column", _are_times), ("value_column", _are_ratings)):
        # Users come first; numbers that look like times or ratings may be ids, before these.
        fitting = [p for p in range(1, width) if p not in roles and is_fitting(columns[p])]
        if fitting and width > 2:
            roles[fitting[-1]] = flag
    left = [p for p in range(width) if p not in roles and not _are_fractions(columns[p])]
    if len(left) < 2:
        raise errors.UserError(f"{path} has {width} columns, one of users and one of items needed")
    roles |= {left[0]: "user_column", left[1]: "item_column"}
    names = [_CALLED.get(roles.get(place, ""), f"column_{place + 1}") for place in range(width)]
    named = {flag: _CALLED[flag] for flag in roles.values()}
    return {"column_names": ",".join(names)} | named


def _read_lines(path: pathlib.Path, flags: dict[str, Any]) -> list[str]:
    """The first lines of text that are not blank."""
    text = delimited.read_text(path, flags.get("encoding", "utf-8"))
    lines = (line for line in text.split("\n") if line.strip())
    return list(itertools.islice(lines, _NUM_LINES))


def _find_role(name: str) -> str | None:
    letters = _letters(name)
    return next((flag for flag, known in _NAMES.items() if letters in known), None)


def _letters(name: str) -> str:
    return _NO_LETTER.sub("", name.lower())


def _has_values(fields: Iterable[str]) -> bool:
    """Whether a first row holds a number or a date, and so no names alone."""
    return any(_NUMBER.fullmatch(field) or _are_times([field]) for field in fields)


def _are_times(column: Sequence[str]) -> bool:
    try:
        found = [times.parse(text.strip())[0] for text in column]
    except ValueError:
        return False
    return all(whole >= _FIRST_SECOND for whole in found)


def _are_ratings(column: Sequence[str]) -> bool:
    """Whether these are a few different numbers, of ordinary size."""
    are_numbers = all(_NUMBER.fullmatch(text.strip()) for text in column)
    few = 1 < len(set(column)) <= _MOST_RATINGS
    return few and are_numbers and all(_is_rating(float(text)) for text in column)


def _is_rating(number: float) -> bool:
    return 0 <= number <= _LARGEST_RATING and (2 * number).is_integer()


def _are_fractions(column: Sequence[str]) -> bool:
    return all("." in text and _NUMBER.fullmatch(text.strip()) for text in column)
