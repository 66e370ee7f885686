"""Trains a run from Python: the same run that `python -m experiments.train` makes of flags."""

# Tested in tests/notebook/test_front_door.py.

import os
import pathlib
from typing import Any

from fedrec_tff import errors, quiet
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.notebook import event_tables, keywords, trained_run
from fedrec_tff.run.finished import placed_tables
from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.preset.asked import Asked


def train(
    events: Any, *, output_dir: str | os.PathLike[str], **flags: Any
) -> trained_run.TrainedRun:
    """Trains a recommender, privately if asked, and measures it.

        run = fedrec_tff.train(events, user_column="user", item_column="item", time_column="time",
                               target_epsilon=8, output_dir="runs/mine")

    The same call on the same folder resumes a run that was interrupted, and returns one that is
    finished at once. Ctrl-C, or a notebook's button, finishes the round and saves. It works inside
    of a running event loop, which waits meanwhile, and in any thread.

    Args:
      events: Events (who took what, when), one row each: a pandas or Arrow table, of which the
        named columns are kept as `ids/events.parquet` in the folder, for its owner alone; the path
        of a CSV, TSV or Parquet file, or of a data set's folder; or the name of a data set:
        synthetic, ml-100k, ml-1m.
      output_dir: The run's folder; made if missing.
      **flags: The flags of `python -m experiments.train --help`, under their names. Those that are
        left out are chosen by what may be known of the data (`preset="auto"`). `item_table`
        and `user_table` may be tables in memory, too; parameters may be a mapping, as in
        `aggregator_param={"bits": 4}`.

    Returns:
      The finished run.

    Raises:
      UserError: If a keyword, the data or the folder cannot be used: one line, which names the way
        out. A run that has not begun its first round leaves nothing in the folder.
      KeyboardInterrupt: After an interrupted run has saved.
    """
    with quiet.quietly(), keywords.keywords_for_flags():
        is_path = isinstance(output_dir, str | os.PathLike) and os.fspath(output_dir)
        if not is_path or "\0" in str(output_dir):
            raise errors.UserError(f"output_dir={output_dir!r}: must be the path of a folder")
        root = pathlib.Path(output_dir)
        source = event_tables.read_source(events, flags)
        asked = keywords.read_asked(source.keywords | _name_files(source, root))
        _run(asked, root, source)
        return trained_run.load(root, asked.config.model)


def _name_files(source: event_tables.Source, root: pathlib.Path) -> dict[str, str]:
    """Where the tables in memory are going to be, wherever the same call comes from."""
    return {name: os.path.abspath(placed_tables.find_path(root, name)) for name in source.tables}


def _run(asked: Asked, root: pathlib.Path, source: event_tables.Source) -> None:
    # Takes a moment: pandas and SciPy.
    from fedrec_tff.run import session

    placed = placed_tables.PlacedTables(source.tables)
    try:
        outcome = session.run(asked.config, root, placed.place, asked.open_flags)
    except BaseException as error:
        _let_go(placed, asked.config, root)
        told = errors.from_os_error(error) if isinstance(error, OSError) else error
        if not isinstance(told, errors.UserError):
            raise
        raise type(told)(_name_tables(str(told), source, root)) from None
    if outcome.results is None:
        _let_go(placed, asked.config, root)
        raise KeyboardInterrupt(
            f"stopped after round {outcome.rounds}; the same call on {root} goes on"
        )


def _let_go(placed: placed_tables.PlacedTables, config: RunConfig, root: pathlib.Path) -> None:
    # What a run has reserved of a budget over runs is found again by its folder alone.
    has_begun = run_directory.RunDirectory(root).config.exists()
    if config.population_ledger is None or not has_begun:
        placed.let_go()


def _name_tables(message: str, source: event_tables.Source, root: pathlib.Path) -> str:
    """Calls the tables in memory by their keywords, where a message names their files."""
    for name, path in _name_files(source, root).items():
        message = message.replace(path, "events" if name == "data_dir" else name)
    return message
