"""Refuses guarantees that contradict themselves, or that something would void."""

# Tested in tests/config/test_run_config.py.

from fedrec_tff import errors
from fedrec_tff.config.privacy_config import OF_SOME_MECHANISMS
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy.mechanisms import kinds


def check(config: RunConfig) -> None:
    """Checks the guarantee, its mechanism, and what else is released.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    _check_noise(config)
    if config.is_private and config.uses_popularity and config.popularity_release is None:
        raise errors.UserError(
            "exact popularity is a statistic of user data, which voids the guarantee of "
            "differential privacy: add --popularity_noise_multiplier, or drop "
            "--negative_sampling=popularity and --initial_bias=popularity"
        )
    if config.is_private and config.initial_model is not None:
        _check_initial_model(config)
    if config.withhold_held_out_metrics and config.finetuning_epochs:
        raise errors.UserError(
            "--finetuning_epochs: fine-tuned models are there to be measured by held-out "
            "interactions, which --withhold_held_out_metrics rules out: drop one of them"
        )
    _check_sampling(config)
    _check_mechanism_flags(config)
    _check_trust(config)
    _check_releases(config)


def _check_initial_model(config: RunConfig) -> None:
    if not config.initial_model_is_public:
        raise errors.UserError(
            f"--initial_model={config.initial_model}: a model that was fitted to these users voids "
            "the guarantee, unless what it cost them is added to it: drop it, or, if it is public "
            "or of other people, declare that by --initial_model_is_public"
        )


def _check_noise(config: RunConfig) -> None:
    """Refuses noise that is asked for twice, or not at all, or of an aggregator that adds none."""
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


def _check_sampling(config: RunConfig) -> None:
    """Refuses cohorts under which the cost of the mechanism is not known."""
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
    if not is_capped and config.max_rounds_per_user is not None:
        raise errors.UserError(
            "--max_rounds_per_user changes the law that cohorts follow, which only "
            f"{' and '.join(kinds.names_having('max_rounds_per_user'))} are accounted for: drop it"
        )


def _check_mechanism_flags(config: RunConfig) -> None:
    """Refuses what the mechanism has no use for, and half a deployment."""
    kind = config.mechanism_kind
    for flag in OF_SOME_MECHANISMS:
        if getattr(config, flag) is not None and not (kind is not None and kind.has(flag)):
            raise errors.UserError(
                f"--{flag} means nothing with --aggregator={config.aggregator_name}: drop it, or "
                f"choose one of {', '.join(kinds.names_having(flag))}"
            )
    if (config.noise_cohort_size is None) != (config.noise_population_size is None):
        raise errors.UserError(
            "--noise_cohort_size and --noise_population_size describe one deployment: give both"
        )


def _check_trust(config: RunConfig) -> None:
    """Refuses what would show the server more than a mechanism that does not trust it."""
    is_untrusting = config.is_private and not config.aggregator_chain.terminal.trusts_server
    if is_untrusting and config.release_non_private_metrics:
        raise errors.UserError(
            f"--release_non_private_metrics: under --aggregator={config.aggregator_name} devices "
            "send no exact statistics, for the server is not trusted: drop it"
        )
    kind = config.mechanism_kind
    if kind is not None and kind.draws_noise_on_devices and config.execution == "native":
        raise errors.UserError(
            f"--aggregator={kind.name} draws its noise in client work, and TFF's own runtime seeds "
            "that from 32 bits, which can be tried out: use --execution=compiled"
        )


def _check_releases(config: RunConfig) -> None:
    """Refuses releases that would not be covered by the guarantee that the run states."""
    given = config.release_flags
    if not given or not config.is_private:
        return
    if not config.aggregator_chain.terminal.trusts_server:
        raise errors.UserError(
            f"--{given[0]} trusts the server with exact sums, and --aggregator="
            f"{config.aggregator_name} is for those who don't: drop one of them"
        )
    if config.noise_cohort_size is not None:
        raise errors.UserError(
            f"--{given[0]} is about this data set's users, and --noise_cohort_size about a larger "
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
