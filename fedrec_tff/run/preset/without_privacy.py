"""Rules for runs without differential privacy, where the data themselves may be looked at.

docs/presets.md tells on which data they were found, and what each is worth.
"""

# Tested in tests/run/preset/test_choosing.py.

import math
from collections.abc import Callable
from typing import Any

from fedrec_tff.config import stopping_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning import config as learning_config
from fedrec_tff.models import config as shapes
from fedrec_tff.models.towers import catalogue as towers
from fedrec_tff.run.preset.choice import Choice
from fedrec_tff.run.preset.facts import DataFacts

# From this many interactions on a wider model has enough to learn from.
_MANY_INTERACTIONS = 500_000
_LONGEST_HISTORY = 200
_SMALLEST_COHORT, _COHORTS, _LARGEST_COHORT = 25, 150, 200
# Interactions, counted once a pass, that two cores train on in about ten minutes, and how many take
# as long as what each user costs besides.
_WORK = 25_000_000
_WORK_OF_A_USER = 25
_FEWEST_PASSES, _MOST_PASSES = 15, 60
_FEWEST_ROUNDS, _MOST_ROUNDS = 500, 8000
# Few interactions are learned by heart after so many steps of the server.
_MOST_ROUNDS_FOR_FEW = 2000
_EVALUATIONS = 12


def choose_features(config: RunConfig, facts: DataFacts) -> Choice | None:
    """What is known of the items is public, and helps most where interactions are few."""
    if not facts.item_features:
        return None
    return Choice(
        {"item_features": facts.item_features}, "the items' table has these columns, and is public"
    )


def choose_tower(config: RunConfig, facts: DataFacts) -> Choice:
    """Order and taste where interactions have an order, and a set of items where they have none.

    These take one step a pass. A plain mean goes with what bears on unequal numbers of steps.
    """
    if _asks_for_unequal_steps(config):
        reason = "what was asked for means something where users take unequal numbers of steps"
        return Choice({"query_tower": towers.MEAN}, reason)
    if facts.is_ordered:
        flags = {"query_tower": towers.ATTENTION_AND_MEAN, "num_blocks": 2, "num_heads": 2}
        reason = "the order tells what is next, and the mean of a history what somebody likes"
        return Choice(flags, reason)
    flags = {"query_tower": towers.SET, "num_blocks": 0}
    return Choice(flags, "the interactions have no order, so each item is told from all others")


def choose_width(config: RunConfig, facts: DataFacts) -> Choice:
    """More interactions carry more numbers for each item, and need less dropout."""
    is_large = _is_large(facts)
    flags: dict[str, Any] = {"embedding_dim": 128 if is_large else 64}
    if config.two_tower.is_causal:
        flags["dropout"] = 0.2 if is_large else 0.5
    size = "at least" if is_large else "fewer than"
    return Choice(flags, f"there are {size} {_MANY_INTERACTIONS:,} training interactions")


def choose_history(config: RunConfig, facts: DataFacts) -> Choice:
    """Nine users in ten are read whole."""
    length = min(max(10, 10 * math.ceil(facts.long_length / 10)), _LONGEST_HISTORY)
    reason = f"nine users in ten have at most {facts.long_length} interactions"
    return Choice({"history_length": length}, reason)


def choose_scores(config: RunConfig, facts: DataFacts) -> Choice | None:
    """Where there is little to learn lengths from, items are compared by angle."""
    flags = {"similarity": shapes.COSINE, "temperature": 0.1}
    if config.query_tower == towers.SET:
        return Choice(flags, "sums of many items have lengths that say nothing")
    if config.model is not None or _is_large(facts):
        return None
    return Choice(flags, "few interactions tell directions sooner than lengths")


def choose_loss(config: RunConfig, facts: DataFacts) -> Choice:
    """Negatives by popularity, corrected for it, are the ones that are hard to tell apart."""
    if config.query_tower == towers.SET:
        return Choice({"num_negatives": 1024}, "more negatives tell more, and are shared by a user")
    flags: dict[str, Any] = {"num_negatives": 512 if _is_large(facts) else 256}
    if config.loss != learning_config.SAMPLED_SOFTMAX:
        return Choice(flags, "more negatives tell more, and are shared by a user")
    flags["negative_sampling"] = "popularity"
    return Choice(flags, "popular items are the hard negatives; their rate is corrected for")


def choose_local_work(config: RunConfig, facts: DataFacts) -> Choice:
    """One step on all of a user's examples, averaged: FedSGD, with the server's Adam."""
    if config.proximal_weight or _asks_for_unequal_steps(config):
        flags = {"local_epochs": 2, "client_learning_rate": 0.5}
        return Choice(flags, "what was asked for means something where users take several steps")
    flags = {"batch_size": 0, "client_learning_rate": 1.0}
    return Choice(flags, "a user's examples make one gradient, which the server's Adam scales")


def choose_weighting(config: RunConfig, facts: DataFacts) -> Choice | None:
    """Users weigh by the square root of their examples, where the aggregator is open."""
    if config.query_tower == towers.SET or config.aggregator not in (None, "weighted_mean"):
        return None
    flags = {"aggregator": "weighted_mean", "client_weighting": "sqrt_num_examples"}
    return Choice(flags, "who has more examples knows more, in less than proportion")


def choose_cohort(config: RunConfig, facts: DataFacts) -> Choice:
    """Small cohorts: the server takes a step for each."""
    cohort = min(max(_SMALLEST_COHORT, round(facts.num_users / _COHORTS)), _LARGEST_COHORT)
    cohort = min(cohort, facts.num_users)
    one_in = max(1, round(facts.num_users / cohort))
    return Choice({"clients_per_round": float(cohort)}, f"about one user in {one_in} a round")


def choose_sampling(config: RunConfig, facts: DataFacts) -> Choice:
    """Without amplification to keep, epochs in a random order waste no user."""
    return Choice(
        {"sampling": "shuffled_epochs"}, "each user comes once before anybody comes again"
    )


def choose_rounds(config: RunConfig, facts: DataFacts) -> Choice:
    """As many passes over the users as about ten minutes on two cores have time for."""
    work = facts.num_users * (facts.mean_length + _WORK_OF_A_USER)
    passes = min(max(_WORK / work, _FEWEST_PASSES), _MOST_PASSES)
    rounds = math.ceil(passes * facts.num_users / config.clients_per_round)
    most = _MOST_ROUNDS if _is_large(facts) else _MOST_ROUNDS_FOR_FEW
    rounds = min(max(rounds, _FEWEST_ROUNDS), most)
    passes = rounds * config.clients_per_round / facts.num_users
    return Choice({"rounds": rounds}, f"about {passes:.0f} passes over the users, at most")


def choose_server(config: RunConfig, facts: DataFacts) -> Choice:
    """Adam, which rises, falls along a cosine, and whose iterates are averaged."""
    flags = {
        "server_learning_rate": 0.01 if config.query_tower == towers.SET else 0.002,
        "server_learning_rate_schedule": "cosine",
        "warmup_rounds": min(20, config.rounds // 2),
        "averaging_decay": 0.99,
    }
    return Choice(flags, "large steps first and small ones last, over all rounds")


def choose_end(config: RunConfig, facts: DataFacts) -> Choice:
    """The best model by validation is released; the rates fall until the last round."""
    period = max(1, config.rounds // _EVALUATIONS)
    flags = {
        "rounds_per_evaluation": period,
        "rounds_per_checkpoint": period,
        "released_model": stopping_config.BEST,
        # The one that lists of these lengths have.
        "selection_metric": f"ndcg@{config.ks[0]}",
    }
    return Choice(flags, "the model with the best validation is released")


def _is_large(facts: DataFacts) -> bool:
    return facts.num_users * facts.mean_length >= _MANY_INTERACTIONS


def _asks_for_unequal_steps(config: RunConfig) -> bool:
    return config.normalized_averaging or config.max_local_steps is not None


RULES: tuple[Callable[[RunConfig, DataFacts], Choice | None], ...] = (
    choose_features,
    choose_tower,
    choose_width,
    choose_history,
    choose_scores,
    choose_loss,
    choose_local_work,
    choose_weighting,
    choose_cohort,
    choose_sampling,
    choose_rounds,
    choose_server,
    choose_end,
)
