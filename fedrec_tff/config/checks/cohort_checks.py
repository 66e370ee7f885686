"""Refuses cohorts that their law cannot draw, or that a secure sum cannot sum."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation import failure_config
from fedrec_tff.privacy import sampling

# Of fewer the sum says too much about one. Coins for 30 toss fewer with a probability of 5e-11.
_LEAST_CLIENTS = 3
_LEAST_EXPECTED_CLIENTS = 30


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
    _check_secure_cohorts(config)


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
