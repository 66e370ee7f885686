"""The topic of rounds: how many there are, who is in them, and where they begin."""

# Tested in tests/config/test_run_config.py.

import dataclasses

from fedrec_tff.config.field_spec import MOST, Need, declare
from fedrec_tff.config.privacy_config import PRIVACY
from fedrec_tff.privacy import sampling as sampling_laws
from fedrec_tff.privacy.mechanisms import kinds

INITIAL_EMBEDDINGS = ("random", "features")
INITIAL_BIASES = ("zero", "popularity")

_INITIAL_MODEL = Need("--initial_model", lambda config: config.initial_model is not None)


@dataclasses.dataclass(frozen=True)
class RoundConfig:
    """Rounds, cohorts and beginnings. See each field's help."""

    rounds: int = declare(
        200,
        "Rounds of training.",
        low=1,
        high=1_000_000,
        may_grow_on_resume=True,
        is_leading=True,
    )
    clients_per_round: float = declare(
        100.0, "Expected users in a round.", low=1.0, high=1e9, is_leading=True
    )
    seed: int = declare(
        0,
        "Seed of data, initial weights and cohorts; not of the noise and, under differential "
        "privacy, not of the cohorts.",
        low=0,
        high=2**31 - 1,
        is_leading=True,
    )
    sampling: str | None = declare(
        None,
        "Law by which cohorts are drawn: poisson, each user by a coin of their own; fixed_size "
        "(accounted under replace-one, which costs more); cyclic_poisson, from one of "
        "--min_separation groups in turn; shuffled_epochs, each user once in a random order, then "
        "in another. By default the first that the aggregator's cost is known for: "
        f"{kinds.describe_first_samplings()}.",
        choices=sampling_laws.LAWS,
    )
    min_separation: int | None = declare(
        None,
        "Rounds between two turns of a user, at least: the number of groups (cyclic_poisson), and "
        "of the rounds over which noise is correlated by "
        f"{' and '.join(kinds.names_having('min_separation'))}.",
        low=1,
        high=MOST,
    )
    max_rounds_per_user: int | None = declare(
        None,
        "Rounds that a user may be asked in, at most; "
        f"{' and '.join(kinds.names_having('max_rounds_per_user'))} are accounted for so many.",
        low=1,
        high=MOST,
    )
    group_attendance: str | None = declare(
        None,
        "Share of their rounds that users of some groups take part in, by a column of the users' "
        "table: gender:M=0.5. The others count for more then; epsilon stays that of users who take "
        "part in all of theirs.",
    )
    insecure_seeded_cohorts: bool = declare(
        False,
        "Under differential privacy, draw cohorts from --seed, so that a run can be repeated, and "
        "not from a secret key. Whoever knows the seed, or finds it by trying, knows who was in "
        "which round; epsilon assumes that nobody does.",
        needs=(PRIVACY,),
    )
    initial_embedding: str = declare(
        "random",
        "Beginning of item embeddings: random numbers, or the items' public features (categories, "
        "years of titles), which costs no privacy.",
        choices=INITIAL_EMBEDDINGS,
        costs_privacy=False,
    )
    initial_bias: str = declare(
        "zero",
        "Beginning of item biases: zero, or the log of popularity; under differential privacy "
        "that needs --popularity_noise_multiplier.",
        choices=INITIAL_BIASES,
    )
    initial_model: str | None = declare(
        None,
        "Model that training begins with: the --output_dir of a finished run, or its model.npz. "
        "Items are matched by their raw ids; new ones begin as they would without it.",
    )
    initial_model_is_public: bool = declare(
        False,
        "Declaration, under differential privacy, that --initial_model was fitted to nobody of "
        "this run's users, or that what it cost them is added to this run's epsilon elsewhere.",
        needs=(PRIVACY, _INITIAL_MODEL),
    )
    warmup_rounds: int = declare(
        0,
        "First rounds in which the learning rates that have a schedule rise to theirs.",
        low=0,
        high=MOST,
        costs_privacy=False,
    )
    final_learning_rate_fraction: float = declare(
        0.0,
        "Part of the learning rate at which linear, cosine and exponential schedules end after the "
        "last round, and below which inverse_sqrt does not fall.",
        low=0.0,
        high=1.0,
        costs_privacy=False,
    )
