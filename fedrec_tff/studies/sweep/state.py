"""What a sweep's folder says of it, `study.json`: which sweep it is, and which trials it has.

It is written before a trial begins, so that the same command goes on with the same trials, whatever
they were drawn from.
"""

# Tested in tests/studies/sweep/test_sweep_study.py.

import dataclasses
import json
import os
import pathlib
import secrets
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.run.folder import output_folder, whole_files
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep.config import SweepConfig

FILE_NAME = "study.json"
_ENTROPY_BITS = 128
_LEFT_BEFORE_STATE = {f"{FILE_NAME}.partial", ".lock"}


@dataclasses.dataclass
class SweepState:
    """The trials of a sweep.

    Attributes:
      path: The file.
      identity: Values by flag that make it this sweep and no other.
      trials: Values by flag of every trial that was laid out or suggested.
      batch: For TPE, number of trials that are suggested before the first of them must be known.
      told: For TPE, outcomes that it was told of the first trials: the objective; None for a trial
        that failed; the last round and the value there for one that was pruned.
    """

    path: pathlib.Path
    identity: dict[str, Any]
    trials: list[dict[str, Any]]
    batch: int
    told: list[float | tuple[int, float] | None]

    def save(self) -> None:
        """Writes the file, as a whole or not at all."""
        written = {
            "sweep": self.identity,
            "trials": self.trials,
            "batch": self.batch,
            "told": self.told,
        }
        whole_files.write_json(self.path, written)


def open_folder(output_dir: str | os.PathLike) -> pathlib.Path:
    """Makes a sweep's folder, or checks that the one there is one.

    Args:
      output_dir: The folder.

    Returns:
      The folder.

    Raises:
      UserError: If it holds something else.
    """
    return output_folder.open_folder(
        output_dir, ", and no sweep; choose another", FILE_NAME, _LEFT_BEFORE_STATE
    )


def open_state(root: pathlib.Path, config: SweepConfig, batch: int) -> SweepState:
    """Reads the state of the sweep in a folder, or lays out the trials of a new one.

    Args:
      root: The folder, locked.
      config: A checked sweep.
      batch: Number of trials suggested at a time, as in `SweepState`; a sweep that was begun keeps
        its own.

    Returns:
      The state, on disk.

    Raises:
      UserError: If the folder holds another sweep, or a trial cannot be.
    """
    path = root / FILE_NAME
    identity = json.loads(json.dumps(_identify(config)))
    if path.exists():
        return _read(path, identity)
    state = SweepState(path, identity, _lay_out(config), batch, [])
    state.save()
    return state


def _lay_out(config: SweepConfig) -> list[dict[str, Any]]:
    """All trials that are known from the beginning."""
    if config.search == sweep_config.TPE:
        sweep_config.check_extremes(config)
        return []
    if not config.has_random_number:
        return sweep_config.create_trials(config)
    # What is drawn here is part of what makes the best trial's release private.
    from fedrec_tff.privacy import tuning

    distribution = tuning.TrialsDistribution(
        config.trials_distribution, config.num_trials, config.trials_shape
    )
    drawn = dataclasses.replace(config, num_trials=distribution.draw())
    return sweep_config.create_trials(drawn, secrets.randbits(_ENTROPY_BITS))


def _identify(config: SweepConfig) -> dict[str, Any]:
    may_change = run_config.names_that_may_change_on_resume()
    base = {n: v for n, v in run_config.to_flags(config.base).items() if n not in may_change}
    # Sweeps of earlier versions have no such flags, and go on.
    pruning = {"prune": True, "pruning_warmup_rounds": config.pruning_warmup_rounds}
    return {
        **base,
        **(pruning if config.prunes else {}),
        "sweep": [dataclasses.asdict(dimension) for dimension in config.dimensions],
        "search": config.search,
        "num_trials": config.num_trials,
        "seeds": list(config.seeds),
        "objective": config.objective,
        "minimize": config.minimize,
        "trials_distribution": config.trials_distribution,
        "trials_shape": config.trials_shape,
    }


def _read(path: pathlib.Path, identity: dict[str, Any]) -> SweepState:
    try:
        found = json.loads(path.read_text())
        state = SweepState(
            path,
            dict(found["sweep"]),
            [{name: _as_value(v) for name, v in trial.items()} for trial in found["trials"]],
            int(found["batch"]),
            [_as_value(told) for told in found["told"]],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.UserError(
            f"{path} cannot be read as a sweep: choose another --output_dir"
        ) from error
    names = [
        f"--{name}"
        for name in sorted(identity.keys() | state.identity.keys())
        if identity.get(name) != state.identity.get(name)
    ]
    if names:
        raise errors.UserError(
            f"{path.parent} holds a sweep with another {', '.join(names)}: choose another "
            "--output_dir, or the flags that it was begun with"
        )
    return state


def _as_value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
