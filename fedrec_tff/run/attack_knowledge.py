"""What attackers of a run are given to know, as the paper of their attack assumes it."""

# Tested in tests/run/test_client_simulation.py.

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.learning.simulation import attack_config
from fedrec_tff.learning.simulation.promotion import fedrecattack, pieck, pipattack
from fedrec_tff.learning.simulation.promotion import promotion as promotion_lib

# What is drawn.
_PUBLIC = "public interactions"
_KNOWN = "known users"
# Of public users, how many attackers reckon with: what is more costs time and changes little.
_MOST_KNOWN = 1000


def create_promotion(
    config: RunConfig,
    targets: tuple[int, ...],
    train: Sequences,
    num_items: int,
    draws: keyed_draws.KeyedDraws,
) -> promotion_lib.Promotion | None:
    """Creates the part of an attack that was made for recommenders.

    Args:
      config: The run's flags, with an attack.
      targets: Items to promote.
      train: The training data, one row per user.
      num_items: Size of the catalogue.
      draws: Keyed draws of the training users; public.

    Returns:
      The promotion; None for an attack that is none.

    Raises:
      UserError: If attackers would know nothing.
    """
    attack = config.attack_config
    if attack.name not in attack_config.PROMOTIONS:
        return None
    scale = attack.resolve_scale(config.clients_per_round)
    aim = promotion_lib.Aim(config.two_tower, targets, config.client_learning_rate, scale)
    if attack.name == attack_config.PIECK_IPE:
        return pieck.PieckIpe(aim, attack.num_popular, attack.mining)
    if attack.name == attack_config.PIECK_UEA:
        return pieck.PieckUea(aim, attack.num_popular, attack.mining)
    if attack.name == attack_config.PIPATTACK:
        counts = np.bincount(train.items, minlength=num_items)
        return pipattack.PipAttack(aim, pipattack.classify_popularity(counts))
    public = draw_public(train, attack.public_fraction, draws)
    if not public.num_rows:
        raise errors.UserError(
            f"--attack_public_fraction={attack.public_fraction:g}: not one interaction of "
            f"{len(train.items):,} is public, and attackers know nothing: choose more"
        )
    history, length = public.to_padded(config.history_length)
    num_rows = min(attack.num_rows, config.num_negatives)
    return fedrecattack.FedRecAttack(aim, num_rows, history, length)


def draw_public(
    train: Sequences, public_fraction: float, draws: keyed_draws.KeyedDraws
) -> Sequences:
    """Draws what is public of users: each interaction by a coin of the user's own.

    Args:
      train: The training data, one row per user.
      public_fraction: Probability of an interaction to be public.
      draws: Keyed draws of these users.

    Returns:
      The public interactions of those users who have any, oldest first; of at most a thousand of
      them, whom a draw chooses.
    """
    seeds = draws.blocks(_PUBLIC)
    is_public = [
        np.random.default_rng(seed).random(length) < public_fraction
        for seed, length in zip(seeds, train.lengths, strict=True)
    ]
    public = train.keep(np.concatenate([np.zeros(0, bool), *is_public]))
    order = draws.order(_KNOWN)
    known = order[public.lengths[order] > 0][:_MOST_KNOWN]
    return public.take(np.sort(known))
