"""Refuses cohorts that their law cannot draw, or that a secure sum cannot sum."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.config import group_attendance
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation import failure_config
from fedrec_tff.privacy import sampling

# Of fewer the sum says too much about one. Coins for 30 toss fewer with a probability of 5e-11.
_LEAST_CLIENTS = 3
_LEAST_EXPECTED_CLIENTS = 30
_LAWS_OF_COINS = (sampling.POISSON, sampling.CYCLIC_POISSON)


def check(config: RunConfig) -> None:
    """Checks the law and the size of cohorts.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
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
    _check_attendance(config)
    _check_secure_cohorts(config)


def _check_attendance(config: RunConfig) -> None:
    """Refuses shares of rounds where one user's coin would move others, or bounds would break."""
    if config.group_attendance is None:
        return
    group_attendance.parse(config.group_attendance)
    law = config.sampling_law
    if config.is_private and law not in _LAWS_OF_COINS:
        raise errors.UserError(
            f"--group_attendance under differential privacy needs cohorts that are drawn by a coin "
            f"for each user, and --sampling={law} compares users' draws: use "
            f"--sampling={sampling.POISSON} or drop it"
        )
    if config.secure_sum != "plain":
        raise errors.UserError(
            f"--group_attendance makes cohorts smaller than --clients_per_round by a number that "
            f"nobody may know, and --secure_sum={config.secure_sum} needs {_LEAST_CLIENTS} clients "
            "or more: drop one of them"
        )


def _check_secure_cohorts(config: RunConfig) -> None:
    """Refuses cohorts that may be too small for a secure sum, which then would end the run."""
    law, clients = config.sampling_law, config.clients_per_round
    tosses_coins = law in _LAWS_OF_COINS
    if config.failure in failure_config.ABSENCES:
        tosses_coins, clients = True, clients * (1.0 - config.failure_rate)
    elif config.devices is not None and not config.is_buffered:
        tosses_coins, clients = True, clients * (1.0 - config.devices.dropout)
    least = _LEAST_EXPECTED_CLIENTS if tosses_coins else _LEAST_CLIENTS
    if config.secure_sum != "plain" and clients < least:
        raise errors.UserError(
            f"--clients_per_round={config.clients_per_round:g}: --secure_sum={config.secure_sum} "
            f"sums {_LEAST_CLIENTS} clients or more, and of {clients:g} expected ones "
            f"(--sampling={law}, --failure, --device_dropout) fewer may come: expect "
            f"at least {least}"
        )
