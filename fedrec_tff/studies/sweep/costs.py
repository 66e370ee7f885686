"""What a sweep costs the users that all of its runs share: as planned, and as spent.

A plan is made from flags and data, as each run will make it; what was spent is read from the runs'
ledgers. Whether a run fails may depend on the data, and so may how much it has spent by then: a
trial that failed after it had begun counts in full, with the runs that were not made for it.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import accounting, mechanisms, tuning
from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import data, population, privacy_plan
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep.config import SweepConfig
from fedrec_tff.studies.sweep.runs import SweepRun

NOTHING = "nothing"
NOT_PRIVATE = "not_private"
NO_CLAIM = "no_claim"
UNKNOWN = "unknown"
COMPOSED = "composed"
ADDED = "added"
SELECTED = "selected"

_MOST_CANDIDATES = 200


@dataclasses.dataclass(frozen=True)
class TuningCost:
    """What the users pay for a sweep.

    Attributes:
      kind: `NOTHING` was run; `NOT_PRIVATE` and `NO_CLAIM`: there is no epsilon, for `reason`;
        `UNKNOWN` beforehand; `COMPOSED`: all runs together; `ADDED`: the same, as the sum of their
        own bounds; `SELECTED`: the best trial alone, of a random number of trials.
      num_runs: The number of runs it is about; 0 where that must not be told.
      epsilon: Epsilon of the guarantee, if there is one.
      delta: Delta of the guarantee.
      relation: Neighbouring relation of the guarantee, as in `add-or-remove-one`.
      reason: Why there is none.
      single_epsilon: Epsilon of the costliest single trial, all of its seeds together, at the same
        delta.
      departures: Reservations that are told with the epsilons of all runs that it is about.
    """

    kind: str
    num_runs: int = 0
    epsilon: float | None = None
    delta: float | None = None
    relation: str | None = None
    reason: str | None = None
    single_epsilon: float | None = None
    departures: departures_lib.Departures = departures_lib.NONE


class Planner:
    """Works out what runs will cost, from their flags and their data."""

    def __init__(self, load_fn: Callable[[RunConfig], Any] = data.load_data) -> None:
        """Makes a planner that has read no data.

        Args:
          load_fn: Function that reads the data of a run.
        """
        self._load_fn = load_fn
        self._sizes: dict[Any, tuple[int, int]] = {}
        self._costs: dict[Any, tuning.RunCost | None] = {}

    def cost(self, config: RunConfig) -> tuning.RunCost | None:
        """What a private run costs if each of its rounds is computed once.

        Args:
          config: The run's flags.

        Returns:
          Cost of the run; None for a run that cannot be made, and so costs nothing.
        """
        costless = () if _plans_for_weights(config) else sweep_config.COSTLESS_FLAGS
        key = tuple(v for name, v in vars(config).items() if name not in costless)
        if key not in self._costs:
            self._costs[key] = self._plan(config)
        return self._costs[key]

    def _plan(self, config: RunConfig) -> tuning.RunCost | None:
        num_users, num_items = self._size(config)
        try:
            plan = privacy_plan.create_plan(
                config, num_users, config.two_tower.num_weights(num_items)
            )
        except errors.UserError:
            return None
        releases = [(release.event, release.count) for release in plan.releases]
        events = [*mechanisms.planned_events(plan.mechanism, config.rounds), *releases]
        return tuning.RunCost(
            tuple(events), config.target_delta, plan.mechanism.neighbouring_relation
        )

    def _size(self, config: RunConfig) -> tuple[int, int]:
        about_data = (getattr(config, name) for name in sorted(sweep_config.DATA_FLAGS))
        # A private run is on other users, and other items, than one that is not.
        key = (*about_data, config.seed, config.is_private)
        if key not in self._sizes:
            split = self._load_fn(config).split
            self._sizes[key] = (split.train.num_rows, split.num_items)
        return self._sizes[key]


def find_objection(configs: Iterable[RunConfig]) -> TuningCost | None:
    """Why nothing can be claimed about runs together; None if something can.

    Args:
      configs: The flags of all runs.

    Returns:
      A cost of the kind `NOT_PRIVATE` or `NO_CLAIM`, or None.
    """
    objections = {
        "without differential privacy": lambda c: not c.is_private or c.noise_multiplier == 0.0,
        "that make a release without noise": lambda c: (
            0.0 in (c.popularity_noise_multiplier, c.private_evaluation_noise_multiplier)
        ),
    }
    configs = list(configs)
    for number, (text, applies) in enumerate(objections.items()):
        if any(applies(config) for config in configs):
            kind = NO_CLAIM if number else NOT_PRIVATE
            return TuningCost(kind, len(configs), reason=f"there are runs {text}")
    for said in map(privacy_plan.find_departures, configs):
        if said.voided_by:
            reason = said.describe(said.voided_by).removesuffix(".")
            return TuningCost(
                NO_CLAIM, len(configs), reason=f"there are runs of which holds: {reason}"
            )
    return None


def plan(
    config: SweepConfig, trials: Sequence[dict[str, Any]] | None, planner: Planner
) -> TuningCost:
    """What a sweep will cost if each round of it is computed once.

    Args:
      config: The sweep.
      trials: All trials; None where they are not known beforehand.
      planner: Works out single runs.

    Returns:
      The cost.
    """
    if sells_best_alone(config):
        return _plan_selection(config, planner, ())
    shown = config.extremes if trials is None else trials
    said = _unite_departures(config.config_of(values, config.seeds[0]) for values in shown)
    return dataclasses.replace(_plan_all(config, trials, planner), departures=said)


def _plan_all(
    config: SweepConfig, trials: Sequence[dict[str, Any]] | None, planner: Planner
) -> TuningCost:
    """What all trials together will cost."""
    if trials is None:
        names = _find_costly(config)
        if names:
            return _find_objection_of_extremes(config) or TuningCost(
                UNKNOWN, reason=f"it depends on the trials that are suggested (--sweep={names[0]})"
            )
        values = {dimension.name: dimension.extremes[0] for dimension in config.dimensions}
        trials = [values] * config.num_trials
    # Runs that differ in their seed alone have as many users, and cost the same.
    runs = [config.config_of(values, config.seeds[0]) for values in trials]
    runs = [run for run in runs for _ in config.seeds]
    objection = find_objection(runs)
    if objection is not None:
        return objection
    return combine([planner.cost(run) for run in runs])


def check_population(config: SweepConfig, planner: Planner) -> None:
    """Refuses a sweep that a budget over runs has no room for, before it is begun.

    Each run takes its own part when it starts. So nothing is checked here where trials are not
    known beforehand.

    Args:
      config: The sweep.
      planner: Works out single runs.

    Raises:
      UserError: If all trials together would pass the budget.
    """
    if config.base.population is None or config.search == sweep_config.TPE:
        return
    trials = sweep_config.create_trials(config)
    check_room([config.config_of(v, seed) for v in trials for seed in config.seeds], planner)


def check_room(runs: Sequence[RunConfig], planner: Planner) -> None:
    """Refuses runs that the budget that all of them take from has no room for together.

    Args:
      runs: Flags of each, which share a population ledger; without one nothing is checked.
      planner: Works out single runs.

    Raises:
      UserError: If they would pass the budget.
    """
    if runs[0].population is None:
        return
    costs = [cost for run in runs if (cost := planner.cost(run)) is not None]
    for relation in {cost.relation for cost in costs}:
        events = [cost.events for cost in costs if cost.relation is relation]
        population.check_room(runs[0].population, events, relation)


def spent(config: SweepConfig, runs: Sequence[SweepRun], planner: Planner) -> TuningCost:
    """What the runs of a sweep have spent, by their ledgers.

    Args:
      config: The sweep.
      runs: All of its runs, whatever became of them.
      planner: Works out runs that could have been drawn.

    Returns:
      The cost.
    """
    if sells_best_alone(config):
        return _plan_selection(config, planner, runs)
    begun = [trial for trial in _group(runs) if _has_begun(trial)]
    said = _unite_departures(run.config for trial in begun or [runs] for run in trial)
    return dataclasses.replace(_add_up(config, begun, planner), departures=said)


def _add_up(
    config: SweepConfig, begun: Sequence[Sequence[SweepRun]], planner: Planner
) -> TuningCost:
    """What all trials together have cost that have begun."""
    objection = find_objection(run.config for trial in begun for run in trial)
    if objection is not None:
        return objection
    # What a run costs then follows from the outcomes of others.
    adapts = config.search == sweep_config.TPE and bool(_find_costly(config))
    costs = [cost for trial in begun for cost in _costs_of(trial, planner)]
    return combine(costs, only_basic=adapts)


def sells_best_alone(config: SweepConfig) -> bool:
    """Whether the cost is that of the best trial of a random number of them.

    That needs a score that is part of what a trial's guarantee covers.
    """
    return config.has_random_number and config.objective.startswith(sweep_config.PRIVATE)


def combine(costs: Iterable[tuning.RunCost | None], only_basic: bool = False) -> TuningCost:
    """What several private runs cost together.

    Args:
      costs: The cost of each run; None for one that costs nothing.
      only_basic: Whether to add bounds in any case, as in `tuning.compose`.

    Returns:
      The cost.
    """
    found = [cost for cost in costs if cost is not None]
    if not found:
        return TuningCost(NOTHING)
    bound = tuning.compose(found, only_basic)
    if math.isinf(bound.epsilon):
        return TuningCost(NOT_PRIVATE, len(found), reason="something is released without noise")
    return TuningCost(
        ADDED if bound.is_basic else COMPOSED,
        len(found),
        bound.epsilon,
        bound.delta,
        _name(bound.relation),
    )


def _plan_selection(config: SweepConfig, planner: Planner, runs: Sequence[SweepRun]) -> TuningCost:
    """The cost of the best of a random number of trials, whatever trials can be drawn."""
    candidates = _enumerate_candidates(config)
    said = _unite_departures(itertools.chain.from_iterable(candidates))
    cost = _bound_selection(config, candidates, planner, runs)
    return dataclasses.replace(cost, departures=said)


def _bound_selection(
    config: SweepConfig,
    candidates: Sequence[Sequence[RunConfig]],
    planner: Planner,
    runs: Sequence[SweepRun],
) -> TuningCost:
    objection = find_objection(itertools.chain.from_iterable(candidates))
    if objection is not None:
        return dataclasses.replace(objection, num_runs=0)
    planned = [[planner.cost(run) for run in candidate] for candidate in candidates]
    trials = [[c for c in costs if c is not None] for costs in planned]
    # Rounds that were computed again make a trial costlier than it was planned.
    trials += [_costs_of(trial, planner) for trial in _group(runs) if _has_begun(trial)]
    trials = [costs for costs in trials if costs]
    relations = {cost.relation for costs in trials for cost in costs}
    if not trials:
        return TuningCost(NOTHING)
    if len(relations) > 1:
        return TuningCost(
            NO_CLAIM, reason="trials have different neighbouring relations (--sampling)"
        )
    (relation,) = relations
    curves = [
        tuning.create_curve([event for cost in costs for event in cost.events], relation)
        for costs in trials
    ]
    curve = tuning.worst(curves)
    delta = max(cost.delta for costs in trials for cost in costs)
    distribution = tuning.TrialsDistribution(
        config.trials_distribution, config.num_trials, config.trials_shape
    )
    return TuningCost(
        SELECTED,
        0,
        tuning.repeat_and_select(curve, distribution).epsilon(delta),
        delta,
        _name(relation),
        single_epsilon=curve.epsilon(delta),
    )


def _unite_departures(configs: Iterable[RunConfig]) -> departures_lib.Departures:
    return departures_lib.unite(map(privacy_plan.find_departures, configs))


def _group(runs: Sequence[SweepRun]) -> list[list[SweepRun]]:
    """The runs of each trial."""
    return [list(group) for _, group in itertools.groupby(runs, key=lambda run: run.trial)]


def _has_begun(trial: Sequence[SweepRun]) -> bool:
    """Whether a run of a trial went so far as to look at its users."""
    return any(run.directory.config.exists() for run in trial)


def _costs_of(trial: Sequence[SweepRun], planner: Planner) -> list[tuning.RunCost]:
    """What the runs of a trial spent; of one that is not complete, what it was to, if more."""
    costs = []
    for run in trial:
        found = [_read(run)]
        if not run.directory.results.exists():
            found.append(planner.cost(run.config))
        found = [cost for cost in found if cost is not None]
        if found:
            costs.append(max(found, key=_epsilon_alone))
    return costs


def _epsilon_alone(cost: tuning.RunCost) -> float:
    return accounting.epsilon(cost.events, cost.delta, cost.relation)


def _enumerate_candidates(config: SweepConfig) -> list[list[RunConfig]]:
    """Every trial that can be drawn, as far as costs differ: its runs, one for each seed."""
    lists = [d for d in config.dimensions if d.name not in sweep_config.COSTLESS_FLAGS]
    others = {
        d.name: d.extremes[0] for d in config.dimensions if d.name in sweep_config.COSTLESS_FLAGS
    }
    if math.prod(len(dimension.values) for dimension in lists) > _MOST_CANDIDATES:
        raise errors.UserError(
            f"--trials_distribution={config.trials_distribution}: the worst of all runs that can "
            f"be drawn is to be found, and more than {_MOST_CANDIDATES} of them may differ in "
            "their privacy cost: name fewer values"
        )
    combinations = itertools.product(*(dimension.values for dimension in lists))
    return [
        [
            config.config_of(others | {d.name: v for d, v in zip(lists, values, strict=True)}, seed)
            for seed in config.seeds
        ]
        for values in combinations
    ]


def _find_costly(config: SweepConfig) -> list[str]:
    """The flags searched over that may change what a run costs."""
    names = [dimension.name for dimension in config.dimensions]
    if _plans_for_weights(config.base):
        return names
    return [name for name in names if name not in sweep_config.COSTLESS_FLAGS]


def _plans_for_weights(config: RunConfig) -> bool:
    """Whether the cost depends on the model's size and on the clip too."""
    return config.is_private and config.mechanism_kind.plans_for_weights


def _find_objection_of_extremes(config: SweepConfig) -> TuningCost | None:
    return find_objection(config.config_of(v, config.seeds[0]) for v in config.extremes)


def _read(run: SweepRun) -> tuning.RunCost | None:
    """What a run's ledger holds; None where no round was begun."""
    if not run.directory.ledger.exists() or not run.directory.has_rounds:
        return None
    contents = ledger_lib.read_ledger(run.directory.ledger)
    events = contents.spent_events()
    if not events:
        return None
    header = contents.header
    return tuning.RunCost(tuple(events), header.delta, header.mechanism.neighbouring_relation)


def _name(relation: Any) -> str:
    return relation.name.lower().replace("_", "-")
