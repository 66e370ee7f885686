"""Builds with a fault planted before the sum, each by a patch, and the small run to audit them."""

import dataclasses

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients, keyed_draws, loading, splits
from fedrec_tff.learning import private_popularity
from fedrec_tff.run import client_simulation, privacy_plan, run_process, user_draws

CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=120,
    max_interactions_per_user=12,
    embedding_dim=4,
    num_blocks=0,
    num_negatives=8,
    batch_size=0,
    clients_per_round=10.0,
    rounds=3,
    # Nothing is worth compiling for a round of a few clients.
    execution="debug",
    noise_multiplier=1.0,
    popularity_items_per_user=5,
)


def drop_short_users(patch):
    """Users with too little data are no part of the population, so that others close up."""
    patch.setattr(loading.DatasetConfig, "keeps_all_users", property(lambda self: False))


def split_by_rank(patch):
    """One permutation of those who are left decides who trains."""

    def unseen_users(interactions, *args, **kwargs):
        ranks = np.random.default_rng(0).permutation(interactions.num_users).astype(str)
        by_rank = dataclasses.replace(interactions, user_ids=ranks.astype(object))
        return honest(by_rank, *args, **kwargs)

    honest = splits.unseen_users
    drop_short_users(patch)
    patch.setattr(splits, "unseen_users", unseen_users)


def draw_validation_items_from_a_stream(patch):
    """One generator goes from user to user, and takes as much as each has items."""

    def integers(self, bounds, purpose, *numbers):
        del purpose, numbers
        rng = np.random.default_rng(0)
        bounds = np.broadcast_to(bounds, self.num_users)
        return np.array([rng.random(bound).argmax() for bound in bounds])

    patch.setattr(keyed_draws.KeyedDraws, "integers", integers)


def pad_to_the_longest(patch):
    """Everybody's sequence is as long as the longest of all."""
    patch.setattr(clients, "default_bucket_lengths", lambda longest: (max(longest, 1),))


def draw_secrets_by_rank(patch):
    """Cohorts and seeds go by a user's row among those who have data."""

    def secret(self):
        return keyed_draws.KeyedDraws(np.arange(len(self._user_ids)), self._cohort_key)

    drop_short_users(patch)
    patch.setattr(user_draws.UserDraws, "secret", property(secret))


def sample_from_a_stream(patch):
    """A round's size, then its rows, from one generator of a population without short users."""

    class Sampler:
        def __init__(self, config, draws):
            self._size, self._num_users = int(config.clients_per_round), draws.num_users

        def sample(self, round_number):
            rng = np.random.default_rng(round_number)
            return np.sort(rng.choice(self._num_users, self._size, replace=False))

    drop_short_users(patch)
    patch.setattr(privacy_plan, "create_sampler", Sampler)


def find_edges_by_rank(patch):
    """Edges hash ranks of those who have data."""

    def choose_edges(config, num_items, plan, draws):
        del config, num_items, plan
        return (np.arange(draws.num_users) * 2654435761 % 2**32 % 3).astype(np.int32)

    drop_short_users(patch)
    patch.setattr(run_process, "choose_edges", choose_edges)


def choose_attackers_by_rank(patch):
    """So many of those who have data, by one generator."""

    def choose(attack, draws, is_private):
        del attack, is_private
        is_attacker = np.zeros(draws.num_users, np.bool_)
        is_attacker[np.random.default_rng(0).choice(draws.num_users, 8, replace=False)] = True
        return is_attacker

    drop_short_users(patch)
    patch.setattr(client_simulation, "choose_attackers", choose)


def count_popularity_by_rank(patch):
    """Which items a user counts for goes by the user's row among those who have data."""

    def stack(population, draws):
        by_rank = keyed_draws.KeyedDraws(np.arange(draws.num_users), 1)
        return honest(population, by_rank)

    honest = private_popularity.stack
    drop_short_users(patch)
    patch.setattr(private_popularity, "stack", stack)


def take_the_catalogue_from_data(patch):
    """The catalogue is claimed to be of the table."""

    def place(source, item_ids=None):
        del item_ids
        return source

    patch.setattr(loading.sources, "place_in_catalogue", place)


def evaluate_every_other_user(patch):
    """Half of the users are evaluated, by their rank among those who have a held-out item."""

    def leave_last_out(interactions):
        split = honest(interactions)
        held_out = split.validation
        rows = np.arange(0, held_out.num_rows, 2)
        half = splits.EvaluationSet(
            held_out.user_index[rows], held_out.history.take(rows), held_out.targets.take(rows)
        )
        return dataclasses.replace(split, validation=half)

    honest = splits.leave_last_out
    patch.setattr(splits, "leave_last_out", leave_last_out)
