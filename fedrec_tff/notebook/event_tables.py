"""What `events` may be: a table in memory, a file or folder, or the name of a data set."""

import dataclasses
import difflib
import glob
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.config import data_places
from fedrec_tff.config.data_config import COLUMN_FLAGS, DATASETS, NEED_DATA_DIR
from fedrec_tff.config.run_config import RunConfig

if TYPE_CHECKING:
    import pyarrow as pa

# The flags that name a table, each with the keywords that name its columns; a table in memory takes
# the place of the file.
_COLUMNS = {
    "data_dir": COLUMN_FLAGS,
    "item_table": (),
    "user_table": (),
}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where data come from.

    Attributes:
      keywords: All keywords of the run, without tables in memory.
      tables: Tables in memory, by the flag whose file they stand for.
    """

    keywords: dict[str, Any]
    tables: "dict[str, pa.Table]"


def read_source(events: Any, keywords: Mapping[str, Any]) -> Source:
    """Finds out what `events` is, and takes the tables out of the keywords.

    Args:
      events: A table in memory (pandas, Arrow, or whatever hands itself over as Arrow does); the
        path of a file, a folder or a pattern of files; or a data set's name.
      keywords: Keywords as `train` got them.

    Returns:
      The source to read.

    Raises:
      UserError: If it is none of these, or a table cannot be used.
    """
    keywords = dict(keywords)
    if isinstance(events, str) and events in DATASETS:
        found = {"dataset": events}
    elif isinstance(events, str | os.PathLike):
        found = _find_path(os.fspath(events), keywords)
    else:
        found = {"dataset": "csv", "data_dir": events}
    for name in found.keys() & keywords.keys():
        # Events may be a table, which compares each of its cells.
        is_same = name != "data_dir" and isinstance(keywords[name], str)
        if not (is_same and keywords[name] == found[name]):
            raise errors.UserError(f"{name}: events tell it already: drop one of them")
    keywords |= found
    tables = {}
    for name in _COLUMNS:
        value = keywords.get(name)
        is_given = name in found or value is not None
        if is_given and not isinstance(value, str | os.PathLike):
            title = "events" if name == "data_dir" else name
            tables[name] = _take_table(value, name, title, keywords)
            del keywords[name]
    return Source(keywords, tables)


def _find_path(path: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a file or folder."""
    place = pathlib.Path(path)
    if "dataset" in keywords:
        return {"data_dir": path}
    if glob.has_magic(path) and glob.glob(path, recursive=True):
        return {"dataset": "csv", "data_dir": path}
    if not place.exists():
        raise errors.UserError(
            f"events: there is no file, folder or data set {path!r}: {_suggest(place)}"
        )
    if not place.is_dir():
        return {"dataset": "csv", "data_dir": path}
    flags = data_places.find_flags(place)
    if flags is None:
        raise errors.UserError(
            f"events: the folder {path} holds none of {', '.join(data_places.FILES)}, nor parts of "
            "a table alone: name the file in it"
        )
    return {**flags, "data_dir": path}


def _suggest(place: pathlib.Path) -> str:
    """What may have been meant: a data set, or something beside a file that is not there."""
    named = [name for name in DATASETS if name not in NEED_DATA_DIR]
    beside = place.parent.iterdir() if place.parent.is_dir() else ()
    known = [*named, *(str(path) for path in beside)]
    close = difflib.get_close_matches(str(place), known, 1)
    return f"did you mean {close[0]}?" if close else f"data sets are {', '.join(named)}"


def _take_table(table: Any, flag: str, title: str, keywords: Mapping[str, Any]) -> "pa.Table":
    """A table in memory as Arrow's: of events the columns that are needed, of the others all."""
    # Imported here, as is all that is not needed to tell a wrong keyword.
    import pandas as pd
    import pyarrow as pa

    wanted = [keywords.get(name, getattr(RunConfig, name)) for name in _COLUMNS[flag]]
    wanted = list(dict.fromkeys(str(name) for name in wanted if name is not None))
    features = _find_features(keywords) if flag == "data_dir" else ()
    try:
        if isinstance(table, pd.DataFrame):
            # Files name their columns in text.
            frame = table.set_axis([str(name) for name in table.columns], axis="columns")
            _check_names(list(frame.columns), wanted, title, frame.index.names)
            # Only what is needed: other columns may hold what Arrow has no type for.
            told = [name for name in features if name in frame and name not in wanted]
            frame = frame[[*wanted, *told] or list(frame.columns)]
            arrow = pa.Table.from_pandas(frame, preserve_index=False)
        elif hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
            arrow = pa.table(table)
        else:
            raise errors.UserError(
                f"{title}: a pandas or Arrow table or a path is needed, not {type(table).__name__}"
            )
    except (pa.ArrowException, TypeError) as error:
        # Arrow tells a column with values of several types, and more, in parts.
        text = " ".join("; ".join(map(str, error.args)).split())
        raise errors.UserError(f"{title}: {text}: give each column one type") from error
    _check_names(arrow.column_names, wanted, title)
    if not arrow.num_rows:
        raise errors.UserError(f"{title} has no rows")
    # What is not data (pandas' index, its types) is nobody's business.
    told = [name for name in features if name in arrow.column_names and name not in wanted]
    return arrow.select([*wanted, *told] or arrow.column_names).replace_schema_metadata(None)


def _find_features(keywords: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of events that may tell of users and items, where no table does."""
    from fedrec_tff.datasets import feature_values

    asked = []
    for table in _COLUMNS:
        columns = keywords.get(f"{table.removesuffix('_table')}_features")
        columns = columns.split(",") if isinstance(columns, str) else columns
        # What is no list is told where keywords are read.
        if keywords.get(table) is None and isinstance(columns, list | tuple):
            asked += [column for column in columns if isinstance(column, str)]
    return feature_values.find_columns([*asked, "title"])


def _check_names(
    names: list[str], wanted: list[str], title: str, index_names: Collection[Any] = ()
) -> None:
    listed = ", ".join(names) or "none"
    for name in wanted or names:
        if name in index_names:
            raise errors.UserError(
                f"{title}: {name!r} is an index: reset_index() makes it a column"
            )
        if name not in names:
            raise errors.UserError(f"{title}: there is no column {name!r}; there are: {listed}")
        if names.count(name) > 1:
            raise errors.UserError(f"{title} has two columns {name!r}: rename one of: {listed}")
