"""Refuses simulated devices and clocks that contradict each other, or that void a guarantee."""

from fedrec_tff import errors
from fedrec_tff.config import target_quality
from fedrec_tff.config.checks import stopping_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import kinds

_LAWS_OF_COINS = (sampling.POISSON, sampling.CYCLIC_POISSON)


def check(config: RunConfig) -> None:
    """Checks the flags of devices.

    Under differential privacy a device that is away, drops out or misses a deadline is one that
    sent zeros: what it does follows from its user's own data and public draws. So the guarantee
    holds as it is, as long as nobody's data move anybody else or the clock.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if config.target_quality is not None:
        _check_target(config)
    if config.devices is None:
        return
    if config.failure is not None:
        raise errors.UserError(
            f"--device_profile={config.device_profile} has devices fail in its own way: drop "
            f"--failure={config.failure}, or the profile"
        )
    _check_whole_cohort(config)
    if config.is_buffered:
        _check_buffer(config)
    if config.is_private:
        _check_is_covered(config)
    if config.secure_sum != "plain" and not config.is_buffered:
        _check_secure_sum(config)


def _check_target(config: RunConfig) -> None:
    target = target_quality.parse(config.target_quality)
    known = stopping_checks.list_exact_metrics(config)
    release = config.evaluation_release
    if config.withhold_held_out_metrics:
        known = () if release is None else release.metric_names
    if target.metric not in known:
        raise errors.UserError(
            f"--target_quality={config.target_quality}: the validation of this run has "
            f"{', '.join(known) or 'no metric'}; name one of them, or drop it"
        )


def _check_whole_cohort(config: RunConfig) -> None:
    takes_a_number = config.is_buffered or config.over_selection > 1.0
    if takes_a_number and config.clients_per_round != int(config.clients_per_round):
        flag = "buffer_concurrency" if config.is_buffered else "over_selection"
        raise errors.UserError(
            f"--clients_per_round={config.clients_per_round}: with --{flag} the server counts "
            "reports, which takes a whole number"
        )


def _check_buffer(config: RunConfig) -> None:
    """Refuses what a buffer has no place for, or would get around."""
    flag = f"--buffer_concurrency={config.buffer_concurrency}"
    if config.is_private:
        raise errors.UserError(
            f"{flag}: who reports first follows from how much everybody has to do, so one user's "
            "data decide who else is in a buffer, and no cost is known for that: under "
            "differential privacy drop it, and bound rounds by --round_deadline_seconds"
        )
    if config.sampling_law != sampling.SHUFFLED_EPOCHS:
        raise errors.UserError(
            f"{flag} asks users in random orders, and not by --sampling={config.sampling_law}: "
            "drop one of them"
        )
    needless = {
        "over_selection": config.over_selection > 1.0,
        "round_deadline_seconds": config.round_deadline_seconds is not None,
        "group_attendance": config.group_attendance is not None,
        "max_rounds_per_user": config.max_rounds_per_user is not None,
    }
    for name, is_given in needless.items():
        if is_given:
            raise errors.UserError(f"{flag} has no rounds to which --{name} applies: drop it")
    if config.aggregator_chain.terminal.has_edges:
        raise errors.UserError(
            f"{flag} needs the models that the server kept of earlier rounds, and --aggregator="
            f"{config.aggregator_chain.name} keeps models at its edges: drop one of them"
        )
    if config.client_work.algorithm_traits.shares_statistics:
        raise errors.UserError(
            f"{flag}: --client_algorithm={config.client_algorithm} hands clients the statistics of "
            "the newest round, which an older model does not go with: drop one of them"
        )
    if config.num_stored_weights:
        raise errors.UserError(
            f"{flag}: with --personal_state=persistent a device fits what it keeps to the newest "
            "model, and here trains older ones: drop one of them, or "
            "--personal_state=reconstructed"
        )


def _check_is_covered(config: RunConfig) -> None:
    profile = f"--device_profile={config.device_profile}"
    if config.over_selection > 1.0:
        raise errors.UserError(
            f"--over_selection={config.over_selection:g} takes the first to report, so one user's "
            "data decide who else is in a round, and no cost is known for that: under differential "
            "privacy ask more by --clients_per_round, which is accounted, and give "
            "--round_deadline_seconds"
        )
    if config.round_deadline_seconds is None:
        raise errors.UserError(
            f"{profile}: a round that waits for its last client lasts as long as that user's data "
            "take, and who can be reached later follows from the time: under differential privacy "
            "add --round_deadline_seconds, and every round lasts so long"
        )
    if not config.mechanism_kind.trusts_server or config.sampling_law not in _LAWS_OF_COINS:
        covered = kinds.names_where(
            lambda kind: kind.trusts_server and set(_LAWS_OF_COINS) & set(kind.samplings)
        )
        raise errors.UserError(
            f"{profile} has clients come late and stay away, and the cost of "
            f"{config.aggregator_name} with --sampling={config.sampling_law} is not known for "
            f"that: drop it, or choose {', '.join(covered)} with --sampling="
            f"{' or '.join(_LAWS_OF_COINS)}"
        )


def _check_secure_sum(config: RunConfig) -> None:
    if config.round_deadline_seconds is not None or config.devices.day_ratio > 1.0:
        raise errors.UserError(
            f"--secure_sum={config.secure_sum} ends a run whose cohort is too small, and how many "
            "report by a deadline, or at an hour, is not known before: drop "
            "--round_deadline_seconds and give --device_day_ratio=1, or sum in the clear"
        )
