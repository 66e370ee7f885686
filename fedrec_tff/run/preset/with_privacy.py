"""Rules for runs under differential privacy: they know what is public of the data, and the budget.

docs/presets.md tells on which data they were found, and what each is worth.
"""

# Tested in tests/run/preset/test_choosing.py.

from collections.abc import Callable

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models.towers import catalogue as towers
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.run.preset.choice import Choice
from fedrec_tff.run.preset.facts import DataFacts

# The part of the users in a round, and the most that a round takes.
_USERS_PER_COHORT = 3
_LARGEST_COHORT = 2000
_USERS_PER_ROUND, _FEWEST_ROUNDS, _MOST_ROUNDS = 50, 20, 120
_EVALUATIONS = 4


def choose_start(config: RunConfig, facts: DataFacts) -> Choice | None:
    """What is public of the items is learned without noise."""
    if not facts.can_start_from_features:
        return None
    flags = {"initial_embedding": "features"}
    return Choice(flags, "the items' table is public, so what it says is learned without noise")


def choose_popularity(config: RunConfig, facts: DataFacts) -> Choice | None:
    """Counts are large beside their noise: the cheapest thing to know.

    The server sums them, so it must be one that is trusted with this data set's users.
    """
    trusts_server = config.aggregator_chain.terminal.trusts_server
    if config.mechanism_kind is not kinds.DEFAULT or not trusts_server:
        return None
    if config.noise_cohort_size is not None:
        return None
    flags = {
        "popularity_noise_multiplier": 10.0,
        "initial_bias": "popularity",
        "negative_sampling": "popularity",
    }
    return Choice(flags, "counts of items are large beside their noise, and a good beginning")


def choose_model(config: RunConfig, facts: DataFacts) -> Choice:
    """A small model, since noise is added to each of its numbers."""
    flags = {
        "query_tower": towers.RECENCY,
        "num_blocks": 0,
        "embedding_dim": 32,
        "history_length": 10,
        "temperature": 0.2,
        "num_negatives": 512,
    }
    return Choice(flags, "noise is added to each number of the model, so it is a small one")


def choose_local_work(config: RunConfig, facts: DataFacts) -> Choice:
    """One long step on all of a user's examples, which the clip then shortens."""
    flags = {"batch_size": 0, "client_learning_rate": 8.0, "clip_norm": 1.0}
    return Choice(flags, "a user's examples make one step, and the clip makes users count alike")


def choose_cohort(config: RunConfig, facts: DataFacts) -> Choice:
    """A large part of the users: noise is drawn once a round, whatever the cohort."""
    # With --min_separation a round draws from one group alone.
    parts = max(_USERS_PER_COHORT, config.min_separation or 1)
    cohort = min(max(1, int(facts.num_users / parts)), _LARGEST_COHORT)
    reason = "noise is drawn once a round, whatever the cohort, so cohorts are large"
    return Choice({"clients_per_round": float(cohort)}, reason)


def choose_rounds(config: RunConfig, facts: DataFacts) -> Choice:
    """Few rounds, since all of them share epsilon; the more users, the less each one's noise."""
    rounds = min(max(round(facts.num_users / _USERS_PER_ROUND), _FEWEST_ROUNDS), _MOST_ROUNDS)
    reason = "all rounds share epsilon, and the more users there are, the less noise for each"
    return Choice({"rounds": rounds}, reason)


def choose_evaluations(config: RunConfig, facts: DataFacts) -> Choice:
    """A few looks at the model on its way."""
    period = max(1, config.rounds // _EVALUATIONS)
    return Choice({"rounds_per_evaluation": period}, "a few looks at the model on its way")


def choose_server(config: RunConfig, facts: DataFacts) -> Choice:
    """Adam, and an average of the iterates, which takes noise off and costs no privacy."""
    flags = {"server_learning_rate": 0.02, "averaging_decay": 0.9}
    return Choice(flags, "an average of the last models has less noise, and costs no privacy")


RULES: tuple[Callable[[RunConfig, DataFacts], Choice | None], ...] = (
    choose_start,
    choose_popularity,
    choose_model,
    choose_local_work,
    choose_cohort,
    choose_rounds,
    choose_evaluations,
    choose_server,
)
