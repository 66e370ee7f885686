"""Prepares a table that may be larger than memory, once, into a folder that runs open at once.

Three passes: rows to slots by user (`row_files`), a few slots at a time prepared and split
(`groups`), and all of them joined (`joining`). What is in memory are the ids, and the rows of a
group. Work is kept file by file and group by group, so a preparation that was cut short goes on; it
refuses to if its flags or its files are others than when it began.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import (
    dataset_config,
    feature_tables,
    loading,
    parts,
    sources,
    splits,
)
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import roster as roster_lib
from fedrec_tff.datasets.dataset_config import DatasetConfig
from fedrec_tff.datasets.preparation import DataCounts
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.datasets.prepared.folder import PreparedFacts, PreparedFolder
from fedrec_tff.run.folder import output_folder, run_directory, whole_files
from fedrec_tff.studies.disk_population import groups, joining
from fedrec_tff.studies.disk_population.clock import Clock
from fedrec_tff.studies.disk_population.groups import GroupFacts, KnownIds
from fedrec_tff.studies.disk_population.row_files import NUM_SLOTS, RowFiles

ROWS_PER_GROUP = 2**20
_JOB, _ROWS, _GROUPS, _GROUPED, _FACTS = "job.json", "rows", "groups", "grouped", "facts.json"
# What is known of these are their files' sizes and times: they may be found elsewhere.
_PLACES = tuple(
    field.name for field in dataclasses.fields(DatasetConfig) if "pathlib.Path" in field.type
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Known:
    """What is known besides interactions.

    Attributes:
      items: The table of items by raw id; None without one.
      users: The table of users, likewise.
      items_path: Its file.
      users_path: Its file.
      roster: The raw ids of listed users; None for those of the data.
    """

    items: pd.DataFrame | None
    users: pd.DataFrame | None
    items_path: str | pathlib.Path | None
    users_path: str | pathlib.Path | None
    roster: tuple[str, ...] | None


def check(config: DatasetConfig) -> None:
    """Refuses what cannot be done a few users at a time.

    Args:
      config: Which table, and what to do to it.

    Raises:
      UserError: If so.
    """
    if config.name != "csv":
        raise errors.UserError(
            f"--dataset={config.name}: a table is prepared for the disk: name one, with "
            "--dataset=csv; other sets fit into memory"
        )
    if config.split_name == "global_time":
        raise errors.UserError(
            "--split=global_time cuts where the times of all rows say, and rows are prepared a few "
            "users at a time: choose --split=leave_last_out or --split=unseen_users"
        )
    if max(config.preparation.k_core_user, config.preparation.k_core_item) > 1:
        raise errors.UserError(
            "--k_core looks at all rows again and again, and rows are prepared a few users at a "
            "time: filter the table before, or drop it"
        )
    if config.catalogue_kind == dataset_config.SELECTED:
        raise errors.UserError(
            "--catalogue=selected is chosen by a run: use --item_table with --catalogue=table"
        )


def prepare(
    config: DatasetConfig,
    output_dir: str | pathlib.Path,
    say_fn: Callable[[str], None],
    rows_per_group: int = ROWS_PER_GROUP,
) -> PreparedFacts:
    """Prepares a table, or goes on with a preparation that was cut short.

    Args:
      config: Which table, and what to do to it.
      output_dir: The folder to make, whose owner alone may look into it.
      say_fn: Takes lines of progress.
      rows_per_group: How many rows to prepare at once, about; a user's are never apart.

    Returns:
      What was done.

    Raises:
      UserError: If files are missing or malformed, too little is left for the split, or the folder
        holds something else.
    """
    check(config)
    root = pathlib.Path(output_dir)
    job = _describe_job(config, rows_per_group)
    with output_folder.name_errors(root, "--output_dir"):
        _check_is_ours(root)
        whole_files.make_secret_folder(root)
    with output_folder.name_shortage(root), run_directory.lock(run_directory.RunDirectory(root)):
        if (root / prepared_folder.FACTS).exists():
            done = prepared_folder.open_folder(root)
            _compare(root, done.facts.job, job)
            done.check_content()
            # A crash may have come before it was removed.
            shutil.rmtree(root / prepared_folder.WORK, ignore_errors=True)
            say_fn(f"{root} is prepared already")
            return done.facts
        work = root / prepared_folder.WORK
        work.mkdir(exist_ok=True)
        if (work / _JOB).exists():
            _compare(root, json.loads((work / _JOB).read_text()), job)
        else:
            whole_files.write_json(work / _JOB, job)
        facts = _prepare(config, root, work, job, say_fn, rows_per_group)
        shutil.rmtree(work)
    return facts


def _prepare(
    config: DatasetConfig,
    root: pathlib.Path,
    work: pathlib.Path,
    job: dict[str, Any],
    say_fn: Callable[[str], None],
    rows_per_group: int,
) -> PreparedFacts:
    known = _read_known(config)
    rows = _read_rows(config, work, known, say_fn)
    ids = _rank(config, known, rows)
    planned = _plan_groups(rows, rows_per_group)
    found = _prepare_groups(config, work, planned, rows, ids, say_fn)
    counts = _count(rows, found)
    _check_is_enough(config, counts, found)
    (work / _GROUPED).touch()
    rows.drop_rows()
    folders = [_find_group(work, slots) for slots in planned]
    numbers = joining.number_anew(
        folders,
        len(ids.user_ids),
        len(ids.item_ids),
        keeps_items=config.catalogue_kind != dataset_config.DATA,
    )
    joining.join(folders, root, numbers, say_fn)
    _write_ids(root, known, rows, ids, numbers)
    say_fn("computing the fingerprint")
    facts = PreparedFacts(
        name=config.name,
        split_name=config.split_name,
        seed=config.seed,
        ties=config.ties,
        is_private=config.is_private,
        catalogue_kind=config.catalogue_kind,
        roster_digest=None if known.roster is None else roster_lib.digest(known.roster),
        counts=counts,
        fingerprint="",
        num_tied_users=sum(facts.num_tied_users for facts in found),
        num_dropped={
            name: sum(facts.num_dropped[name] for facts in found)
            for name in prepared_folder.EVALUATED
        },
        file_bytes={
            path.name: path.stat().st_size
            for path in sorted(root.iterdir())
            if path.suffix in (".arrow", ".feather")
        },
        job=job,
    )
    opened = PreparedFolder(root, facts)
    log = opened.interactions
    fingerprint = splits.fingerprint(opened.split, log.user_ids, log.item_ids)
    digests = {name: prepared_folder.digest_file(root / name) for name in facts.file_bytes}
    facts = dataclasses.replace(facts, fingerprint=fingerprint, file_digests=digests)
    whole_files.write_json(root / prepared_folder.FACTS, prepared_folder.describe_facts(facts))
    return facts


def _check_is_ours(root: pathlib.Path) -> None:
    lock = run_directory.RunDirectory(root).lock_file
    found = set(root.iterdir()) - {lock} if root.exists() else set()
    if found and not prepared_folder.is_prepared(root):
        raise errors.UserError(
            f"--output_dir={root} holds something else: choose another, or an empty folder"
        )


def _describe_job(config: DatasetConfig, rows_per_group: int) -> dict[str, Any]:
    """What a preparation must have in common with the one that it goes on with."""
    flags = dataclasses.asdict(config)
    flags.pop("synthetic")
    paths = [pathlib.Path(path) for path in parts.find(config.data_path)]
    beside = {config.roster, *loading.find_feature_tables(config)} - {None}
    paths += sorted(map(pathlib.Path, beside))
    for name in _PLACES:
        flags.pop(name)
    files = [[path.name, *_describe_file(path)] for path in paths]
    job = {"flags": flags, "rows_per_group": rows_per_group, "files": files}
    return json.loads(json.dumps(job))


def _describe_file(path: pathlib.Path) -> tuple[int, int]:
    if not path.is_file():
        raise errors.UserError(f"there is no file {path}: check the path")
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _compare(root: pathlib.Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses to go on with other flags or files."""
    way_out = "choose another --output_dir, or remove this one"
    before, after = _flatten(begun["flags"]), _flatten(now["flags"])
    for name, value in after.items():
        if before.get(name) != value:
            raise errors.UserError(
                f"--output_dir={root} was begun with other flags ({name}: {before.get(name)}, now "
                f"{value}): {way_out}"
            )
    if begun["files"] != now["files"]:
        changed = [file[0] for file in now["files"] if file not in begun["files"]]
        raise errors.UserError(
            f"--output_dir={root}: {changed[0] if changed else 'a file'} is not as it was when the "
            f"preparation began: {way_out}"
        )


def _flatten(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags of a group of them, as that of columns, by their own names."""
    found: dict[str, Any] = {}
    for name, value in flags.items():
        found |= value if isinstance(value, dict) else {name: value}
    return found


def _read_known(config: DatasetConfig) -> _Known:
    items_path, users_path = loading.find_feature_tables(config)
    items, users = loading.read_features(config, items_path, users_path)
    roster = None
    if config.roster is not None:
        roster = roster_lib.read(config.roster, config.columns.user)
    return _Known(items, users, items_path, users_path, roster)


def _read_rows(
    config: DatasetConfig, work: pathlib.Path, known: _Known, say_fn: Callable[[str], None]
) -> RowFiles:
    layout = loading.create_layout(config)
    columns = loading.find_event_columns(config, layout, known.users is None, known.items is None)
    folder = work / _ROWS
    folder.mkdir(exist_ok=True)
    rows = RowFiles(folder, columns, layout, config.max_malformed_fraction, known.roster or ())
    rows.read(parts.find(config.data_path), say_fn, needs_rows=not (work / _GROUPED).exists())
    if not rows.num_rows:
        raise errors.UserError(f"{config.data_path} has no rows of data")
    if known.users is not None:
        feature_tables.check_matches(known.users, known.users_path, rows.ids.users.list_from())
    if known.items is not None:
        feature_tables.check_matches(known.items, known.items_path, rows.ids.items.list_from())
    return rows


def _rank(config: DatasetConfig, known: _Known, rows: RowFiles) -> KnownIds:
    met = rows.ids.items.list_from()
    if config.catalogue_kind == dataset_config.TABLE:
        sources.check_overlap(known.items.index, met, "no item of the catalogue")
        item_ids, item_rank = interactions_lib.index_in(known.items.index, met, "item", "items")
    else:
        item_rank, item_ids = groups.rank_ids(met)
    user_rank, user_ids = groups.rank_ids(rows.ids.users.list_from())
    num_listed = None if known.roster is None else len(known.roster)
    return KnownIds(user_rank, user_ids, item_rank, item_ids, num_listed)


def _plan_groups(rows: RowFiles, rows_per_group: int) -> list[range]:
    """Neighbouring slots with about so many rows together."""
    slot_rows = np.sum([part.slot_rows for part in rows.parts], axis=0)
    found, start, total = [], 0, 0
    for slot, count in enumerate(slot_rows.tolist()):
        total += count
        if total >= rows_per_group:
            found.append(range(start, slot + 1))
            start, total = slot + 1, 0
    if start < NUM_SLOTS:
        found.append(range(start, NUM_SLOTS))
    return found


def _prepare_groups(
    config: DatasetConfig,
    work: pathlib.Path,
    planned: Sequence[range],
    rows: RowFiles,
    ids: KnownIds,
    say_fn: Callable[[str], None],
) -> list[GroupFacts]:
    found = []
    clock = Clock(say_fn, "preparing", "rows")
    slot_rows = np.sum([part.slot_rows for part in rows.parts], axis=0)
    left, done = rows.num_rows, 0
    (work / _GROUPS).mkdir(exist_ok=True)
    num_before = 0
    for slots in planned:
        num_rows = int(slot_rows[slots.start : slots.stop].sum())
        folder = _find_group(work, slots)
        facts = _restore_group(folder)
        if facts is None:
            if (work / _GROUPED).exists():
                raise errors.UserError(
                    f"{folder} is damaged, and the rows are gone: remove {work}, and begin again"
                )
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            facts = groups.write_group(folder, slots, rows.read_slots(slots), ids, config)
            digests = {name: prepared_folder.digest_file(folder / name) for name in groups.FILES}
            stored = {**dataclasses.asdict(facts), "digests": digests}
            whole_files.write_json(folder / _FACTS, stored)
            done += num_rows
        else:
            num_before += 1
            left -= num_rows
        found.append(facts)
        clock.tell(done, left)
    if num_before:
        say_fn(f"preparing: {num_before} of {len(planned)} groups of users were done before")
    return found


def _find_group(work: pathlib.Path, slots: range) -> pathlib.Path:
    return work / _GROUPS / f"{slots.start:03d}-{slots.stop:03d}"


def _restore_group(folder: pathlib.Path) -> GroupFacts | None:
    """What became of a group that was done before; None if it was not, or is damaged."""
    path = folder / _FACTS
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    digests = stored.pop("digests")
    if any(
        prepared_folder.digest_file(folder / name) != digest for name, digest in digests.items()
    ):
        return None
    stored["counts"] = DataCounts(**stored["counts"])
    return GroupFacts(**stored)


def _count(rows: RowFiles, found: Sequence[GroupFacts]) -> DataCounts:
    counts = DataCounts(
        rows_read=sum(part.rows_read for part in rows.parts),
        malformed=sum(part.malformed for part in rows.parts),
    )
    for facts in found:
        counts += facts.counts
    return counts


def _check_is_enough(
    config: DatasetConfig, counts: DataCounts, found: Sequence[GroupFacts]
) -> None:
    """Refuses a roster of others, and data of which too little is left."""
    if counts.off_roster and counts.off_roster == (
        counts.rows_read - counts.malformed - counts.duplicates
    ):
        raise errors.UserError(
            f"{config.roster}: no user of it is in the log: write ids in the same way"
        )
    if not counts.kept:
        raise errors.UserError(f"{counts.summary()}: demand less of the data")
    if config.split_name == "unseen_users":
        splits.check_parts(np.sum([facts.part_sizes for facts in found], axis=0).tolist())


def _write_ids(
    root: pathlib.Path, known: _Known, rows: RowFiles, ids: KnownIds, numbers: joining.Numbers
) -> None:
    """Writes raw ids, and what is known of users and items."""
    met_users = rows.ids.users.list_from()
    met_items = rows.ids.items.list_from()
    users, items = known.users, known.items
    if users is None:
        users = rows.ids.user_values.to_frame(met_users)
    if items is None:
        items = rows.ids.item_values.to_frame(met_items)
    described = (
        (ids.user_ids[numbers.user_ranks], users, "user"),
        (ids.item_ids[numbers.item_ranks], items, "item"),
    )
    files = (
        (prepared_folder.USERS, prepared_folder.USER_FEATURES),
        (prepared_folder.ITEMS, prepared_folder.ITEM_FEATURES),
    )
    for (left, table, what), (ids_file, features_file) in zip(described, files, strict=True):
        prepared_folder.write_ids(root / ids_file, left)
        features = interactions_lib.align_features(table, left, what)
        if features is not None:
            prepared_folder.write_features(root / features_file, features)
