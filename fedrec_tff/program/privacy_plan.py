"""From flags and a population to sampler and mechanism: what a run does to its users' data."""

import dataclasses

from fedrec_tff import errors
from fedrec_tff.privacy import calibration, mechanisms, sampling
from fedrec_tff.program.config import RunConfig


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
    """How users are drawn, and what is done to what they send.

    Attributes:
      sampler: Draws the cohorts.
      sampling_probability: With which a given user is in a given round.
      mechanism: The private mechanism, or None for a run without differential privacy.
    """

    sampler: sampling.CohortSampler
    sampling_probability: float
    mechanism: mechanisms.Mechanism | None


def create_plan(
    config: RunConfig, num_clients: int, noise_multiplier: float | None = None
) -> PrivacyPlan:
    """Makes the plan; with a target epsilon, calibrates the noise for all planned rounds.

    Args:
      config: The run's flags.
      num_clients: Size of the population.
      noise_multiplier: What an earlier session of this run was calibrated to, if there was one.

    Returns:
      The plan.

    Raises:
      UserError: If the cohort is larger than the population, or the target is out of reach.
    """
    if config.clients_per_round > num_clients:
        raise errors.UserError(
            f"--clients_per_round={config.clients_per_round:g} is more than the {num_clients} "
            "training users there are"
        )
    probability = config.clients_per_round / num_clients
    sampler = sampling.create_sampler(
        config.sampling, num_clients, config.clients_per_round, config.seed
    )
    mechanism = None
    if config.is_private:
        mechanism = _create_mechanism(config, num_clients, noise_multiplier)
    return PrivacyPlan(sampler, probability, mechanism)


def _create_mechanism(
    config: RunConfig, num_clients: int, noise_multiplier: float | None
) -> mechanisms.Mechanism:
    if noise_multiplier is None:
        noise_multiplier = config.noise_multiplier
    mechanism = mechanisms.Mechanism(
        name=config.aggregator_name,
        noise_multiplier=noise_multiplier or 0.0,
        clip_norm=config.clip_norm,
        num_clients=num_clients,
        clients_per_round=config.clients_per_round,
        sampling=config.sampling,
    )
    if noise_multiplier is not None:
        return mechanism
    calibrated = calibration.calibrate_noise_multiplier(
        mechanism, config.target_epsilon, config.target_delta, config.rounds
    )
    return dataclasses.replace(mechanism, noise_multiplier=calibrated)
