"""The folder of a run: what is in it, and whether a run may go on in it."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fedrec_tff import errors
from fedrec_tff.run.folder import output_folder, stored_files, whole_files

# What a session may leave if it ends before `config.json` is written; the ledger is a header then.
_LEFT_BEFORE_CONFIG = {
    *(".lock", "ids", "config.json.partial", "cohort_key", "cohort_key.partial"),
    "privacy_ledger.jsonl",
}

_CONFIG, _CHECKPOINTS, _DEVICES = "config.json", "checkpoints", "devices"
_IDS, _COHORT_KEY = "ids", "cohort_key"

# What `config.json` has beside others, and the numbers of `results.json` that are in no folder.
_FLAGS_ALONE = ("flags",)
PARTS_OF_RUNS = (*_FLAGS_ALONE, "derived", "non_private/data")
_REFERENCES = "references"
_NUMBERS_OF_RESULTS = (
    *("seconds", "users_per_second", "delta", "noise_multiplier", "released_round"),
    *("epsilon", "insecure_epsilon", "simulated_epsilon"),
)


@dataclasses.dataclass(frozen=True)
class FlagLeeway:
    """In what the flags at hand may be other than those that a run was begun with.

    Attributes:
      may_differ: Names of flags that the run may go on with other values of.
      may_grow: Names of flags that the run may go on with larger values of.
      defaults: Values, by the names of flags, that a run has which was begun before there was the
        flag.
    """

    may_differ: Collection[str] = ()
    may_grow: Collection[str] = ()
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)


NO_LEEWAY = FlagLeeway()


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The paths of a run.

    Attributes:
      root: The folder itself.
    """

    root: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        """`config.json`: every flag, and what was derived from them."""
        return self.root / _CONFIG

    @property
    def metrics(self) -> pathlib.Path:
        """`metrics.csv`: a row for each round."""
        return self.root / "metrics.csv"

    @property
    def checkpoints(self) -> pathlib.Path:
        """`checkpoints/`: program state by round."""
        return self.root / _CHECKPOINTS

    @property
    def ledger(self) -> pathlib.Path:
        """`privacy_ledger.jsonl`: what was spent; there under differential privacy alone."""
        return self.root / "privacy_ledger.jsonl"

    @property
    def private_popularity(self) -> pathlib.Path:
        """`private_popularity.npy`: noised counts of items, where they were released."""
        return self.root / "private_popularity.npy"

    @property
    def private_catalogue(self) -> pathlib.Path:
        """`private_catalogue.json`: the raw ids of the items that were chosen, where they were."""
        return self.root / "private_catalogue.json"

    @property
    def model(self) -> pathlib.Path:
        """`model.npz`: the released model, every weight under its name."""
        return self.root / "model.npz"

    @property
    def devices(self) -> pathlib.Path:
        """`devices/`: what users' devices keep, in simulation; no part of the server reads it."""
        return self.root / _DEVICES

    @property
    def ids(self) -> pathlib.Path:
        """`ids/`: raw ids of users and items by index."""
        return self.root / _IDS

    @property
    def item_ids(self) -> pathlib.Path:
        """`ids/item_ids.csv`: raw ids of items by index."""
        return self.ids / "item_ids.csv"

    @property
    def cohort_key(self) -> pathlib.Path:
        """`cohort_key`: the secret that cohorts are drawn from under differential privacy."""
        return self.root / _COHORT_KEY

    @property
    def lock_file(self) -> pathlib.Path:
        """`.lock`: held by the process that works on the run."""
        return self.root / ".lock"

    @property
    def has_rounds(self) -> bool:
        """Whether a round was trained, or paid for, in this folder."""
        has_checkpoint = self.checkpoints.is_dir() and any(self.checkpoints.iterdir())
        return self.has_spent or has_checkpoint

    @property
    def has_spent(self) -> bool:
        """Whether the ledger has more than a header."""
        return self.ledger.exists() and len(self.ledger.read_bytes().splitlines()) > 1

    @property
    def results(self) -> pathlib.Path:
        """`results.json`: the end of the run."""
        return self.root / "results.json"


def open_run_directory(
    root: str | os.PathLike,
    flags: dict[str, Any],
    leeway: FlagLeeway = NO_LEEWAY,
) -> RunDirectory:
    """Makes a run's folder, or checks that the one there is of the same run.

    Args:
      root: The folder.
      flags: Every flag's value.
      leeway: Differences from the run's flags that are none.

    Returns:
      The run's paths.

    Raises:
      UserError: If the folder holds something else, or a run with other flags.
    """
    directory = RunDirectory(pathlib.Path(root))
    if not directory.config.exists():
        _make_empty(directory.root)
        return directory
    try:
        stored = {**leeway.defaults, **read_config(directory)["flags"]}
    except errors.UserError as error:
        raise errors.UserError(
            f"{directory.config} cannot be read as a run's configuration: choose another "
            "--output_dir"
        ) from error
    differences = [
        f"--{name}={flags.get(name)} (there: {stored.get(name)})"
        for name in sorted((flags.keys() | stored.keys()) - set(leeway.may_differ))
        if flags.get(name) != stored.get(name)
        and not (name in leeway.may_grow and _is_larger(flags.get(name), stored.get(name)))
    ]
    if differences:
        raise errors.UserError(
            f"{directory.root} holds a run with another configuration: {', '.join(differences)}; "
            "choose another --output_dir"
        )
    return directory


def read_config(
    directory: RunDirectory, parts: Collection[str] = _FLAGS_ALONE
) -> dict[str, Any] | None:
    """Reads what an earlier session of this run wrote to `config.json`.

    Args:
      directory: The run's paths.
      parts: Names of the parts that must be there.

    Returns:
      The configuration: flags by name under `flags`, and what was derived from them. None for a new
      run.

    Raises:
      UserError: If the file cannot be read as such.
    """
    if not directory.config.exists():
        return None
    try:
        stored = stored_files.read_object(directory.config)
        if not all(isinstance(stored.get(name, {}), dict) for name in PARTS_OF_RUNS):
            raise ValueError(f"{', '.join(PARTS_OF_RUNS)} must be objects")
        missing = [name for name in parts if name not in stored]
        if missing:
            raise ValueError(f"there are no {', '.join(missing)}")
        return stored
    except ValueError as error:
        raise errors.UserError(
            f"{directory.config} cannot be read as a run's configuration ({error}): restore it"
        ) from error


def check_data(
    directory: RunDirectory,
    stored: Mapping[str, Any],
    fingerprint: str,
    features_fingerprint: str | None,
) -> None:
    """Refuses other data than a run was begun with, wherever they are.

    Args:
      directory: The run's paths.
      stored: Part of `config.json` that is about the data: `fingerprint`, and
        `features_fingerprint` where the model knows features.
      fingerprint: Fingerprint of the data at hand.
      features_fingerprint: Fingerprint of the features at hand; None for no features.

    Raises:
      UserError: If they differ.
    """
    found = (fingerprint, features_fingerprint)
    if (stored["fingerprint"], stored.get("features_fingerprint")) != found:
        raise errors.UserError(
            f"the data are not those that the run in {directory.root} was begun with: restore "
            "them, or choose another --output_dir"
        )


def refuse_version(directory: RunDirectory, kind: str) -> errors.UserError:
    """What to raise where a file of somebody's own is not that which a run was begun with.

    Args:
      directory: The run's paths.
      kind: Name for the contents of the file, such as `model`.

    Returns:
      The error.
    """
    return errors.UserError(
        f"{directory.root} was begun with another version of its {kind}: restore the file, or "
        "choose another --output_dir"
    )


def read_results(directory: RunDirectory) -> dict[str, Any] | None:
    """Reads the results of a complete run.

    Args:
      directory: The run's paths.

    Returns:
      Contents of `results.json`; None for a run that is not complete.

    Raises:
      UserError: If the file cannot be read as such.
    """
    if not directory.results.exists():
        return None
    try:
        results = stored_files.read_object(directory.results)
        _check_results(results)
        return results
    except ValueError as error:
        raise errors.UserError(
            f"{directory.results} cannot be read ({error}): restore it, or remove it, and the same "
            "command measures the model again"
        ) from error


@contextlib.contextmanager
def lock(directory: RunDirectory) -> Iterator[None]:
    """Keeps other processes off the run inside a `with` block; a crash releases the lock.

    Args:
      directory: The run's paths.

    Yields:
      Nothing.

    Raises:
      UserError: If another process holds the lock.
    """
    with directory.lock_file.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.UserError(
                f"another process works on {directory.root}: wait for it, or choose another "
                "--output_dir"
            ) from error
        yield


@contextlib.contextmanager
def open_locked(
    root: str | os.PathLike,
    flags: dict[str, Any],
    leeway: FlagLeeway = NO_LEEWAY,
) -> Iterator[RunDirectory]:
    """Opens a run's folder, and keeps other processes off it inside a `with` block.

    Args:
      root: Path of the folder.
      flags: Every flag's value.
      leeway: Differences from the run's flags that are none.

    Yields:
      The run's paths.

    Raises:
      UserError: As `open_run_directory` and `lock` have it.
    """
    directory = open_run_directory(root, flags, leeway)
    with lock(directory):
        # Again: another process may have begun in here since.
        open_run_directory(root, flags, leeway)
        yield directory


def mend_after_crash(directory: RunDirectory) -> None:
    """Removes what a crash left half written: a torn row of metrics, parts of files.

    Args:
      directory: The run's paths; this process holds its lock.
    """
    whole_files.mend_torn_line(directory.metrics)
    for partial in directory.root.glob(f"{directory.metrics.name}_temp*"):
        partial.unlink()
    for folder in (directory.root, directory.checkpoints, directory.devices, directory.ids):
        for partial in folder.glob("*.partial"):
            partial.unlink()
    # Of an earlier version.
    for partial in directory.checkpoints.glob("*_temp*"):
        shutil.rmtree(partial)


def _is_larger(value: float | None, than: float | None) -> bool:
    """Whether a limit is larger than another, where None is no limit."""
    return than is not None and (value is None or value > than)


def _make_empty(root: pathlib.Path) -> None:
    output_folder.open_folder(
        root, ", and not a run of this program; choose another", _CONFIG, _LEFT_BEFORE_CONFIG
    )
    if RunDirectory(root).has_spent:
        raise errors.UserError(
            f"--output_dir={root}: {RunDirectory(root).ledger.name} tells of a run that has spent "
            "privacy, and config.json is missing: restore it, or choose another"
        )


def _check_results(results: Mapping[str, Any]) -> None:
    """Raises a ValueError where what is told of a run has not the type that it is told with."""
    rounds, statement = results.get("rounds"), results.get("privacy_statement", "none")
    if type(rounds) is not int or rounds < 0:
        raise ValueError(f"rounds is {rounds!r}, and no number of rounds")
    if not isinstance(statement, str) or not statement:
        raise ValueError("privacy_statement is no text")
    for name, value in results.items():
        is_numeric = "/" in name or name in _NUMBERS_OF_RESULTS
        if is_numeric and name.rpartition("/")[2] != _REFERENCES and not _is_number(value):
            raise ValueError(f"{name} is {value!r:.100}, and no number")


def _is_number(value: Any) -> bool:
    """Whether it is a number as `whole_files.write_json` writes them, or None."""
    if isinstance(value, str):
        return value in whole_files.INFINITIES
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
