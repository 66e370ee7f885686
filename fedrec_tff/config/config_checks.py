"""Refuses flags that are out of range, or that contradict each other, before anything is read."""

# Tested in tests/config/test_run_config.py and tests/across_rooms/test_extreme_flags.py.

import dataclasses
import math
import re
from typing import Any

from fedrec_tff import errors
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.aggregators.aggregator import WRAPPER
from fedrec_tff.config import (
    algorithm_checks,
    loss_flags,
    model_flags,
    personal_checks,
    simulation_checks,
)
from fedrec_tff.config.run_config import ROUND_RANGE, FieldSpec, RunConfig
from fedrec_tff.learning.simulation import failure_config
from fedrec_tff.models.towers import catalogue as towers
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import base, kinds

# Of fewer the sum says too much about one. Coins for 30 toss fewer with a probability of 5e-11.
_LEAST_CLIENTS = 3
_LEAST_EXPECTED_CLIENTS = 30
# The flags that only some mechanisms have a use for.
_OF_SOME_MECHANISMS = (
    "tower_clip_norm",
    "noise_cohort_size",
    "noise_population_size",
    "colluding_clients",
    "modulus_bits",
)
# The normal numbers among 32-bit floats, in which computations are.
_SMALLEST_FLOAT, _LARGEST_FLOAT = 1.2e-38, 3.4e38
_DEVICE = re.compile(r"cpu|(gpu|tpu)(:\d{1,4})?")


def validate(config: RunConfig) -> None:
    """Refuses values that are out of range, and combinations that contradict each other.

    Args:
      config: What to check.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    for field in dataclasses.fields(config):
        check_range(field.name, getattr(config, field.name), field.metadata["spec"])
    _check_aggregator(config)
    if _DEVICE.fullmatch(config.device) is None:
        raise errors.UserError(f"--device={config.device}: choose cpu, gpu, gpu:N, tpu or tpu:N")
    _check_privacy(config)
    _check_population(config)
    _check_profile(config)
    _check_data(config)
    model_flags.check(config)
    _check_flags_mean_something(config)
    if config.embedding_dim % config.num_heads:
        raise errors.UserError(
            f"--num_heads={config.num_heads} does not divide --embedding_dim={config.embedding_dim}"
        )
    loss_flags.check(config)
    for side in ("client", "server"):
        if getattr(config, f"{side}_momentum") and getattr(config, f"{side}_optimizer") != "sgd":
            raise errors.UserError(
                f"--{side}_momentum is of sgd alone: drop it, or --{side}_optimizer=sgd"
            )
    _check_cohorts(config)
    _check_secure_cohorts(config)
    simulation_checks.check(config)
    algorithm_checks.check(config)
    personal_checks.check(config)


def _check_aggregator(config: RunConfig) -> None:
    chain = config.aggregator_chain
    if config.tower_clip_norm is not None:
        chain_lib.check_tower_clip(chain)
    if config.secure_sum == "plain":
        return
    if not (chain.terminal.uses_secure_sum or chain.terminal.is_plugin):
        raise errors.UserError(
            f"--secure_sum={config.secure_sum} means nothing with --aggregator={chain.name}, which "
            "sums no integers securely: drop it, or choose secure_mean, "
            + " or ".join(kinds.names_where(lambda kind: kind.noise_source == base.COHORT))
        )
    for step in chain.steps:
        if step.kind == WRAPPER and not step.is_plugin:
            raise errors.UserError(
                f"--secure_sum={config.secure_sum}: {step.name} counts clients by their norms in "
                "the clear, beside the secure sum: leave it out, or use clip"
            )
    if config.execution == "native":
        raise errors.UserError(
            f"--secure_sum={config.secure_sum}: TFF's own runtime has no secure sums; use "
            "--execution=compiled"
        )


def _check_secure_cohorts(config: RunConfig) -> None:
    """Refuses cohorts that may be too small for a secure sum, which then would end the run."""
    law, clients = config.sampling_law, config.clients_per_round
    tosses_coins = law in (sampling.POISSON, sampling.CYCLIC_POISSON)
    if config.failure in failure_config.ABSENCES:
        tosses_coins, clients = True, clients * (1.0 - config.failure_rate)
    least = _LEAST_EXPECTED_CLIENTS if tosses_coins else _LEAST_CLIENTS
    if config.secure_sum != "plain" and clients < least:
        raise errors.UserError(
            f"--clients_per_round={config.clients_per_round:g}: --secure_sum={config.secure_sum} "
            f"sums {_LEAST_CLIENTS} clients or more, and of {clients:g} expected ones "
            f"(--sampling={law}, --failure) fewer may come: expect at least {least}"
        )


def _check_population(config: RunConfig) -> None:
    """Refuses a budget over runs for what has no epsilon of the users at hand."""
    if config.population_ledger is None:
        return
    objections = {
        "is not private, so no budget is enough: add --target_epsilon, or drop": (
            not config.is_private
        ),
        "has noise that can be predicted (--insecure_deterministic_noise), so no epsilon: drop": (
            config.insecure_deterministic_noise
        ),
        "has cohorts that can be predicted (--insecure_seeded_cohorts), so no epsilon: drop": (
            config.insecure_seeded_cohorts
        ),
        "has the epsilon of a larger deployment (--noise_cohort_size), and none of these users: "
        "drop": config.noise_cohort_size is not None,
    }
    for text, applies in objections.items():
        if applies:
            raise errors.UserError(f"--population_ledger: this run {text} one of them")
    if config.resume_copy:
        raise errors.UserError(
            "--resume_copy: nobody knows what another copy of the run spends of the budget of "
            "--population_ledger: go on where the run was, or begin a new one"
        )


def _check_cohorts(config: RunConfig) -> None:
    law = config.sampling_law
    is_whole = config.clients_per_round == int(config.clients_per_round)
    if law in (sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS) and not is_whole:
        raise errors.UserError(
            f"--clients_per_round={config.clients_per_round}: --sampling={law} needs a whole number"
        )
    if law == sampling.CYCLIC_POISSON and config.min_separation is None:
        raise errors.UserError(f"--sampling={law} needs --min_separation")
    if law != sampling.CYCLIC_POISSON and config.min_separation is not None:
        raise errors.UserError(
            f"--min_separation means nothing with --sampling={law}: drop it, or "
            f"--sampling={sampling.CYCLIC_POISSON}"
        )


def _check_flags_mean_something(config: RunConfig) -> None:
    """Refuses a flag that was changed although nothing reads it."""
    idle = {
        "--dataset=csv": (
            config.dataset != "csv",
            (
                *("item_column", "time_column", "value_column", "column_names"),
                *("item_table", "user_table"),
            ),
        ),
        "--dataset=csv or --roster": (
            config.dataset != "csv" and config.roster is None,
            ("user_column",),
        ),
        "--user_features": (not config.user_features, ("user_table",)),
        "--item_features or --user_features": (
            not (config.item_features or config.user_features),
            ("feature_buckets",),
        ),
        "--dataset=synthetic": (
            config.dataset != "synthetic",
            ("synthetic_users", "synthetic_items"),
        ),
        "--target_epsilon or --noise_multiplier": (
            not config.is_private,
            (
                "target_delta",
                "insecure_deterministic_noise",
                "release_non_private_metrics",
                "withhold_held_out_metrics",
                "popularity_noise_multiplier",
                "private_evaluation_noise_multiplier",
                "insecure_seeded_cohorts",
                "resume_copy",
            ),
        ),
        "--population_ledger": (
            config.population_ledger is None,
            ("population_epsilon", "population_delta"),
        ),
        "an aggregator that clips (clip, secure_mean, or one with --noise_multiplier)": (
            not any(a.is_private or a.uses_clip_norm for a in config.aggregator_chain.aggregators),
            ("clip_norm",),
        ),
        "a query tower with weights (--num_blocks above 0)": (
            config.model is None and not config.two_tower.tower,
            ("tower_clip_norm",),
        ),
        "--query_tower=attention": (config.query_tower != towers.ATTENTION, ("num_heads",)),
        "--query_tower=gru or attention": (
            config.model is None and not config.two_tower.is_causal,
            ("dropout",),
        ),
        "--popularity_noise_multiplier": (
            config.popularity_noise_multiplier is None,
            ("popularity_items_per_user",),
        ),
        "--catalogue=selected": (
            config.catalogue_kind != "selected",
            ("catalogue_noise_multiplier", "catalogue_items_per_user", "catalogue_delta"),
        ),
        "--execution=compiled": (
            config.execution != "compiled",
            ("device", "num_parallel_shards", "clients_per_block"),
        ),
        "--server_optimizer=adam, adagrad or yogi": (
            config.server_optimizer == "sgd",
            ("server_epsilon",),
        ),
    }
    for needed, (is_idle, names) in idle.items():
        for name in names:
            if is_idle and getattr(config, name) != getattr(RunConfig, name):
                raise errors.UserError(
                    f"--{name} means nothing without {needed}: drop it, or add that"
                )


def check_range(name: str, value: Any, spec: FieldSpec) -> None:
    """Refuses a value that its specification does not allow.

    Args:
      name: The flag.
      value: Its value.
      spec: What it may be.

    Raises:
      UserError: If it is none of the choices, not finite, out of range, or no 32-bit float.
    """
    if value is not None and spec.choices is not None and value not in spec.choices:
        raise errors.UserError(f"--{name}={value}: choose one of {', '.join(spec.choices)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise errors.UserError(f"--{name}={value}: must be a finite number")
    if spec.low is not None and (
        value < spec.low or (value == spec.low and not spec.low_is_allowed)
    ):
        bound = "at least" if spec.low_is_allowed else "more than"
        raise errors.UserError(f"--{name}={value}: must be {bound} {_write(spec.low)}")
    if spec.high is not None and value > spec.high:
        raise errors.UserError(f"--{name}={value}: must be at most {_write(spec.high)}")
    if value and not _SMALLEST_FLOAT <= abs(value) <= _LARGEST_FLOAT:
        raise errors.UserError(
            f"--{name}={value}: must be 0 or between {_SMALLEST_FLOAT:g} and {_LARGEST_FLOAT:g} in "
            "size, for computations are in 32-bit floats"
        )


def _write(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _check_privacy(config: RunConfig) -> None:
    if config.target_epsilon is not None and config.noise_multiplier is not None:
        raise errors.UserError(
            "--target_epsilon and --noise_multiplier contradict each other: the target determines "
            "the noise; give one of them"
        )
    name = config.aggregator_name
    if config.is_private and not config.asks_for_privacy:
        raise errors.UserError(
            f"--aggregator={name} needs noise: give --target_epsilon or --noise_multiplier"
        )
    objection = config.aggregator_chain.terminal.not_private_because
    if config.asks_for_privacy and not config.is_private:
        raise errors.UserError(
            f"--aggregator={name} adds no noise, so --target_epsilon and --noise_multiplier mean "
            "nothing with it"
            + (f" ({objection})" if objection is not None else "")
            + f": drop them, or --aggregator={kinds.DEFAULT.name}"
        )
    if config.is_private and config.uses_popularity and config.popularity_release is None:
        raise errors.UserError(
            "exact popularity is a statistic of user data, which voids the guarantee of "
            "differential privacy: add --popularity_noise_multiplier, or drop "
            "--negative_sampling=popularity and --initial_bias=popularity"
        )
    if config.is_private and config.k_core > 1:
        raise errors.UserError(
            "--k_core drops users and items because of what other users did, which no noise "
            "covers: drop it under differential privacy, or hand in data that were filtered before"
        )
    if config.is_private and config.split == "global_time":
        raise errors.UserError(
            "--split=global_time cuts where the times of all users say, which no noise covers: "
            "under differential privacy choose --split=leave_last_out or --split=unseen_users"
        )
    if config.withhold_held_out_metrics and config.finetuning_epochs:
        raise errors.UserError(
            "--finetuning_epochs: fine-tuned models are there to be measured by held-out "
            "interactions, which --withhold_held_out_metrics rules out: drop one of them"
        )
    _check_mechanism_flags(config)
    _check_releases(config)


def _check_mechanism_flags(config: RunConfig) -> None:
    """Refuses what a mechanism lacks, or has no use for."""
    kind = config.mechanism_kind
    if kind is not None and config.sampling_law not in kind.samplings:
        raise errors.UserError(
            f"--sampling={config.sampling_law}: the privacy cost of {kind.name} is not known for "
            "it; choose " + " or ".join(kind.samplings)
        )
    is_capped = kind is not None and kind.has("max_rounds_per_user")
    if is_capped and config.max_rounds_per_user is None:
        raise errors.UserError(
            f"--aggregator={kind.name} needs --max_rounds_per_user: each report of a user costs"
        )
    for flag in _OF_SOME_MECHANISMS:
        if getattr(config, flag) is not None and not (kind is not None and kind.has(flag)):
            raise errors.UserError(
                f"--{flag} means nothing with --aggregator={config.aggregator_name}: drop it, or "
                f"choose one of {', '.join(kinds.names_having(flag))}"
            )
    if config.max_rounds_per_user is not None and not is_capped:
        raise errors.UserError(
            "--max_rounds_per_user changes the law that cohorts follow, which only "
            f"{' and '.join(kinds.names_having('max_rounds_per_user'))} are accounted for: drop it"
        )
    is_untrusting = config.is_private and not config.aggregator_chain.terminal.trusts_server
    if is_untrusting and config.release_non_private_metrics:
        raise errors.UserError(
            f"--release_non_private_metrics: under --aggregator={config.aggregator_name} devices "
            "send no exact statistics, for the server is not trusted: drop it"
        )
    if (config.noise_cohort_size is None) != (config.noise_population_size is None):
        raise errors.UserError(
            "--noise_cohort_size and --noise_population_size describe one deployment: give both"
        )
    if kind is not None and kind.draws_noise_on_devices and config.execution == "native":
        raise errors.UserError(
            f"--aggregator={kind.name} draws its noise in client work, and TFF's own runtime seeds "
            "that from 32 bits, which can be tried out: use --execution=compiled"
        )


def _check_releases(config: RunConfig) -> None:
    """Refuses releases that would not be covered by the guarantee that the run states."""
    given = [
        f"--{flag}"
        for flag in (
            "popularity_noise_multiplier",
            "catalogue_noise_multiplier",
            "private_evaluation_noise_multiplier",
        )
        if getattr(config, flag) is not None
    ]
    if not given or not config.is_private:
        return
    if not config.aggregator_chain.terminal.trusts_server:
        raise errors.UserError(
            f"{given[0]} trusts the server with exact sums, and --aggregator="
            f"{config.aggregator_name} is for those who don't: drop one of them"
        )
    if config.noise_cohort_size is not None:
        raise errors.UserError(
            f"{given[0]} is about this data set's users, and --noise_cohort_size about a larger "
            "deployment's: drop one of them"
        )
    if config.private_evaluation_noise_multiplier is not None:
        if config.user_features:
            raise errors.UserError(
                "--private_evaluation_noise_multiplier measures the model without what is known of "
                "users: drop it, or --user_features"
            )
        from fedrec_tff.privacy import releases

        releases.check_evaluation_split(config.split)


def _check_profile(config: RunConfig) -> None:
    if config.profile_rounds is None:
        return
    matched = ROUND_RANGE.fullmatch(config.profile_rounds)
    first, last = config.rounds_to_profile if matched else (1, 0)
    if not 1 <= first <= last <= config.rounds:
        raise errors.UserError(
            f"--profile_rounds={config.profile_rounds}: give a round or a range of rounds within "
            f"1 to {config.rounds}, as in 3 or 3-5"
        )
    if config.is_private and not config.release_non_private_metrics:
        raise errors.UserError(
            "--profile_rounds shows how long users' work took, which differential privacy does not "
            "cover: add --release_non_private_metrics, or drop it"
        )


def _check_data(config: RunConfig) -> None:
    if config.dataset in ("csv", "adjacency") and config.data_dir is None:
        raise errors.UserError(f"--dataset={config.dataset} needs --data_dir")
    if config.dataset == "synthetic" and config.data_dir is not None:
        raise errors.UserError("--data_dir means nothing with --dataset=synthetic: drop it")
    if (config.split == "published") != (config.dataset == "adjacency"):
        raise errors.UserError(
            f"--dataset={config.dataset} --split={config.split}: adjacency sets have no order in "
            "time and come with a published split, the others do not; use both or neither"
        )
    if config.catalogue == "selected":
        _check_selected_catalogue(config)
    if config.catalogue == "table" and not config.has_item_table:
        raise errors.UserError(
            f"--catalogue=table: --dataset={config.dataset} comes without a table of its items: "
            + ("add --item_table" if config.dataset == "csv" else "use --catalogue=data")
        )


def _check_selected_catalogue(config: RunConfig) -> None:
    if not config.is_private:
        raise errors.UserError(
            "--catalogue=selected spends a privacy budget: add --target_epsilon or "
            "--noise_multiplier, or use --catalogue=data"
        )
    if config.catalogue_noise_multiplier is None:
        raise errors.UserError("--catalogue=selected needs --catalogue_noise_multiplier")
    if (config.catalogue_delta or 0.0) >= config.target_delta:
        raise errors.UserError(
            f"--catalogue_delta={config.catalogue_delta:g} is a part of --target_delta="
            f"{config.target_delta:g}: choose a smaller one"
        )
