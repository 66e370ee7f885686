"""From flags and a population to sampler and mechanism: what a run does to its users' data."""

# Tested in tests/config/test_run_config.py.

import dataclasses

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.privacy import accounting, calibration, mechanisms, sampling
from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy.mechanisms import terms as terms_lib

# Names of what a run may release besides its rounds.
CATALOGUE = "catalogue"
POPULARITY = "popularity"
EVALUATION = "evaluation"

_DEFAULT_MODULUS_BITS = 24
_DEFAULT_COLLUDING_CLIENTS = 1
# A row whose count just passes moves by threshold sqrt((1 - share) / share) standard deviations of
# the updates' noise if its users agree: 6, as much as that noise is long in 36 numbers.
_DEFAULT_ROW_CHOICE = {
    "histogram_share": 0.2,
    "rows_per_user": 50,
    "row_threshold": 3.0,
    "row_selection": terms_lib.RUN,
}


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
    """How users are drawn, what is done to what they send, and what else is released.

    Attributes:
      sampler: Sampler of the cohorts; None where it isn't known whose cohorts.
      sampling_probability: Probability that a given user is in a given round.
      mechanism: The private mechanism, or None for a run without differential privacy.
      max_clients: The most clients that a round may have.
      releases: Other releases about the users, under the same guarantee.
      departures: Departures that must be said with the run's epsilon; empty for a run without one.
    """

    sampler: sampling.CohortSampler | None
    sampling_probability: float
    mechanism: mechanisms.Mechanism | None
    max_clients: int
    releases: tuple[accounting.PlannedRelease, ...] = ()
    departures: departures_lib.Departures = departures_lib.NONE


def find_departures(config: RunConfig) -> departures_lib.Departures:
    """What must be said with the epsilon of a run.

    Args:
      config: The run's flags.

    Returns:
      Departures that void the epsilon, and assumptions behind it; none for a run without
      differential privacy.
    """
    if not config.is_private:
        return departures_lib.NONE
    return departures_lib.find_departures(
        departures_lib.Choices(
            config.mechanism_kind.name,
            has_deterministic_noise=config.insecure_deterministic_noise,
            has_secret_cohorts=config.has_secret_cohorts,
            simulates_deployment=config.noise_cohort_size is not None,
            catalogue_kind=config.catalogue_kind,
            has_public_roster=config.has_public_roster,
            has_edges=config.aggregator_chain.terminal.has_edges,
            keeps_weights_on_devices=bool(config.personal or config.finetuning_epochs),
            has_absent_devices=config.has_absent_devices,
            has_group_attendance=config.group_attendance is not None,
            has_initial_model=config.initial_model is not None,
        )
    )


def create_plan(
    config: RunConfig,
    num_clients: int,
    num_weights: int,
    noise_multiplier: float | None = None,
    draws: keyed_draws.KeyedDraws | None = None,
) -> PrivacyPlan:
    """Makes the plan; with a target epsilon, calibrates the noise for all that is planned.

    Args:
      config: The run's flags.
      num_clients: Size of the population.
      num_weights: Size of an update.
      noise_multiplier: Noise multiplier that an earlier session of this run was calibrated to, if
        there was one.
      draws: Keyed draws of the population, for its cohorts; None for a plan without a sampler.

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
    _check_enough_devices(config, num_clients)
    mechanism, releases = None, ()
    if config.is_private:
        mechanism, releases = _plan_mechanism(config, num_clients, num_weights, noise_multiplier)
    sampler = None if draws is None else create_sampler(config, draws)
    probability = config.clients_per_round / num_clients
    max_clients = sampling.bound_cohort_size(
        config.sampling_law, num_clients, config.clients_per_round, config.is_private
    )
    return PrivacyPlan(
        sampler, probability, mechanism, max_clients, releases, find_departures(config)
    )


def create_sampler(config: RunConfig, draws: keyed_draws.KeyedDraws) -> sampling.CohortSampler:
    """Creates what draws the cohorts of a run.

    Args:
      config: The run's flags.
      draws: Keyed draws of the population.

    Returns:
      The sampler.
    """
    return sampling.create_sampler(
        config.sampling_law,
        draws,
        config.num_asked,
        min_separation=config.min_separation,
        max_rounds_per_user=config.max_rounds_per_user,
    )


def _check_enough_devices(config: RunConfig, num_clients: int) -> None:
    """Refuses to ask more devices than there are."""
    if config.num_asked > num_clients:
        raise errors.UserError(
            f"--over_selection={config.over_selection:g}: {config.num_asked:g} users a round are "
            f"more than the {num_clients} there are: lower it, or --clients_per_round"
        )
    if config.is_buffered and config.buffer_concurrency + config.clients_per_round > num_clients:
        raise errors.UserError(
            f"--buffer_concurrency={config.buffer_concurrency}: with a buffer of "
            f"--clients_per_round={config.clients_per_round:g} all are busy of the {num_clients} "
            "users there are: lower one of them"
        )


def _plan_mechanism(
    config: RunConfig, num_clients: int, num_weights: int, noise_multiplier: float | None
) -> tuple[mechanisms.Mechanism, tuple[accounting.PlannedRelease, ...]]:
    if noise_multiplier is None:
        noise_multiplier = config.noise_multiplier
    mechanism = _create_mechanism(config, num_clients, num_weights, noise_multiplier or 0.0)
    releases = _plan_releases(config, mechanism)
    if noise_multiplier is None:
        calibrated = calibration.calibrate_noise_multiplier(
            mechanism, config.target_epsilon, config.target_delta, config.rounds, releases
        )
        mechanism = dataclasses.replace(mechanism, noise_multiplier=calibrated)
    return mechanism, releases


def _create_mechanism(
    config: RunConfig, num_clients: int, num_weights: int, noise_multiplier: float
) -> mechanisms.Mechanism:
    kind = config.mechanism_kind
    planned = {
        "rounds": config.rounds,
        "num_weights": num_weights,
        "modulus_bits": config.modulus_bits or _DEFAULT_MODULUS_BITS,
        "colluding_clients": _colluding_clients(config),
        **{
            field: default if (given := getattr(config, field)) is None else given
            for field, default in _DEFAULT_ROW_CHOICE.items()
        },
    }
    return mechanisms.Mechanism(
        name=kind.name,
        noise_multiplier=noise_multiplier,
        clip_norm=config.clip_norm,
        num_clients=num_clients,
        clients_per_round=config.clients_per_round,
        sampling=config.sampling_law,
        tower_clip_norm=config.tower_clip_norm,
        min_separation=config.min_separation,
        max_rounds_per_user=config.max_rounds_per_user,
        noise_cohort_size=config.noise_cohort_size,
        noise_population_size=config.noise_population_size,
        **{field: value for field, value in planned.items() if kind.has(field)},
    )


def _colluding_clients(config: RunConfig) -> int:
    if config.colluding_clients is None:
        return _DEFAULT_COLLUDING_CLIENTS
    return config.colluding_clients


def _plan_releases(
    config: RunConfig, mechanism: mechanisms.Mechanism
) -> tuple[accounting.PlannedRelease, ...]:
    relation = mechanism.neighbouring_relation
    planned = []
    if config.catalogue_release is not None:
        event = config.catalogue_release.event(relation)
        planned.append(accounting.PlannedRelease(CATALOGUE, event))
    if config.popularity_release is not None:
        event = config.popularity_release.event(relation)
        planned.append(accounting.PlannedRelease(POPULARITY, event))
    if config.evaluation_release is not None:
        event = config.evaluation_release.event(relation)
        planned.append(accounting.PlannedRelease(EVALUATION, event, config.num_evaluations))
    return tuple(planned)
