"""What `guided.py` fuzzes: what reads a file of bytes, and a sound file of each kind."""

import io
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fedrec_tff.datasets import feature_tables, tables
from fedrec_tff.run.folder import model_file
from fedrec_tff.serving import history_files
from tests.fuzzing import ledgers

_COLUMNS = tables.TableColumns("u", "i", "t", "v")
_EVENTS = "u,i,t,v\n" + "".join(f"u{n % 4},i{n % 5},{n},{n / 2}\n" for n in range(12))


class Target(NamedTuple):
    """A reader.

    Attributes:
      file_name: Name of the file that it reads.
      read: The reader, which refuses by a `UserError`.
      sound: Content that it takes.
    """

    file_name: str
    read: Callable[[pathlib.Path], Any]
    sound: bytes


def _read_events(path: pathlib.Path) -> Any:
    return tables.read(path, _COLUMNS, tables.TableLayout(), 0.0)


def _read_some_events(path: pathlib.Path) -> Any:
    return tables.read(path, _COLUMNS, tables.TableLayout(), 0.5)


def _read_items(path: pathlib.Path) -> Any:
    return feature_tables.read(path, "item_id")


def _read_forged(read: Callable[[pathlib.Path], Any]) -> Callable[[pathlib.Path], Any]:
    """A reader of a ledger whose digests are put right before, so that what they cover is seen."""

    def put_right_and_read(path: pathlib.Path) -> Any:
        try:
            path.write_bytes(ledgers.seal(map(json.loads, path.read_bytes().splitlines())))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None  # no lines of a ledger
        return read(path)

    return put_right_and_read


def _create_model() -> bytes:
    stream = io.BytesIO()
    arrays = {"items/embedding": np.ones([2, 1], np.float32), "items/bias": np.ones(2, np.float32)}
    np.savez(stream, **arrays)
    return stream.getvalue()


_LEDGER = ledgers.seal(ledgers.create_ledger())
_POPULATION = ledgers.seal(ledgers.create_population())
TARGETS = {
    "events": Target("events.csv", _read_events, _EVENTS.encode()),
    "some_events": Target("events.csv", _read_some_events, _EVENTS.encode()),
    "items": Target("items.csv", _read_items, b'item_id,title,genre\n1,"a ""b""",c|d\n2,,\n'),
    "json_items": Target("items.jsonl", _read_items, b'{"item_id": 1, "genre": ["a", "b"]}\n'),
    "histories": Target("a.csv", history_files.read, b'name,history\nann,"i1; 7"\nbo,\n'),
    "json_histories": Target("a.jsonl", history_files.read, b'{"history": ["i1", 7]}\n'),
    "model": Target("model.npz", model_file.read_arrays, _create_model()),
    "ledger": Target("privacy_ledger.jsonl", ledgers.read_ledger, _LEDGER),
    "forged_ledger": Target("privacy_ledger.jsonl", _read_forged(ledgers.read_ledger), _LEDGER),
    "population": Target("population.jsonl", ledgers.read_population, _POPULATION),
    "forged_population": Target(
        "population.jsonl", _read_forged(ledgers.read_population), _POPULATION
    ),
}
