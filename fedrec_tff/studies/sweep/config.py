"""What a sweep consists of: trials, each tried with every seed; without TensorFlow."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config import config_checks, field_spec, preset_config, run_config
from fedrec_tff.config.checks import output_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.sweep import space as sweep_space

GRID = "grid"
RANDOM = "random"
TPE = "tpe"
SEARCHES = (GRID, RANDOM, TPE)
# What learned from trial to trial before.
_FORMER = "vizier"

FIXED = "fixed"
# The random ones are `privacy.tuning.DISTRIBUTIONS`, which takes half a second to import.
TRIALS_DISTRIBUTIONS = (FIXED, "negative_binomial", "poisson")

VALIDATION = metric_names.VALIDATION
PRIVATE = metric_names.PRIVATE
PERSONALIZED = metric_names.PERSONALIZED
_FINETUNING = "finetuning_"
DEFAULT_OBJECTIVE = "validation/recall@10"
# Metrics at k: of all items, of sampled ones, and noised.
_FULL, _SAMPLED, _NOISED = (
    ("recall", "ndcg", "map", "hit_rate"),
    ("hit_rate", "ndcg"),
    ("recall", "ndcg"),
)

_LARGEST_TRIALS_SHAPE = 100.0
_MOST_TRIALS = 1000

# A search whose best run alone is private compares runs on one population.
DATA_FLAGS = frozenset(field_spec.find_names(RunConfig, lambda spec: spec.about_data))
# Whatever the values of these, a run costs the same. All others may matter.
COSTLESS_FLAGS = frozenset(field_spec.find_names(RunConfig, lambda spec: not spec.costs_privacy))


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """A sweep, but for where it is stored.

    Attributes:
      base: The flags that all trials share; its seed is that of the search too.
      dimensions: The flags that differ from trial to trial.
      search: Search strategy, one of `SEARCHES`.
      num_trials: The number of trials, or its mean; None for a grid.
      seeds: Seeds, with each of which every trial is run.
      objective: The metric by which the best trial is chosen.
      minimize: Whether less of the objective is better.
      trials_distribution: Whether `num_trials` is the number, or the mean of a random one.
      trials_shape: The shape of the negative binomial distribution.
      prunes: Whether trials that validation shows to be behind are stopped early.
      pruning_warmup_rounds: Number of rounds before which no trial is stopped.
    """

    base: RunConfig
    dimensions: tuple[sweep_space.Dimension, ...]
    search: str = GRID
    num_trials: int | None = None
    seeds: tuple[int, ...] = (0,)
    objective: str = DEFAULT_OBJECTIVE
    minimize: bool = False
    trials_distribution: str = FIXED
    trials_shape: float = 1.0
    prunes: bool = False
    pruning_warmup_rounds: int = 0

    @property
    def has_random_number(self) -> bool:
        """Whether the number of trials is drawn."""
        return self.trials_distribution != FIXED

    @property
    def objective_name(self) -> str:
        """What the objective is called where it is shown: as in the runs, marked if exact."""
        is_exact = not self.objective.startswith(PRIVATE)
        return metric_names.mark(self.objective, is_exact and self._has_private_runs)

    @property
    def _has_private_runs(self) -> bool:
        return any(self.config_of(v, self.base.seed).is_private for v in self.extremes)

    @property
    def extremes(self) -> list[dict[str, Any]]:
        """Trials with values and ends of ranges, one flag at a time, the others at their first."""
        first = {dimension.name: dimension.extremes[0] for dimension in self.dimensions}
        changes = [{d.name: value} for d in self.dimensions for value in d.extremes[1:]]
        return [first, *({**first, **change} for change in changes)]

    def config_of(self, values: dict[str, Any], seed: int) -> RunConfig:
        """The flags of one run.

        Args:
          values: The trial's values, by flag.
          seed: The run's seed.

        Returns:
          The flags, not checked.
        """
        return dataclasses.replace(self.base, **values, seed=seed)

    def is_better(self, objective: float, other: float) -> bool:
        """Whether one value of the objective is better than another."""
        return objective < other if self.minimize else objective > other


def check(config: SweepConfig) -> None:
    """Refuses a sweep that makes no sense, but for its trials.

    Args:
      config: The sweep to check.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    if not config.dimensions:
        raise errors.UserError("--sweep: name a flag to search over, as in clip_norm=0.1,0.3,1")
    _check_search(config)
    _check_seeds(config.seeds)
    _check_objective(config)
    _check_random_number(config)
    _check_pruning(config)


def create_trials(config: SweepConfig, entropy: int | None = None) -> list[dict[str, Any]]:
    """Lays out the trials of a grid or random search, each checked as `experiments.train` would.

    Args:
      config: A checked sweep.
      entropy: The entropy that random trials are drawn from; None for the base's seed.

    Returns:
      Values by flag for every trial; of a random search as many as `num_trials` says.

    Raises:
      UserError: If a trial's flags are out of range, or contradict each other.
    """
    if config.search == GRID:
        trials = list(sweep_space.enumerate_grid(config.dimensions))
    else:
        generator = np.random.default_rng(config.base.seed if entropy is None else entropy)
        trials = [sweep_space.draw(config.dimensions, generator) for _ in range(config.num_trials)]
    _check_trials(config, trials)
    return trials


def check_extremes(config: SweepConfig) -> None:
    """Checks values and ends of ranges, one flag at a time, the others at their first.

    For searches whose trials are not known beforehand.

    Args:
      config: A checked sweep.

    Raises:
      UserError: If one is no run that can be.
    """
    _check_trials(config, config.extremes)


def check_trial(config: SweepConfig, values: dict[str, Any]) -> None:
    """Checks one trial, as `experiments.train` would.

    Args:
      config: A checked sweep.
      values: The trial's values, by flag.

    Raises:
      UserError: If it is no run that can be, one without the objective, or one that is private
        and would be watched.
    """
    run = config.config_of(values, config.seeds[0])
    try:
        config_checks.validate(run)
    except errors.UserError as error:
        raise errors.UserError(f"the trial with {describe(values)}: {error}") from error
    _check_is_measured(config.objective, run)
    if config.objective.startswith(PRIVATE) and run.private_evaluation_noise_multiplier is None:
        raise errors.UserError(
            f"--objective={config.objective} needs --private_evaluation_noise_multiplier, which "
            f"the trial with {describe(values)} lacks"
        )
    if run.withhold_held_out_metrics and not config.objective.startswith(PRIVATE):
        raise errors.UserError(
            f"--objective={config.objective} is what --withhold_held_out_metrics withholds: choose "
            f"by {PRIVATE}recall@10, with --private_evaluation_noise_multiplier"
        )
    if config.objective.startswith(PERSONALIZED) and not run.finetuning_epochs:
        raise errors.UserError(
            f"--objective={config.objective} needs --finetuning_epochs, which the trial with "
            f"{describe(values)} lacks"
        )
    if config.prunes and run.is_private:
        raise errors.UserError(
            f"--prune: the trial with {describe(values)} is private, and what is seen of it while "
            "it runs, and stops it, would have to be paid for: drop --prune"
        )


def describe(values: dict[str, Any]) -> str:
    """A trial in a line: its flags' values as a command line has them."""
    return " ".join(f"{name}={format_value(value)}" for name, value in values.items())


def format_value(value: Any) -> str:
    """A value as `--sweep` takes it; a number with all of its digits."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, tuple | list) else str(value)


def to_arguments(config: RunConfig) -> list[str]:
    """The flags of a command that differ from their defaults; `seed` is always there.

    The preset is `basic`: nothing is left open, and what is not said has its default.

    Args:
      config: The flags of a run.

    Returns:
      One `--name=value` for each; several for a flag that may be repeated.
    """
    arguments = []
    config = dataclasses.replace(config, preset=preset_config.BASIC)
    for name, value in run_config.to_flags(config).items():
        if value is None or (value == _default(name) and name != "seed"):
            continue
        for one in run_config.split_value(name, value):
            arguments.append(f"--{name}={format_value(one)}")
    return arguments


def _default(name: str) -> Any:
    default = getattr(RunConfig, name)
    return list(default) if isinstance(default, tuple) else default


def _check_search(config: SweepConfig) -> None:
    if config.search not in SEARCHES:
        close = difflib.get_close_matches(config.search, (*SEARCHES, _FORMER), 1)
        hint = f"did you mean {close[0]}? " if close else ""
        if close == [_FORMER]:
            hint = f"{TPE} (Optuna) is in the place of {_FORMER}: "
        raise errors.UserError(
            f"--search={config.search}: {hint}choose one of {', '.join(SEARCHES)}"
        )
    if config.search != GRID:
        if config.num_trials is None:
            raise errors.UserError(f"--search={config.search} needs --num_trials")
        if not 1 <= config.num_trials <= _MOST_TRIALS:
            raise errors.UserError(
                f"--num_trials={config.num_trials}: give a number from 1 to {_MOST_TRIALS}"
            )
        return
    if config.num_trials is not None:
        raise errors.UserError("--num_trials means nothing with --search=grid: drop it")
    num_trials = 1
    for dimension in config.dimensions:
        if dimension.is_range:
            raise errors.UserError(
                f"--sweep={dimension.name}: a grid needs values, as in 0.1,0.3,1; ranges are for "
                "--search=random and --search=tpe"
            )
        num_trials *= len(dimension.values)
    if num_trials > _MOST_TRIALS:
        raise errors.UserError(
            f"--search=grid: these are {num_trials} trials, more than {_MOST_TRIALS}; name fewer "
            "values, or --search=random"
        )


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds:
        raise errors.UserError("--seeds: name at least one")
    if len(set(seeds)) < len(seeds):
        raise errors.UserError(f"--seeds={','.join(map(str, seeds))}: a seed is there twice")
    for seed in seeds:
        if not 0 <= seed < 2**31:
            raise errors.UserError(f"--seeds={seed}: give numbers from 0 to 2147483647")


def _check_objective(config: SweepConfig) -> None:
    objective = config.objective
    model = PERSONALIZED if objective.startswith(PERSONALIZED) else ""
    if objective.startswith(f"{model}test/"):
        raise errors.UserError(
            f"--objective={objective}: what is chosen by the test split is no longer tested by it, "
            "which is read once; choose by "
            f"{model}{VALIDATION}{objective.removeprefix(f'{model}test/')}"
        )
    output_checks.check(config.base)
    _check_is_measured(objective, config.base)
    for dimension in config.dimensions:
        if dimension.name.startswith(_FINETUNING) and not model:
            raise errors.UserError(
                f"--sweep={dimension.name}: devices fine-tune after training, which cannot move "
                f"--objective={objective}: choose by {PERSONALIZED}{DEFAULT_OBJECTIVE}, or drop it"
            )


def _check_is_measured(objective: str, run: RunConfig) -> None:
    """Refuses an objective that is no metric, or one at a k that a run has no lists of."""
    full = [f"{name}@{k}" for k in run.ks for name in _FULL]
    sampled = [f"sampled_99/{name}@{k}" for k in run.ks for name in _SAMPLED]
    exact = [f"{VALIDATION}{name}" for name in (*full, "mrr", *sampled, "sampled_99/mrr")]
    noised = [f"{name}@{k}" for k in run.noised_ks for name in _NOISED]
    known = [*exact, *(f"{PRIVATE}{name}" for name in (*noised, "mrr"))]
    known += [f"{PERSONALIZED}{name}" for name in exact]
    if objective not in known:
        raise errors.UserError(
            f"--objective={objective}: choose one of {', '.join(known)}; --list_lengths gives "
            "metrics of other lists"
        )


def _check_random_number(config: SweepConfig) -> None:
    if not config.has_random_number:
        if config.trials_shape != SweepConfig.trials_shape:
            raise errors.UserError(
                "--trials_shape means nothing without --trials_distribution=negative_binomial: "
                "drop it"
            )
        return
    name = config.trials_distribution
    if config.search != RANDOM:
        raise errors.UserError(
            f"--trials_distribution={name} needs trials that are drawn independently of each "
            "other: --search=random"
        )
    if name == "poisson" and config.trials_shape != SweepConfig.trials_shape:
        raise errors.UserError("--trials_shape is of the negative binomial alone: drop it")
    if not -1.0 < config.trials_shape <= _LARGEST_TRIALS_SHAPE:
        raise errors.UserError(
            f"--trials_shape={config.trials_shape:g}: must be above -1 and at most "
            f"{_LARGEST_TRIALS_SHAPE:g}"
        )
    if any(config.config_of(v, config.base.seed).population_ledger for v in config.extremes):
        # Each run would leave a line there, and where there is no room the number of trials would
        # no longer follow the law.
        raise errors.UserError(
            f"--population_ledger: with --trials_distribution={name} nobody may see how many "
            "trials there are, and each run would write itself down there: drop it, and count what "
            "the sweep says that it costs by python -m experiments.ledger add"
        )
    if any(config.config_of(v, config.base.seed).report_to for v in config.extremes):
        raise errors.UserError(
            f"--report_to: with --trials_distribution={name} nobody may see any other trial than "
            "the best, and a tracker would get them all: drop it"
        )
    for dimension in config.dimensions:
        if dimension.name in DATA_FLAGS:
            raise errors.UserError(
                f"--sweep={dimension.name}: with --trials_distribution={name} all trials must "
                "be on the same data: drop it"
            )
        if dimension.is_range and dimension.name not in COSTLESS_FLAGS:
            raise errors.UserError(
                f"--sweep={dimension.name}: with --trials_distribution={name} every run that "
                "could be drawn counts for the privacy cost: give values, not a range"
            )

    from fedrec_tff.privacy import tuning

    tuning.TrialsDistribution(name, config.num_trials, config.trials_shape)


def _check_pruning(config: SweepConfig) -> None:
    if not config.prunes:
        if config.pruning_warmup_rounds:
            raise errors.UserError("--pruning_warmup_rounds means nothing without --prune: drop it")
        return
    if config.pruning_warmup_rounds < 0:
        raise errors.UserError(
            f"--pruning_warmup_rounds={config.pruning_warmup_rounds}: give 0 or more"
        )
    if config.has_random_number:
        raise errors.UserError(
            f"--prune: with --trials_distribution={config.trials_distribution} no trial may follow "
            "from what others have shown: drop it"
        )
    if len(config.seeds) > 1:
        raise errors.UserError(
            f"--prune: a trial is the mean over --seeds={','.join(map(str, config.seeds))}, which "
            "is not known while one of them runs: search with one seed, and make the best trials "
            "again with others"
        )
    if config.objective.startswith(PERSONALIZED):
        raise errors.UserError(
            f"--prune: --objective={config.objective} is measured after the last round alone: "
            "drop --prune"
        )


def _check_trials(config: SweepConfig, trials: Sequence[dict[str, Any]]) -> None:
    for values in trials:
        check_trial(config, values)
    runs = (config.config_of(values, config.seeds[0]) for values in trials)
    if config.prunes and not any(_is_seen_in_time(config, run) for run in runs):
        raise errors.UserError(
            "--prune: no trial is validated between "
            f"--pruning_warmup_rounds={config.pruning_warmup_rounds} and its last round, so none "
            "can be stopped: lower --rounds_per_evaluation, or drop --prune"
        )


def _is_seen_in_time(config: SweepConfig, run: RunConfig) -> bool:
    """Whether a run has a validation after which it may be stopped."""
    last = (run.rounds - 1) // run.rounds_per_evaluation * run.rounds_per_evaluation
    return last >= max(1, config.pruning_warmup_rounds)
