"""Everything that can be chosen about a run: one field, one flag.

`RunConfig` is plain data and imports nothing heavy, so that a wrong flag is told at once. The
flags of the experiment binaries are generated from its fields (`experiments.flags`).
"""

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.aggregators import registry
from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning import personal_config as personal_config_lib
from fedrec_tff.learning.simulation import attack_config as attack_config_lib
from fedrec_tff.learning.simulation import failure_config as failure_config_lib
from fedrec_tff.models import config as model_config
from fedrec_tff.models import plugin as model_plugin_lib
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.losses import plugin as loss_plugin_lib
from fedrec_tff.plugins.chosen import Chosen
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.privacy.mechanisms.base import MechanismKind

if TYPE_CHECKING:
    from fedrec_tff.privacy import releases

# The flags of a budget over runs.
POPULATION_FLAGS = ("population_ledger", "population_epsilon", "population_delta")
DATASETS = ("synthetic", "ml-100k", "ml-1m", "csv", "adjacency")
_DATASETS_WITH_ITEM_TABLE = ("synthetic", "ml-100k", "ml-1m")
SPLITS = ("leave_last_out", "unseen_users", "global_time", "published")
CATALOGUES = ("table", "selected", "data")
EXECUTIONS = ("compiled", "native", "debug")
SECURE_SUMS = ("plain", "masked", "bfv", "ckks")
INITIAL_EMBEDDINGS = ("random", "features")
INITIAL_BIASES = ("zero", "popularity")
# The flags that decide which users there are, and what their data.
DATA_FLAGS = (
    *("dataset", "data_dir", "split"),
    *("user_column", "item_column", "time_column", "value_column", "column_names"),
    *("max_malformed_fraction", "minimum_value", "k_core", "max_interactions_per_user"),
    *("roster", "catalogue"),
    *("synthetic_users", "synthetic_items"),
)
# The part of delta that may be spent on choosing the catalogue.
_DELTA_OF_CATALOGUE = 0.1
# Counts that nothing else bounds fit 32-bit integers.
MOST = 2**31 - 1
ROUND_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """What a flag needs besides its type and default.

    Attributes:
      help: One or two lines.
      choices: The values allowed, for an enumeration.
      low: The smallest value allowed; for floats `low` itself is allowed only if `low_is_allowed`.
      high: The largest value allowed.
      low_is_allowed: Whether `low` itself is allowed.
      is_repeated: Whether a tuple is given by repeating the flag, and not by commas.
      may_change_on_resume: Whether an interrupted run may go on with another value: it says where
        and how computations run, not what they are; or the ledger sees that it is the same.
    """

    help: str
    choices: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    low_is_allowed: bool = True
    is_repeated: bool = False
    may_change_on_resume: bool = False


def _field(default: Any, help: str, **kwargs: Any) -> Any:
    return dataclasses.field(default=default, metadata={"spec": FieldSpec(help, **kwargs)})


@dataclasses.dataclass(frozen=True)
class PopulationConfig:
    """Which budget over runs is drawn on.

    Attributes:
      ledger: The population ledger's file.
      epsilon: Of the budget, for a ledger that is to be begun.
      delta: Of the budget, for a ledger that is to be begun.
    """

    ledger: str
    epsilon: float | None
    delta: float


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A run, but for where it is stored. See each field's help."""

    # Data.
    dataset: str = _field("synthetic", "What to train on.", choices=DATASETS)
    data_dir: str | None = _field(
        None,
        "Folder of the original files (ml-100k, ml-1m: downloaded if not given), of train.txt and "
        "test.txt (adjacency), or the CSV, TSV or Parquet file itself (csv).",
    )
    split: str = _field(
        "leave_last_out",
        "Evaluation protocol; 'published' takes the split that an adjacency set comes with.",
        choices=SPLITS,
    )
    user_column: str = _field("user_id", "Column of user ids (csv, --roster).")
    item_column: str = _field("item_id", "Column of item ids (csv).")
    time_column: str | None = _field(
        None,
        "Column of times (csv): whole numbers in any one unit, seconds with a fraction, or ISO "
        "8601 dates, exact to the nanosecond; without it, the order of the file.",
    )
    value_column: str | None = _field(None, "Column of ratings (csv), for --minimum_value.")
    column_names: str | None = _field(
        None, "Names of all columns, separated by commas, of a file without a header (csv)."
    )
    max_malformed_fraction: float = _field(
        0.0,
        "Skip up to this fraction of malformed rows instead of refusing the first.",
        low=0.0,
        high=1.0,
    )
    minimum_value: float | None = _field(
        None, "Keep interactions with at least this value (rating); by default all."
    )
    item_table: str | None = _field(
        None,
        "CSV, TSV or Parquet file of items, with --item_column, for --item_features, "
        "--catalogue=table and, in a column `title`, what recommendations call items (csv).",
    )
    user_table: str | None = _field(
        None, "CSV, TSV or Parquet file of users, with --user_column, for --user_features (csv)."
    )
    k_core: int = _field(
        1,
        "Drop users and items with fewer than this many interactions, repeatedly.",
        low=1,
        high=MOST,
    )
    max_interactions_per_user: int | None = _field(
        None,
        "Keep only the newest of each user's interactions: a cap on contributions.",
        low=3,
        high=MOST,
    )
    roster: str | None = _field(
        None,
        "File of all users, one id a line, or a CSV, TSV or Parquet table with --user_column. They "
        "are the population, whatever their data; rows of others are dropped. By default the users "
        "of the data: all of them under differential privacy, else those with enough data.",
    )
    catalogue: str | None = _field(
        None,
        "Where the items come from: table, the item table of ml-100k, ml-1m, synthetic, or "
        "--item_table (csv); selected, what enough users took, chosen with noise as a part of "
        "epsilon (--catalogue_noise_multiplier); data, what users took. By default table under "
        "differential privacy where there is one, else data.",
        choices=CATALOGUES,
    )
    synthetic_users: int = _field(3000, "Users of the synthetic data.", low=10, high=10_000_000)
    synthetic_items: int = _field(400, "Items of the synthetic data.", low=20, high=1_000_000)

    # Model.
    model: str | None = _field(
        None,
        "A model of yours in place of --query_tower: a builder, as package.module:builder or "
        "path/to/file.py:builder. docs/custom_models.md tells how to write one.",
    )
    model_param: tuple[str, ...] = _field(
        (),
        "A parameter of --model, as key=value. `python -m experiments.models describe` lists them.",
        is_repeated=True,
    )
    embedding_dim: int = _field(32, "Width of item embeddings.", low=1, high=65_536)
    history_length: int = _field(
        20, "How many of a user's newest items the model reads.", low=1, high=65_536
    )
    query_tower: str = _field(
        model_config.MEAN,
        "What reads the history: the mean of its items; recency, a mean with learned weights by "
        "age; gru; attention, causal self-attention; or set, a mean that is trained to predict "
        "each item from all the others, for data without order.",
        choices=model_config.QUERY_TOWERS,
    )
    num_blocks: int = _field(
        1,
        "Blocks of the query tower: of self-attention (attention), else residual MLPs.",
        low=0,
        high=1_000,
    )
    num_heads: int = _field(
        1, "Heads of self-attention, a divisor of --embedding_dim (attention).", low=1, high=65_536
    )
    dropout: float = _field(
        0.0,
        "Fraction of activations dropped in training (gru, attention), in steps of 1/256.",
        low=0.0,
        high=0.95,
    )
    temperature: float = _field(1.0, "Logits are similarities divided by this.", low=1e-6, high=1e6)

    item_features: tuple[str, ...] = _field(
        (),
        "Columns of what is known of items, added to their embeddings: genres,title:words,year. A "
        "column holds categories, separated by |; of column:words each word counts; year is that "
        "at the end of a title. Public, so they cost no privacy.",
    )
    user_features: tuple[str, ...] = _field(
        (),
        "Columns of what is known of users, added to their queries; each device knows its own "
        "user's alone: age_group,gender,occupation.",
    )
    feature_buckets: int = _field(
        1024, "Rows of each table of features, to which values are hashed.", low=2, high=1_000_000
    )
    similarity: str = _field(
        model_config.DOT,
        "What of query and item is divided by --temperature: their dot product, or the cosine of "
        "their angle.",
        choices=model_config.SIMILARITIES,
    )
    initial_embedding: str = _field(
        "random",
        "What item embeddings start from: random numbers, or the items' public features "
        "(categories, years of titles), which costs no privacy.",
        choices=INITIAL_EMBEDDINGS,
    )
    initial_bias: str = _field(
        "zero",
        "What item biases start from: zero, or the log of popularity; under differential privacy "
        "that needs --popularity_noise_multiplier.",
        choices=INITIAL_BIASES,
    )

    # Client work.
    loss: str = _field(
        learning_config.SAMPLED_SOFTMAX,
        "The client's loss: sampled_softmax, with log-Q correction; in_batch_softmax, against the "
        "user's own items; full_softmax, against all items (updates are then dense); bce, binary "
        "cross-entropy corrected as in gSASRec; bpr; hinge, with a spreadout; or one of yours, as "
        "package.module:loss or path/to/file.py:loss. docs/models.md tells how to write one.",
    )
    loss_param: tuple[str, ...] = _field(
        (), "A parameter of a --loss of yours, as key=value.", is_repeated=True
    )
    label_smoothing: float = _field(
        0.0,
        "This part of each label is spread over all candidates (sampled_softmax, full_softmax).",
        low=0.0,
        high=0.99,
    )
    bce_calibration: float = _field(
        0.75, "How far bce is corrected for few negatives: t of gSASRec.", low=0.0, high=1.0
    )
    hinge_margin: float = _field(
        1.0, "By what a positive should exceed a negative (hinge).", low=0.0, high=1e9
    )
    spreadout_weight: float = _field(
        0.1, "Weight of what keeps item embeddings apart (hinge).", low=0.0, high=1e9
    )
    num_negatives: int = _field(
        128,
        "Negatives a client draws in a round (sampled_softmax, bce, bpr, hinge).",
        low=1,
        high=1_000_000,
    )
    negative_sampling: str = _field(
        learning_config.UNIFORM,
        "Where negatives come from, corrected for in sampled_softmax; under differential privacy, "
        "'popularity' needs --popularity_noise_multiplier.",
        choices=learning_config.NEGATIVE_SAMPLINGS,
    )
    batch_size: int = _field(
        16,
        "Examples in a local step; 0 for all of a user's in one (FedSGD), which is how gru, "
        "attention and set have them anyway.",
        low=0,
        high=1_000_000,
    )
    local_epochs: int = _field(1, "Passes over a user's examples in a round.", low=1, high=10_000)
    client_optimizer: str = _field(
        "sgd", "Takes the client's steps.", choices=learning_config.OPTIMIZERS
    )
    client_learning_rate: float = _field(
        0.5, "Step size on the client.", low=0.0, low_is_allowed=False
    )
    client_momentum: float = _field(0.0, "Momentum of the client's sgd.", low=0.0, high=0.999)
    client_learning_rate_schedule: str | None = _field(
        None,
        "How --client_learning_rate follows the round: constant, linear, cosine, exponential, "
        "inverse_sqrt, after --warmup_rounds; by default not at all.",
        choices=learning_config.SCHEDULES,
    )
    client_algorithm: str = _field(
        learning_config.FEDAVG,
        "fedavg, each client's optimizer for itself; or mimelite, with the server's statistics, "
        "which stay fixed within a round (Karimireddy et al. 2021; updates are then dense).",
        choices=learning_config.CLIENT_ALGORITHMS,
    )
    proximal_weight: float = _field(
        0.0,
        "Keep clients near the model they got: mu of FedProx (Li et al. 2020).",
        low=0.0,
        high=1e9,
    )
    max_local_steps: int | None = _field(
        None,
        "The most steps of a client in a round; by default as many as its epochs have.",
        low=1,
        high=MOST,
    )
    normalized_averaging: bool = _field(
        False,
        "Divide each update by its number of local steps, so that who has more examples moves the "
        "model no further (FedNova, Wang et al. 2020); --server_learning_rate makes up for it.",
    )
    client_weighting: str | None = _field(
        None,
        "What a client counts where the aggregator weighs: num_examples, the default; "
        "sqrt_num_examples; log_num_examples, of one more; uniform. Under differential privacy "
        "everybody counts the same.",
        choices=learning_config.CLIENT_WEIGHTINGS,
    )

    # Server.
    aggregator: str | None = _field(
        None,
        "How updates are aggregated: one of "
        + ", ".join(registry.names())
        + "; a builder of yours, as package.module:builder or path/to/file.py:builder; or several, "
        "from the client to the server, separated by commas. `python -m experiments.aggregators "
        f"list` says what they are. By default {kinds.DEFAULT.name} if --target_epsilon or "
        "--noise_multiplier is given, else mean.",
    )
    aggregator_param: tuple[str, ...] = _field(
        (),
        "A parameter of the aggregator, as key=value, or name.key=value where several have it. "
        "`python -m experiments.aggregators describe NAME` lists them.",
        is_repeated=True,
    )
    server_optimizer: str = _field(
        "adam",
        "Applies the aggregate: sgd is FedAvg (FedAvgM with momentum), the others FedAdam, "
        "FedAdagrad, FedYogi.",
        choices=learning_config.OPTIMIZERS,
    )
    server_learning_rate: float = _field(
        0.01, "Step size on the server.", low=0.0, low_is_allowed=False
    )
    server_momentum: float = _field(0.0, "Momentum of the server's sgd.", low=0.0, high=0.999)
    server_epsilon: float = _field(
        1e-7,
        "Adaptivity constant of the server's adam, adagrad and yogi (not a privacy parameter).",
        low=0.0,
        low_is_allowed=False,
    )

    server_learning_rate_schedule: str | None = _field(
        None,
        "How --server_learning_rate follows the round; as --client_learning_rate_schedule.",
        choices=learning_config.SCHEDULES,
    )
    warmup_rounds: int = _field(
        0,
        "First rounds in which the learning rates that have a schedule rise to theirs.",
        low=0,
        high=MOST,
    )
    final_learning_rate_fraction: float = _field(
        0.0,
        "Where linear, cosine and exponential schedules end after the last round, as a part of the "
        "learning rate; what inverse_sqrt does not fall below.",
        low=0.0,
        high=1.0,
    )
    # What stays on the device.
    personal_tower: str = _field(
        personal_config_lib.NONE,
        "A part of the model that never leaves the device: embedding, a vector added to the query; "
        "scale_and_shift, q * (1 + s) + p. The device fits it to its user's history.",
        choices=personal_config_lib.PERSONAL_TOWERS,
    )
    personal_state: str = _field(
        personal_config_lib.RECONSTRUCTED,
        "reconstructed, the personal part begins with zeros in each round (Singhal et al. 2021); "
        "persistent, the device keeps it from round to round.",
        choices=personal_config_lib.PERSONAL_STATES,
    )
    reconstruction_steps: int = _field(
        5, "Gradient steps by which a device fits the personal part.", low=0, high=10_000
    )
    reconstruction_learning_rate: float = _field(
        0.5, "Step size of these.", low=0.0, low_is_allowed=False
    )
    support_fraction: float = _field(
        0.5,
        "The part of a user's examples, the oldest, that the personal part is fitted to in "
        "training; the others train the global part.",
        low=0.0,
        high=0.95,
        low_is_allowed=False,
    )
    finetuning_epochs: int = _field(
        0,
        "At the end, also evaluate each user by a copy of the model that the device fine-tuned on "
        "the user's history for so many epochs, as personalized/...; 0 for no fine-tuning.",
        low=0,
        high=10_000,
    )
    finetuning_learning_rate: float = _field(
        0.1, "Step size of the fine-tuning, which is plain SGD.", low=0.0, low_is_allowed=False
    )

    averaging_decay: float = _field(
        0.0,
        "Evaluate and keep an exponential moving average of the models, with this weight on the "
        "past; 0 for the last model. Costs no privacy.",
        low=0.0,
        high=0.9999,
    )

    # Cohorts.
    clients_per_round: float = _field(
        100.0,
        "Expected users in a round.",
        low=1.0,
        high=1e9,
    )
    sampling: str | None = _field(
        None,
        "How cohorts are drawn: poisson, each user by a coin of their own; fixed_size (accounted "
        "under replace-one, which costs more); cyclic_poisson, from one of --min_separation groups "
        "in turn; shuffled_epochs, each user once in a random order, then in another. By default "
        f"the first that the aggregator's cost is known for: {kinds.describe_first_samplings()}.",
        choices=sampling.LAWS,
    )
    min_separation: int | None = _field(
        None,
        "Rounds between two turns of a user, at least: the number of groups (cyclic_poisson), and "
        "of the rounds over which noise is correlated by "
        f"{' and '.join(kinds.names_having('min_separation'))}.",
        low=1,
        high=MOST,
    )
    max_rounds_per_user: int | None = _field(
        None,
        "How often a user may be asked, at most; "
        f"{' and '.join(kinds.names_having('max_rounds_per_user'))} are accounted for so many.",
        low=1,
        high=MOST,
    )

    # Privacy.
    clip_norm: float = _field(
        0.5,
        "L2 norm that a user's update is clipped to (L1 for "
        f"{' and '.join(kinds.names_where(lambda kind: kind.norm_order == 1))}).",
        low=1e-9,
        high=1e9,
    )
    tower_clip_norm: float | None = _field(
        None,
        "Clip the towers to this and the item table to --clip_norm, instead of both together; the "
        "sensitivity is the root of the sum of their squares.",
        low=1e-9,
        high=1e9,
    )
    noise_multiplier: float | None = _field(
        None, "Noise on the summed updates, in multiples of the clip.", low=0.0, high=1e6
    )
    target_epsilon: float | None = _field(
        None,
        "Calibrate the noise so that all rounds, and all other releases, cost this.",
        low=0.0,
        low_is_allowed=False,
    )
    target_delta: float = _field(
        1e-5, "Delta of the guarantee.", low=0.0, high=0.1, low_is_allowed=False
    )
    noise_cohort_size: float | None = _field(
        None,
        "Simulate a deployment with so many users a round: noise and epsilon are its own, and the "
        "noise is scaled down to this run's cohort. The data set's own users get no guarantee.",
        low=0.0,
        high=1e12,
        low_is_allowed=False,
    )
    noise_population_size: int | None = _field(
        None, "Users of the deployment that --noise_cohort_size simulates.", low=1, high=10**12
    )
    modulus_bits: int | None = _field(
        None, "Bits of each number in the secure sum (ddp_...); by default 24.", low=8, high=32
    )
    colluding_clients: int | None = _field(
        None,
        "How many users of each round may tell the server what noise they added (ddp_...): theirs "
        "doesn't count; by default 1, for everybody knows their own.",
        low=0,
        high=MOST,
        # Runs that were begun before there was this flag go on with 0, which their ledger demands.
        may_change_on_resume=True,
    )
    popularity_noise_multiplier: float | None = _field(
        None,
        "Release once, before training, how many users took each item, with this noise in "
        "multiples of its sensitivity; for --initial_bias and --negative_sampling=popularity.",
        low=0.0,
        high=1e6,
    )
    popularity_items_per_user: int = _field(
        50, "For how many items a user counts in that release, at most.", low=1, high=MOST
    )
    catalogue_noise_multiplier: float | None = _field(
        None,
        "Noise on how many users took each item, in multiples of its sensitivity, when the "
        "catalogue is chosen (--catalogue=selected).",
        low=0.0,
        low_is_allowed=False,
        high=1e6,
    )
    catalogue_items_per_user: int = _field(
        50,
        "For how many items a user counts when the catalogue is chosen, at most.",
        low=1,
        high=MOST,
    )
    catalogue_delta: float | None = _field(
        None,
        "Probability with which an item that one user alone took may come into the catalogue, a "
        "part of --target_delta; by default a tenth of it (--catalogue=selected).",
        low=0.0,
        high=0.1,
        low_is_allowed=False,
    )
    private_evaluation_noise_multiplier: float | None = _field(
        None,
        "At each evaluation, also release validation metrics with this noise, as private/...: they "
        "are part of the guarantee.",
        low=0.0,
        high=1e6,
    )
    release_non_private_metrics: bool = _field(
        False,
        "Under differential privacy, also release exact sums of user data (training loss, cohort "
        "size) as non_private/...; they are outside the guarantee.",
    )
    withhold_held_out_metrics: bool = _field(
        False,
        "Under differential privacy, compute no exact metric of held-out interactions, while "
        "training or in the end; --private_evaluation_noise_multiplier gives noised ones.",
    )
    population_ledger: str | None = _field(
        None,
        "File that adds up all that is released about the same people: runs, sweeps, audits. What "
        "would pass its budget is refused. See `python -m experiments.ledger`.",
        may_change_on_resume=True,
    )
    population_epsilon: float | None = _field(
        None,
        "The budget of --population_ledger; needed to begin one, and then the same for good.",
        low=0.0,
        low_is_allowed=False,
        may_change_on_resume=True,
    )
    population_delta: float | None = _field(
        None,
        "Delta of that budget; by default --target_delta.",
        low=0.0,
        high=0.1,
        low_is_allowed=False,
        may_change_on_resume=True,
    )
    insecure_deterministic_noise: bool = _field(
        False, "Draw the noise from --seed. For tests: whoever knows the seed can remove it."
    )

    # Attacks and failures, simulated.
    attack: str | None = _field(
        None,
        "What a part of the users do to spoil the model: "
        + "; ".join(f"{name}: {text}" for name, text in attack_config_lib.DESCRIPTIONS.items())
        + ".",
        choices=attack_config_lib.ATTACKS,
    )
    attack_fraction: float = _field(
        0.2,
        "How many of the users attack; under differential privacy each by a coin of their own, so "
        "about as many.",
        low=0.0,
        high=1.0,
        low_is_allowed=False,
    )
    attack_scale: float | None = _field(
        None,
        "How hard, in the attack's own unit (alie: standard deviations); by default 10 for "
        "sign_flip, scaling, gaussian and target_promotion, 1 for label_flip and "
        "delta_free_rider, 1e6 for garbage, and for alie what just goes unseen.",
        low=0.0,
        low_is_allowed=False,
    )
    attack_target_item: str | None = _field(
        None, "Id of the item to promote (target_promotion); by default one that the seed chooses."
    )
    failure: str | None = _field(
        None,
        "How honest devices fail: "
        + "; ".join(f"{name}: {text}" for name, text in failure_config_lib.DESCRIPTIONS.items())
        + ".",
        choices=failure_config_lib.FAILURES,
    )
    failure_rate: float = _field(
        0.2,
        "How often a device fails, on average over the users.",
        low=0.0,
        high=1.0,
        low_is_allowed=False,
    )
    failure_staleness: int = _field(
        5, "How many rounds old the model of a device is (stale).", low=1, high=100
    )

    # The program.
    rounds: int = _field(200, "Rounds of training.", low=1, high=1_000_000)
    rounds_per_evaluation: int = _field(20, "Rounds between validations.", low=1, high=MOST)
    rounds_per_checkpoint: int | None = _field(
        None,
        "Rounds between checkpoints; by default 1 under differential privacy, where a round that "
        "is lost in a crash is spent all the same, and 10 without.",
        low=1,
        high=MOST,
    )
    profile_rounds: str | None = _field(
        None,
        "Rounds to trace with TensorFlow's profiler, as in 3 or 3-5; under differential privacy "
        "only with --release_non_private_metrics: a trace shows how long users' work took.",
        may_change_on_resume=True,
    )
    seed: int = _field(
        0,
        "Fixes data, initial weights and cohorts; not the noise and, under differential privacy, "
        "not the cohorts.",
        low=0,
        high=2**31 - 1,
    )
    insecure_seeded_cohorts: bool = _field(
        False,
        "Under differential privacy, draw cohorts from --seed, so that a run can be repeated, and "
        "not from a secret key. Whoever knows the seed, or finds it by trying, knows who was in "
        "which round; epsilon assumes that nobody does.",
    )
    resume_copy: bool = _field(
        False,
        "Go on with a private run in a copy of its folder, or one that was restored or moved to "
        "another file system. For when nobody goes on with the original: epsilon counts this "
        "folder's history alone, and the ledger and the statement say so.",
        may_change_on_resume=True,
    )

    # Execution.
    secure_sum: str = _field(
        "plain",
        "How integers are summed that devices send to a secure sum (secure_mean, ddp_...): plain, "
        "in the clear; masked, pairwise masks and shares (Bonawitz et al. 2017); bfv or ckks, "
        "homomorphic encryption, the keys held by a third party.",
        choices=SECURE_SUMS,
    )
    execution: str = _field(
        "compiled",
        "Where computations run: compiled by XLA in this process; native, TFF's own C++ runtime; "
        "debug, one client at a time, with errors that name client and operation.",
        choices=EXECUTIONS,
        may_change_on_resume=True,
    )
    device: str = _field(
        "cpu", "cpu, gpu (all of them), gpu:N or tpu (compiled).", may_change_on_resume=True
    )
    num_parallel_shards: int | None = _field(
        None,
        "Parts that a cohort is split into, each in a thread of its own (compiled); by default one "
        "for each core, or for each accelerator.",
        low=1,
        high=1024,
        may_change_on_resume=True,
    )
    clients_per_block: int = _field(
        128,
        "Users whose data are on a device at once, for each shard (compiled).",
        low=1,
        high=1_000_000,
        may_change_on_resume=True,
    )

    @property
    def aggregator_chain(self) -> chain_lib.Chain:
        """What happens to updates; chosen by the privacy flags where nothing is named."""
        default = kinds.DEFAULT.name if self.asks_for_privacy else "mean"
        return chain_lib.parse(self.aggregator or default, self.aggregator_param)

    @property
    def aggregator_name(self) -> str:
        """What aggregates: the last of the chain."""
        return self.aggregator_chain.terminal.name

    @property
    def mechanism_kind(self) -> MechanismKind | None:
        """The private mechanism; None where what aggregates is not private."""
        return self.aggregator_chain.terminal.mechanism_kind

    @property
    def asks_for_privacy(self) -> bool:
        """Whether a budget or a noise was named."""
        return self.target_epsilon is not None or self.noise_multiplier is not None

    @property
    def is_private(self) -> bool:
        """Whether the aggregator is differentially private."""
        return self.aggregator_chain.terminal.is_private

    @property
    def has_item_table(self) -> bool:
        """Whether a table of all items comes with the data."""
        return self.item_table is not None or self.dataset in _DATASETS_WITH_ITEM_TABLE

    @property
    def catalogue_kind(self) -> str:
        """Where the items come from, one of `CATALOGUES`; of the data is an assumption."""
        return self.catalogue_kind_if(self.is_private)

    def catalogue_kind_if(self, is_private: bool) -> str:
        """The same for what is private by other means than the aggregator, or is not."""
        if self.catalogue is not None:
            return self.catalogue
        return "table" if is_private and self.has_item_table else "data"

    @property
    def has_public_roster(self) -> bool:
        """Whether the users are told by a roster; if not, those of the data are taken as public."""
        return self.roster is not None

    @property
    def sampling_law(self) -> str:
        """How cohorts are drawn."""
        if self.sampling is not None:
            return self.sampling
        return self.mechanism_kind.samplings[0] if self.is_private else sampling.POISSON

    @property
    def popularity_release(self) -> "releases.PopularityRelease | None":
        """The release of item popularity; None for none."""
        if self.popularity_noise_multiplier is None:
            return None
        # Accounting takes half a second to import, which no help text should wait for.
        from fedrec_tff.privacy import releases

        return releases.PopularityRelease(
            self.popularity_noise_multiplier, self.popularity_items_per_user
        )

    @property
    def catalogue_release(self) -> "releases.CatalogueRelease | None":
        """The release of the catalogue; None for one that comes from elsewhere."""
        if self.catalogue_kind != "selected":
            return None
        from fedrec_tff.privacy import releases

        return releases.CatalogueRelease(
            self.catalogue_noise_multiplier,
            self.catalogue_delta or _DELTA_OF_CATALOGUE * self.target_delta,
            self.catalogue_items_per_user,
        )

    @property
    def evaluation_release(self) -> "releases.EvaluationRelease | None":
        """The release of validation metrics; None for none."""
        if self.private_evaluation_noise_multiplier is None:
            return None
        from fedrec_tff.privacy import releases

        return releases.EvaluationRelease(self.private_evaluation_noise_multiplier)

    @property
    def population(self) -> PopulationConfig | None:
        """The budget over runs; None for none."""
        if self.population_ledger is None:
            return None
        delta = self.target_delta if self.population_delta is None else self.population_delta
        return PopulationConfig(self.population_ledger, self.population_epsilon, delta)

    @property
    def budget_name(self) -> str:
        """What limits the run's privacy cost, for messages."""
        limits = (
            [] if self.target_epsilon is None else [f"--target_epsilon={self.target_epsilon:g}"]
        )
        if self.population_ledger is not None:
            limits.append(f"the budget of --population_ledger={self.population_ledger}")
        return " or ".join(limits)

    @property
    def list_lengths(self) -> tuple[int, ...]:
        """The k of metrics at k: adjacency sets are published with 20."""
        return (10, 20) if self.dataset == "adjacency" else (10,)

    @property
    def num_evaluations(self) -> int:
        """Rounds after which the model is evaluated; the last is always one."""
        return -(-self.rounds // self.rounds_per_evaluation)

    @property
    def uses_popularity(self) -> bool:
        """Whether training needs to know how often items were taken."""
        return "popularity" in (self.initial_bias, self.negative_sampling)

    @property
    def has_secret_cohorts(self) -> bool:
        """Whether epsilon rests on nobody knowing the cohorts, which a secret key then draws."""
        is_insecure = self.insecure_seeded_cohorts or self.insecure_deterministic_noise
        counts = self.is_private and self.mechanism_kind.counts_on_secret_cohorts
        return counts and not is_insecure

    @property
    def checkpoint_period(self) -> int:
        """Rounds between checkpoints."""
        return self.rounds_per_checkpoint or (1 if self.is_private else 10)

    @property
    def rounds_to_profile(self) -> tuple[int, int] | None:
        """The first and the last round to profile; None for none."""
        if self.profile_rounds is None:
            return None
        first, last = ROUND_RANGE.fullmatch(self.profile_rounds).groups()
        return int(first), int(last or first)

    @property
    def two_tower(self) -> TwoTowerConfig:
        """The model's shape."""
        return TwoTowerConfig(
            self.embedding_dim,
            self.history_length,
            self.num_blocks,
            self.temperature,
            self.query_tower,
            self.num_heads,
            self.dropout,
            item_feature_buckets=self.feature_buckets if self.item_features else 0,
            user_feature_buckets=self.feature_buckets if self.user_features else 0,
            similarity=self.similarity,
            plugin=self.model_plugin,
        )

    @property
    def model_plugin(self) -> Chosen | None:
        """The model of somebody's own; None for a built-in one."""
        if self.model is None:
            return None
        return model_plugin_lib.parse(self.model, self.model_param)

    @property
    def client_work(self) -> learning_config.ClientWorkConfig:
        """How a client trains."""
        optimizer = learning_config.OptimizerConfig(
            self.client_optimizer,
            self.client_learning_rate,
            self.client_momentum,
            schedule=self._create_schedule(self.client_learning_rate_schedule),
        )
        return learning_config.ClientWorkConfig(
            optimizer,
            self.loss,
            self.batch_size,
            self.local_epochs,
            self.label_smoothing,
            self.bce_calibration,
            self.hinge_margin,
            self.spreadout_weight,
            self.proximal_weight,
            self.max_local_steps,
            self.normalized_averaging,
            self.client_weighting or learning_config.BY_EXAMPLES,
            self.client_algorithm,
            personal=self.personal,
            loss_plugin=self.loss_plugin,
        )

    @property
    def loss_plugin(self) -> Chosen | None:
        """The loss of somebody's own; None for a built-in one."""
        if self.loss in learning_config.LOSSES:
            return None
        return loss_plugin_lib.parse(self.loss, self.loss_param)

    @property
    def personal(self) -> personal_config_lib.PersonalConfig | None:
        """The part of the model that stays on the device; None for none."""
        if self.personal_tower == personal_config_lib.NONE:
            return None
        return personal_config_lib.PersonalConfig(
            self.personal_tower,
            self.reconstruction_steps,
            self.reconstruction_learning_rate,
            self.support_fraction,
            self.personal_state == personal_config_lib.PERSISTENT,
        )

    @property
    def num_stored_weights(self) -> int:
        """How many weights a device keeps of the model from round to round."""
        if self.personal is None or not self.personal.is_persistent:
            return 0
        return self.personal.num_weights(self.embedding_dim)

    @property
    def attack_config(self) -> attack_config_lib.AttackConfig | None:
        """Who attacks, and how; None for nobody."""
        if self.attack is None:
            return None
        return attack_config_lib.AttackConfig(
            self.attack, self.attack_fraction, self.attack_scale, self.attack_target_item
        )

    @property
    def failure_config(self) -> failure_config_lib.FailureConfig | None:
        """How devices fail; None if they don't."""
        if self.failure is None:
            return None
        return failure_config_lib.FailureConfig(
            self.failure, self.failure_rate, self.failure_staleness
        )

    @property
    def server(self) -> learning_config.OptimizerConfig:
        """The server's optimiser."""
        return learning_config.OptimizerConfig(
            self.server_optimizer,
            self.server_learning_rate,
            self.server_momentum,
            self.server_epsilon,
            self._create_schedule(self.server_learning_rate_schedule),
        )

    def _create_schedule(self, name: str | None) -> learning_config.ScheduleConfig | None:
        if name is None:
            return None
        return learning_config.ScheduleConfig(
            name, self.rounds, self.warmup_rounds, self.final_learning_rate_fraction
        )


def to_flags(config: RunConfig) -> dict[str, Any]:
    """Every flag's value, as JSON has it."""
    flags = dataclasses.asdict(config)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in flags.items()}


def names_that_may_change_on_resume() -> set[str]:
    """The flags that an interrupted run may go on with other values of."""
    fields = dataclasses.fields(RunConfig)
    return {field.name for field in fields if field.metadata["spec"].may_change_on_resume}


def split_value(name: str, value: Any) -> list[Any]:
    """What a command line says of a flag: one value, or several for a flag that is repeated.

    Args:
      name: Of the flag.
      value: As `to_flags` has it.

    Returns:
      The values; a list that is given by commas is one.
    """
    if not isinstance(value, list):
        return [value]
    repeated = {f.name for f in dataclasses.fields(RunConfig) if f.metadata["spec"].is_repeated}
    return value if name in repeated else [",".join(value)]
