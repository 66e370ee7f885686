"""From a run's flags and plan to what a builder of an aggregator may need to know."""

from fedrec_tff.aggregators import registry
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import privacy_plan


def create_context(
    config: RunConfig,
    plan: privacy_plan.PrivacyPlan,
    num_items: int,
    *,
    row_sparse: bool,
    max_sent_rows: int | None = None,
) -> registry.AggregatorContext:
    """Creates the context of a run's aggregator, wherever that is built.

    Args:
      config: The run's flags.
      plan: Sampler and mechanism.
      num_items: Size of the catalogue.
      row_sparse: Whether clients send the rows that they touch, and no others.
      max_sent_rows: The most rows that a round's clients may send together, where these are to be
        summed; None where the whole table is.

    Returns:
      The context.
    """
    return registry.AggregatorContext(
        num_items=num_items,
        clients_per_round=config.clients_per_round,
        row_sparse=row_sparse,
        mechanism=plan.mechanism,
        insecure_noise_seed=config.seed if config.insecure_deterministic_noise else None,
        max_clients=plan.max_clients,
        clip_norm=config.clip_norm,
        seed=config.seed,
        model=config.two_tower,
        server_sees_sums=config.server_sees_sums,
        max_sent_rows=max_sent_rows,
    )
