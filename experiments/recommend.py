"""Recommends from a finished run, or from an export of one, and says what each item is near to.

  python -m experiments.recommend runs/ml-1m --history='Toy Story (1995);Aladdin (1992)' --k=5
  python -m experiments.recommend exports/ml-1m --histories=people.csv --output=lists.csv

Items are named by id or title, oldest first. A file of histories has a row for each: a column
`history`, a list or a text with semicolons, and if wanted a column `name`. "near to" are the items
of the history that the model takes for most alike, by the cosine of their vectors.
"""

import pathlib

from absl import flags

from experiments import app
from experiments.command_line import opened_folders
from fedrec_tff import errors
from fedrec_tff.run import notices
from fedrec_tff.serving import history_files, opening

_FORMATS = ("text", "csv", "json")
_ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".txt": "text"}
_SEARCHES = ("exact", "index")
_HISTORY = flags.DEFINE_string(
    "history", None, "Ids or titles of items that somebody took, oldest first, by semicolons."
)
_HISTORIES = flags.DEFINE_string(
    "histories", None, "CSV, TSV, Parquet or JSON lines file with a row for each history."
)
_K = flags.DEFINE_integer("k", 10, "Number of items for each history.", lower_bound=1)
_NUM_REASONS = flags.DEFINE_integer(
    "num_reasons", 2, "Number of items of the history that each item is near to.", lower_bound=0
)
_SKIP_UNKNOWN = flags.DEFINE_bool(
    "skip_unknown",
    False,
    "Leave out of a history what the model does not know, as the exported model does.",
)
_SEARCH = flags.DEFINE_enum(
    "search",
    "exact",
    _SEARCHES,
    "Way to search the catalogue: all items, or the index of an export, which may miss some.",
)
_OUTPUT = flags.DEFINE_string("output", None, "File for the table; by default standard output.")
_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    _FORMATS,
    "Form of the table: text for people, csv, or json, an object on each line. By default what the "
    "ending of --output says, and text.",
)
flags.adopt_module_key_flags(opened_folders)


def main(argv: list[str]) -> None:
    """Recommends, and prints or writes the table."""
    if len(argv) != 2:
        raise errors.UserError("name one finished run or one export, as: runs/mine")
    histories = _read_histories()
    chosen, searches_index = _choose_format(), _SEARCH.value == "index"
    opening.check_can_be_opened(argv[1], searches_index, opened_folders.MODEL.value)

    with notices.starting_tensorflow():
        model = opening.open_recommender(argv[1], searches_index, opened_folders.MODEL.value)

    from fedrec_tff.serving import explaining, recommendation_table

    lines = explaining.recommend(
        model, histories, _K.value, _NUM_REASONS.value, _SKIP_UNKNOWN.value
    )
    _write(recommendation_table.FORMATS[chosen](lines))


def _read_histories() -> list[history_files.NamedHistory]:
    if (_HISTORY.value is None) == (_HISTORIES.value is None):
        raise errors.UserError("give one of --history='...;...' and --histories=FILE")
    if _HISTORIES.value is not None:
        return history_files.read(_HISTORIES.value)
    return [history_files.NamedHistory("1", history_files.split(_HISTORY.value))]


def _choose_format() -> str:
    if _FORMAT.value is not None:
        return _FORMAT.value
    ending = pathlib.Path(_OUTPUT.value or ".txt").suffix
    if _OUTPUT.value is not None and ending not in _ENDINGS:
        raise errors.UserError(
            f"--output={_OUTPUT.value}: the ending says no form: end it with one of "
            f"{', '.join(_ENDINGS)}, or add --format"
        )
    return _ENDINGS.get(ending, "text")


def _write(text: str) -> None:
    if _OUTPUT.value is None:
        print(text)
        return
    path = pathlib.Path(_OUTPUT.value)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise errors.UserError(f"--output={path}: {error.strerror}") from error


if __name__ == "__main__":
    app.run(main)
