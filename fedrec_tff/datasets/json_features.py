"""Tables of what is known of items or users, as JSON has them.

A file is one object by raw id, as S3-Rec's `item_attributes.json` (`{"4": [1, 2], ...}`) or
`{"4": {"title": "...", "tags": [...]}, ...}`; one array of objects; or an object a line.
"""

# Tested in tests/datasets/test_feature_values.py.

from __future__ import annotations

import decimal
import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import cells, delimited

# What is known of an id that has a value or a list of them, and no names beside.
ATTRIBUTES = "attributes"
_SEPARATOR = "|"
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


def read(path: pathlib.Path, id_column: str, encoding: str = "utf-8") -> pd.DataFrame:
    """Reads a table.

    Args:
      path: The file.
      id_column: The key of raw ids, where they are not the keys themselves.
      encoding: The encoding of the file.

    Returns:
      Columns of text in the order in which the file names them first; `id_column` holds the ids.
      The values of a list are separated by `|`, each once. What holds objects is left out.

    Raises:
      UserError: If the file cannot be read, or a row has no id.
    """
    text = delimited.read_text(path, encoding)
    rows = _find_rows(path, text, id_column)
    names = dict.fromkeys(name for _, row in rows for name in row)
    if id_column not in names:
        raise errors.UserError(
            f"{path} has no key {id_column!r}; its keys are: {', '.join(names) or 'none'}"
        )
    for where, row in rows:
        row[id_column] = cells.unify_id(row.get(id_column, "").strip())
        if not row[id_column]:
            raise errors.UserError(f"{where}: {id_column} is missing")
    columns = {name: [row.get(name, "") for _, row in rows] for name in names}
    return pd.DataFrame(columns, dtype=object)


def to_text(value: Any) -> str:
    """A value as text: numbers as they are written, missing ones as empty text.

    Raises:
      ValueError: If the value has parts with names.
    """
    if isinstance(value, list):
        return _SEPARATOR.join(dict.fromkeys(to_text(part) for part in value))
    if isinstance(value, dict):
        raise ValueError("is an object, a value or a list of values is needed")
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    if _HALF_A_CHARACTER.search(text):
        raise ValueError("has half a character of two")
    return text


def parse(text: str) -> Any:
    """Parses JSON, with all digits of numbers.

    Raises:
      ValueError: If the text is no JSON, with what is wrong.
    """
    try:
        return json.loads(text, parse_float=decimal.Decimal, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _find_rows(path: pathlib.Path, text: str, id_column: str) -> list[tuple[str, dict[str, str]]]:
    """Each row's place in the file and its values."""
    try:
        document = parse(text)
    except ValueError:
        # No document: lines, of which the first that is none is told.
        lines = enumerate(text.split("\n"), start=1)
        return _to_rows((f"{path}:{number}", line) for number, line in lines if line.strip())
    if isinstance(document, dict) and id_column not in document:
        return [_to_row_of_id(path, *pair, id_column) for pair in document.items()]
    listed = document if isinstance(document, list) else [document]
    return _to_rows((f"{path}: row {number}", row) for number, row in enumerate(listed, start=1))


def _to_row_of_id(
    path: pathlib.Path, raw_id: str, value: Any, id_column: str
) -> tuple[str, dict[str, str]]:
    where = f"{path}: {raw_id!r}"
    values = value if isinstance(value, dict) else {ATTRIBUTES: value}
    return where, _to_texts(where, values) | {id_column: raw_id}


def _to_rows(found: Iterable[tuple[str, Any]]) -> list[tuple[str, dict[str, str]]]:
    rows = []
    for where, row in found:
        if isinstance(row, str):
            try:
                row = parse(row)
            except ValueError as error:
                raise errors.UserError(f"{where}: no JSON object: {error}") from error
        if not isinstance(row, dict):
            raise errors.UserError(f"{where}: an object is needed, with keys and values")
        rows.append((where, _to_texts(where, row)))
    return rows


def _to_texts(where: str, row: dict[str, Any]) -> dict[str, str]:
    texts = {}
    for name, value in row.items():
        if _holds_objects(value):
            continue
        try:
            texts[name] = to_text(value)
        except ValueError as error:
            raise errors.UserError(f"{where}: {name} {error}") from error
    return texts


def _holds_objects(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_objects, value)))
