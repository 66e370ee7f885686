"""Going on with a run for longer than it was begun for: the flags that may grow, and when not.

What the run has released stays until the longer run is complete: `config.json`, `model.npz` and
`results.json` are replaced together then. Until then the folder is that of the shorter run, with
checkpoints and rounds in `metrics.csv` beyond it.
"""

# Tested in tests/run/folder/test_prolongation.py and tests/whole_runs/test_longer_runs.py.

from collections.abc import Mapping, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import run_directory, whole_files

_FLAGS = "flags"
_ELSEWHERE = "choose another --output_dir"
# What ended a run, and the flag that lets it go on.
_ROUNDS, _TIME_BUDGET, _EARLY_STOPPING = "rounds", "time_budget", "early_stopping"
_FLAG_OF = {_ROUNDS: "rounds", _TIME_BUDGET: "time_budget_minutes"}


def find_grown(config: RunConfig, directory: run_directory.RunDirectory) -> tuple[str, ...]:
    """Finds the flags that are larger than those that a run was begun with.

    Args:
      config: The flags at hand, which differ from the run's by what may differ alone.
      directory: The run's paths.

    Returns:
      Names of flags; none for a new run.
    """
    stored = run_directory.read_config(directory)
    if stored is None:
        return ()
    flags = run_config.to_flags(config)
    names = sorted(run_config.names_that_may_grow())
    return tuple(name for name in names if flags[name] != stored[_FLAGS].get(name))


def check(
    config: RunConfig,
    grown: Sequence[str],
    directory: run_directory.RunDirectory,
    results: Mapping[str, Any] | None,
) -> None:
    """Refuses to prolong a run whose past would have been another, or that has nothing to do.

    Args:
      config: The flags at hand.
      grown: Names of flags, from `find_grown`, at least one.
      directory: The run's paths.
      results: Contents of `results.json`; None for a run that is not complete.

    Raises:
      UserError: If the run cannot go on.
    """
    if _FLAG_OF[_ROUNDS] in grown:
        objection = _find_objection(config)
        if objection is not None:
            stored = run_directory.read_config(directory)[_FLAGS][_FLAG_OF[_ROUNDS]]
            raise errors.UserError(
                f"--rounds={config.rounds}: the run in {directory.root} was begun for {stored} "
                f"rounds, and cannot be prolonged: {objection}; {_ELSEWHERE}"
            )
    if results is None:
        return
    if config.num_stored_weights:
        raise errors.UserError(
            f"--personal_state=persistent: the devices of the complete run in {directory.root} "
            f"keep what fits its model, which a longer run would replace: {_ELSEWHERE}"
        )
    _check_goes_on(grown, directory, results)


def adopt(config: RunConfig, directory: run_directory.RunDirectory) -> None:
    """Makes the folder that of the longer run: results of the shorter one are removed.

    After a crash in here, or soon after it, there are no results, and the longer run, which has its
    last checkpoint, is measured again.

    Args:
      config: The flags at hand.
      directory: The run's paths; this process holds its lock.
    """
    directory.results.unlink(missing_ok=True)
    stored = run_directory.read_config(directory)
    flags = run_config.to_flags(config)
    larger = {name: flags[name] for name in run_config.names_that_may_grow()}
    stored[_FLAGS] |= larger
    whole_files.write_json(directory.config, stored)


def _find_objection(config: RunConfig) -> str | None:
    """What of the rounds so far was planned for their number; None for nothing."""
    if config.decaying_schedules:
        return (
            f"by {' and '.join(config.decaying_schedules)} the rates of all rounds follow from "
            "the last one"
        )
    if not config.is_private:
        return None
    if config.target_epsilon is not None:
        target = f"--target_epsilon={config.target_epsilon:g}"
        return f"its noise was calibrated so that these cost {target}"
    if config.mechanism_kind.has("rounds"):
        return f"the noise of {config.aggregator_name} is planned for all rounds together"
    if config.evaluation_release is not None:
        return "its ledger plans the noised evaluations of so many"
    if config.population is not None:
        return "its population ledger has what so many cost"
    return None


def _check_goes_on(
    grown: Sequence[str], directory: run_directory.RunDirectory, results: Mapping[str, Any]
) -> None:
    # Runs of earlier versions ended with their last round.
    ended_by = results.get("ended_by", _ROUNDS)
    if ended_by == _EARLY_STOPPING:
        raise errors.UserError(
            f"early stopping has ended the run in {directory.root} after round "
            f"{results['rounds']}, so that there is nothing to go on with: {_ELSEWHERE}"
        )
    flag = _FLAG_OF.get(ended_by)
    if flag is not None and flag not in grown:
        raise errors.UserError(
            f"the run in {directory.root} ended after round {results['rounds']} by --{flag}, and "
            f"goes on with a larger one alone: raise it, or {_ELSEWHERE}"
        )
