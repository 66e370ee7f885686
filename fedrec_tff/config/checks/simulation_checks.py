"""Refuses simulated attacks and failures that are out of range, or that void a guarantee."""

# Tested in tests/run/test_client_simulation.py.

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation import attack_config, failure_config
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import kinds


def check(config: RunConfig) -> None:
    """Checks the flags of attacks and failures.

    Attackers are part of the population, so clip and noise cover them, and honest users from them:
    but for those who know more of others than what was released. A failure leaves the guarantee
    alone if it does not change who may be in a round, or makes that less likely by a coin that does
    not depend on data.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if config.attack_config is not None:
        attack_config.validate(config.attack_config)
    if config.failure_config is not None:
        failure_config.validate(config.failure_config)
    _check_edges(config)
    if config.attack == attack_config.ALIE and config.secure_sum != "plain":
        raise errors.UserError(
            f"--attack=alie sums honest updates in the clear beside --secure_sum="
            f"{config.secure_sum}: drop one of them"
        )
    if config.attack in attack_config.PROMOTIONS:
        _check_promotion(config)
    if config.is_private:
        _check_attack_is_covered(config)
        _check_failure_is_covered(config)


def _check_edges(config: RunConfig) -> None:
    for flag, names in (
        ("attack", attack_config.WITH_MEMORY),
        ("failure", failure_config.WITH_MEMORY),
    ):
        if config.aggregator_chain.terminal.has_edges and getattr(config, flag) in names:
            raise errors.UserError(
                f"--{flag}={getattr(config, flag)} needs what the server kept of earlier rounds, "
                f"and --aggregator={config.aggregator_chain.name} keeps models at its edges: drop "
                "one of them"
            )


def _check_promotion(config: RunConfig) -> None:
    if config.item_features or config.user_features:
        flag = "item_features" if config.item_features else "user_features"
        raise errors.UserError(
            f"--attack={config.attack} knows of no features, and would attack another model than "
            f"--{flag} makes: drop one of them"
        )
    num_targets = config.attack_num_targets
    most = config.num_negatives
    if config.attack == attack_config.FEDRECATTACK:
        most = min(most, config.attack_num_rows)
    if num_targets > most:
        raise errors.UserError(
            f"--attack_num_targets={num_targets}: an attacker of --attack={config.attack} sends "
            f"{most} rows at most, by --num_negatives and --attack_num_rows: choose fewer targets"
        )


def _check_attack_is_covered(config: RunConfig) -> None:
    if config.attack is None:
        return
    if config.attack in attack_config.KNOWS_USERS:
        raise errors.UserError(
            f"--attack={config.attack} hands attackers {attack_config.KNOWS_USERS[config.attack]}, "
            "which no noise covers: under differential privacy choose another attack"
        )
    if config.mechanism_kind.draws_noise_on_devices:
        raise errors.UserError(
            f"--attack={config.attack}: {config.aggregator_name} clips and adds noise on the "
            "device, which an attacker would leave out, and here does not: choose one of "
            f"{', '.join(kinds.names_where(lambda kind: kind.trusts_server))}, or drop --attack"
        )


def _check_failure_is_covered(config: RunConfig) -> None:
    if config.failure in failure_config.SKEWED:
        raise errors.UserError(
            f"--failure={config.failure}: who takes part would follow from what users did, which "
            "the accounting does not cover: drop it under differential privacy"
        )
    if config.failure not in failure_config.ABSENCES:
        return
    if config.mechanism_kind.trusts_server and config.sampling_law == sampling.POISSON:
        # A smaller probability in the same law, by a public coin: epsilon is an upper bound.
        return
    covered = kinds.names_where(
        lambda kind: kind.trusts_server and sampling.POISSON in kind.samplings
    )
    raise errors.UserError(
        f"--failure={config.failure} changes the law of cohorts, and the cost of "
        f"{config.aggregator_name} with --sampling={config.sampling_law} is not known for that: "
        f"drop it, or choose {' or '.join(covered)} with --sampling=poisson"
    )
