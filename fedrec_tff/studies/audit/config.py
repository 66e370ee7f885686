"""What can be chosen about an audit, besides the run that it audits; without TensorFlow."""

# Tested in tests/studies/audit/test_audit_session.py.

import dataclasses
from collections.abc import Callable

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy.mechanisms import kinds

CANARY = "canary"
MEMBERSHIP = "membership"
ADJACENT = "adjacent"
ATTACKS = (CANARY, MEMBERSHIP, ADJACENT)

# Takes from a budget over runs what an audit costs.
ChargeFn = Callable[[], None]

_FEWEST_CANARIES = 20
_MOST_CANARIES = 1_000_000
_MOST_SHADOW_MODELS = 1_000
_LARGEST_CANARY_NORM = 1e6
_FEWEST_RUNS = 12


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """How to attack.

    Attributes:
      attack: Kind of audit, one of `ATTACKS`.
      num_canaries: Canaries that join the population (`canary`).
      canary_norm: Norm of what canaries send, in multiples of the clip norm: larger than 1, so that
        it has to be clipped (`canary`).
      num_shadow_models: Further models to train, to calibrate losses by (`membership`).
      num_runs: Runs to train on each of two data sets, to tell them apart; 0 for none (`adjacent`).
      rounds_per_run: Rounds of each of them, at most (`adjacent`).
      confidence: Confidence with which lower bounds hold.
    """

    attack: str = CANARY
    num_canaries: int = 1000
    canary_norm: float = 10.0
    num_shadow_models: int = 0
    num_runs: int = 60
    rounds_per_run: int = 3
    confidence: float = 0.95

    @property
    def own_fields(self) -> dict[str, tuple[str, ...]]:
        """By attack, the fields that mean something to it alone."""
        return {
            CANARY: ("num_canaries", "canary_norm"),
            MEMBERSHIP: ("num_shadow_models",),
            ADJACENT: ("num_runs", "rounds_per_run"),
        }


def validate(audit: AuditConfig, config: RunConfig) -> None:
    """Refuses what is out of range, or cannot be audited.

    Args:
      audit: Settings of the audit.
      config: The run, valid by itself.

    Raises:
      UserError: At the first mistake.
    """
    if audit.num_canaries < _FEWEST_CANARIES:
        raise errors.UserError(
            f"--num_canaries={audit.num_canaries}: fewer than {_FEWEST_CANARIES} prove nothing"
        )
    if audit.num_canaries > _MOST_CANARIES:
        raise errors.UserError(
            f"--num_canaries={audit.num_canaries}: must be at most {_MOST_CANARIES}"
        )
    if not 0.5 <= audit.confidence < 1.0:
        raise errors.UserError(f"--confidence={audit.confidence:g}: must be in [0.5, 1)")
    if not 1.0 <= audit.canary_norm <= _LARGEST_CANARY_NORM:
        raise errors.UserError(
            f"--canary_norm={audit.canary_norm:g}: must be at least 1 and at most "
            f"{_LARGEST_CANARY_NORM:g}, in multiples of --clip_norm"
        )
    if not 0 <= audit.num_shadow_models <= _MOST_SHADOW_MODELS or audit.num_shadow_models % 2:
        raise errors.UserError(
            f"--num_shadow_models={audit.num_shadow_models}: must be even, because each is trained "
            "on a random half of the users, or on the other half, and at most "
            f"{_MOST_SHADOW_MODELS}"
        )
    if audit.num_runs and audit.num_runs < _FEWEST_RUNS:
        raise errors.UserError(
            f"--num_runs={audit.num_runs}: fewer than {_FEWEST_RUNS} prove nothing; 0 trains none"
        )
    if audit.num_runs < 0 or audit.rounds_per_run < 1:
        raise errors.UserError("--num_runs must be at least 0, and --rounds_per_run at least 1")
    if config.catalogue_release is not None:
        raise errors.UserError(
            "--catalogue=selected: an audit chooses no catalogue; audit the run with "
            "--catalogue=table or data"
        )
    if config.group_attendance is not None:
        raise errors.UserError(
            "--group_attendance: epsilon is stated for users who come to all of their rounds, so "
            "an audit looks at these: audit the run without it"
        )
    _check_fields_belong(audit)
    if audit.attack == ADJACENT:
        _check_adjacent(config)
        return
    chain = config.aggregator_chain
    if audit.attack == CANARY and chain.terminal.has_edges:
        raise errors.UserError(
            f"--aggregator={chain.name}: canaries are looked for in the sum of an aggregator "
            "without edges: --attack=adjacent audits edges, or audit "
            f"{kinds.DEFAULT.name} in its place"
        )
    _check_run(config)


def check_rounds(audit: AuditConfig, config: RunConfig, num_weights: int) -> None:
    """Refuses more rounds than can be told apart.

    Args:
      audit: Settings of the audit.
      config: The run.
      num_weights: Number of the model's weights.

    Raises:
      UserError: If there are.
    """
    if audit.attack == CANARY and config.rounds > num_weights:
        raise errors.UserError(
            f"--rounds={config.rounds}: an audit tells at most as many rounds apart as the model "
            f"has weights, {num_weights}: choose fewer"
        )


def _check_fields_belong(audit: AuditConfig) -> None:
    for attack, names in audit.own_fields.items():
        for name in names:
            is_set = getattr(audit, name) != getattr(AuditConfig, name)
            if attack != audit.attack and is_set:
                raise errors.UserError(
                    f"--{name} means nothing with --attack={audit.attack}: drop it, or "
                    f"--attack={attack}"
                )


def _check_adjacent(config: RunConfig) -> None:
    """What promises nothing about its users cannot be held to it."""
    if not config.is_private:
        raise errors.UserError(
            "--attack=adjacent asks whether a run keeps its claim, and this one makes none: give "
            "--target_epsilon or --noise_multiplier"
        )
    _check_is_no_simulation(config)
    if config.model is not None or config.aggregator_chain.has_plugin:
        raise errors.UserError(
            "--attack=adjacent audits the builds that come with the project: drop --model and "
            "aggregators of your own; `experiments.aggregators check` is for these"
        )


def _check_is_no_simulation(config: RunConfig) -> None:
    if config.noise_cohort_size is not None:
        raise errors.UserError(
            "--noise_cohort_size simulates the noise of a larger deployment, so the run claims "
            "nothing about its own users: audit without it"
        )


def _check_run(config: RunConfig) -> None:
    _check_is_no_simulation(config)
    for name in (
        "popularity_noise_multiplier",
        "private_evaluation_noise_multiplier",
        "initial_bias",
        "initial_embedding",
        "initial_model",
        "item_embedding",
        "item_features",
        "user_features",
        "negative_sampling",
        "averaging_decay",
        "client_algorithm",
        "client_learning_rate_schedule",
        "server_learning_rate_schedule",
        "attack",
        "failure",
        "device_profile",
        "personal_tower",
        "finetuning_epochs",
        "released_model",
        "early_stopping_patience",
    ):
        if getattr(config, name) != getattr(RunConfig, name):
            raise errors.UserError(
                f"--{name}: this attack is on what training releases alone: drop it, or "
                "--attack=adjacent"
            )
