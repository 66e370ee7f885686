"""Plans a private run before it is trained: noise for a target epsilon, or epsilon for a noise.

  python -m experiments.plan_privacy --num_users=6040 --num_items=3706 --embedding_dim=16

A table over numbers of rounds and cohort sizes: noise multiplier, epsilon, noise on each weight of
the averaged update, and how large the signal can be beside it at best (if all users agreed), in a
round and over all of them. Then the best setting of the table and what would improve it. Takes
seconds and imports no TensorFlow. The numbers are those that experiments.train finds.
"""

import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.config import config_checks, data_config, field_spec, run_config
from fedrec_tff.privacy import accounting, departures, planning
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.run import privacy_plan
from fedrec_tff.studies.privacy_plan import text as plan_text

_DEFAULT_TARGET = 8.0
_DEFAULT_SHARES = (0.01, 0.04, 0.16)
# Noise under edges depends on how many there are, which is none of this table's columns.
_PRIVATE = [
    name
    for name in registry.names()
    if registry.get(name).is_private and not registry.get(name).has_edges
]

_NUM_USERS = flags.DEFINE_integer(
    "num_users",
    None,
    "Users who train.",
    required=True,
    lower_bound=1,
    upper_bound=field_spec.MOST,
)
_NUM_ITEMS = flags.DEFINE_integer(
    "num_items",
    None,
    "Items of the catalogue.",
    required=True,
    lower_bound=1,
    upper_bound=field_spec.MOST,
)
_ROUNDS = flags.DEFINE_list("rounds", ["100", "300", "1000"], "Numbers of rounds, by commas.")
_CLIENTS_PER_ROUND = flags.DEFINE_list(
    "clients_per_round",
    None,
    "Expected users in a round, by commas; by default 1, 4 and 16 % of all, but no more than a "
    "group of --min_separation has.",
)
_TARGET_EPSILON = flags.DEFINE_list(
    "target_epsilon",
    None,
    f"Epsilons that all rounds and other releases may cost, by commas; by default "
    f"{_DEFAULT_TARGET:g}, unless --noise_multiplier is given.",
)
_NOISE_MULTIPLIER = flags.DEFINE_float(
    "noise_multiplier", None, "Noise instead of a target: epsilon is what comes out."
)
_AGGREGATOR = flags.DEFINE_enum(
    "aggregator",
    kinds.DEFAULT.name,
    _PRIVATE,
    "; ".join(f"{name}: {registry.get(name).description}" for name in _PRIVATE),
)
_CATALOGUE = flags.DEFINE_enum(
    "catalogue",
    "data",
    data_config.CATALOGUES,
    "Origin of the items, as in experiments.train: a public table; the users' data, which is "
    "told as an assumption; or selected from these with noise, which is a part of epsilon.",
)
# What a run has under the same name.
_OF_RUN = field_flags.define(
    run_config.RunConfig,
    (
        *("embedding_dim", "num_blocks", "sampling", "min_separation", "max_rounds_per_user"),
        *("target_delta", "clip_norm", "tower_clip_norm", "roster"),
        *("noise_cohort_size", "noise_population_size", "modulus_bits", "colluding_clients"),
        *("popularity_noise_multiplier", "popularity_items_per_user"),
        *("catalogue_noise_multiplier", "catalogue_items_per_user", "catalogue_delta"),
        *("private_evaluation_noise_multiplier", "rounds_per_evaluation"),
    ),
)
flags.adopt_module_key_flags(field_flags)

_PLOT = flags.DEFINE_string("plot", None, "Also draw the plan into this file (PNG).")
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")


def main(argv: list[str]) -> None:
    """Plans, and prints the plan."""
    app.check_no_arguments(argv)
    plot = _find_plot_file()
    runs, said, problems = _plan_grid()
    by_target: dict[float | None, list[planning.PlannedRun]] = {}
    for run in runs:
        by_target.setdefault(run.setting.target_epsilon, []).append(run)
    advice = [planning.advise(group, _num_weights(dim_divisor=2)) for group in by_target.values()]
    found = plan_text.Plan(runs, advice, [*_warnings(runs[0], said), *problems], said)
    as_json = plan_text.to_json(found) if _JSON.value else None
    print(plan_text.to_text(found) if as_json is None else json.dumps(as_json, indent=2))
    if plot is not None:
        _draw(plot, runs)


def _plan_grid() -> tuple[list[planning.PlannedRun], departures.Departures, list[str]]:
    """Plans all settings; those that cannot be are told in a line each, unless all are so.

    Returns:
      The runs, what must be said with their epsilons, and what was left out.
    """
    targets: list[float | None] = [None]
    if _NOISE_MULTIPLIER.value is None or _TARGET_EPSILON.value is not None:
        targets = _numbers("target_epsilon", _TARGET_EPSILON.value or [_DEFAULT_TARGET], float)
    runs: list[planning.PlannedRun] = []
    left_out: dict[tuple[float, str], set[int]] = {}
    guess = 1.0
    for target in targets:
        for rounds in _numbers("rounds", _ROUNDS.value, int):
            for clients_per_round in _cohorts():
                try:
                    setting = _create_setting(rounds, clients_per_round, target)
                    runs.append(planning.plan(setting, guess))
                    guess = runs[-1].setting.mechanism.noise_multiplier or guess
                except errors.UserError as error:
                    left_out.setdefault((clients_per_round, str(error)), set()).add(rounds)
    if not runs:
        raise errors.UserError(next(iter(left_out))[1])
    problems = [
        f"left out: {clients_per_round:g} users a round "
        f"({', '.join(map(str, sorted(rounds)))} rounds): {error}"
        for (clients_per_round, error), rounds in left_out.items()
    ]
    # Whose the number is depends on flags that all settings share.
    return runs, privacy_plan.find_departures(_create_config(1, 1.0, None)), problems


def _create_config(
    rounds: int, clients_per_round: float, target_epsilon: float | None
) -> run_config.RunConfig:
    return run_config.RunConfig(
        # A table of one's own, of which nothing is read.
        dataset="csv",
        data_dir=".",
        item_table="." if _CATALOGUE.value == "table" else None,
        catalogue=_CATALOGUE.value,
        aggregator=_AGGREGATOR.value,
        rounds=rounds,
        clients_per_round=clients_per_round,
        target_epsilon=target_epsilon,
        noise_multiplier=_NOISE_MULTIPLIER.value,
        **{name: holder.value for name, holder in _OF_RUN.items()},
    )


def _create_setting(
    rounds: int, clients_per_round: float, target_epsilon: float | None
) -> planning.Setting:
    config = _create_config(rounds, clients_per_round, target_epsilon)
    config_checks.validate(config)
    num_weights = _num_weights()
    plan = privacy_plan.create_plan(
        config, _NUM_USERS.value, num_weights, config.noise_multiplier or 0.0
    )
    return planning.Setting(
        plan.mechanism, rounds, config.target_delta, num_weights, plan.releases, target_epsilon
    )


def _num_weights(dim_divisor: int = 1) -> int:
    config = run_config.RunConfig(
        embedding_dim=max(1, _OF_RUN["embedding_dim"].value // dim_divisor),
        num_blocks=_OF_RUN["num_blocks"].value,
    )
    return config.two_tower.num_weights(_NUM_ITEMS.value)


def _cohorts() -> list[float]:
    if _CLIENTS_PER_ROUND.value is None:
        # No more than a group has, where users are asked in groups.
        most = _NUM_USERS.value // (_OF_RUN["min_separation"].value or 1)
        wanted = [min(most, round(_NUM_USERS.value * share)) for share in _DEFAULT_SHARES]
        return sorted({float(max(1, number)) for number in wanted})
    return _numbers("clients_per_round", _CLIENTS_PER_ROUND.value, float)


def _numbers(name: str, values: Sequence[str], of_type: type) -> list[Any]:
    """Reads a list of positive numbers; each once, ascending."""
    try:
        numbers = sorted({of_type(value) for value in values})
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) and number > 0 for number in numbers):
        raise errors.UserError(
            f"--{name}={','.join(map(str, values))}: give positive numbers, separated by commas"
        )
    return numbers


def _warnings(run: planning.PlannedRun, said: departures.Departures) -> list[str]:
    mechanism = run.setting.mechanism
    warnings = []
    warning = accounting.delta_warning(run.setting.delta, mechanism.accounted_clients)
    if warning is not None:
        warnings.append(f"warning: {warning}")
    if said.voided_by == departures.SIMULATED:
        warnings.append(
            f"SIMULATED: epsilon is that of a deployment with {mechanism.accounted_clients} users, "
            f"{mechanism.accounted_clients_per_round:g} in a round; the {mechanism.num_clients} "
            "users here have no guarantee of it"
        )
    return warnings


def _draw(path: pathlib.Path, runs: Sequence[planning.PlannedRun]) -> None:
    from fedrec_tff.studies.privacy_plan import plots as privacy_plots

    longest = max(run.setting.rounds for run in runs)
    curves = []
    for run in runs:
        mechanism = run.setting.mechanism
        if run.setting.rounds == longest:
            label = f"{mechanism.clients_per_round:g} users, noise {mechanism.noise_multiplier:.3g}"
            curves.append(planning.epsilon_curve(run, label))
    targets = sorted({run.setting.target_epsilon for run in runs} - {None})
    privacy_plots.save_plan(path, curves, runs, targets)


def _find_plot_file() -> pathlib.Path | None:
    """The file to draw into; refused now if it cannot be written."""
    if _PLOT.value is None:
        return None
    path = pathlib.Path(_PLOT.value)
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise errors.UserError(
            f"--plot={path}: no file can be written there; name one in a folder that exists"
        )
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise errors.UserError(f"--plot={path}: the name must end with .png, .pdf or .svg")
    return path


if __name__ == "__main__":
    app.run(main)
