"""What can be chosen about training, without TensorFlow."""

# Tested in tests/learning/test_client_work.py and tests/config/test_algorithm_flags.py.

import dataclasses

from fedrec_tff.learning import algorithm_traits, personal_config
from fedrec_tff.learning.algorithm_traits import FEDAVG
from fedrec_tff.models.losses import catalogue as losses
from fedrec_tff.models.losses import plugin as loss_plugin_lib
from fedrec_tff.plugins.chosen import Chosen

SAMPLED_SOFTMAX = "sampled_softmax"
LOSSES = tuple(losses.LOSSES)
OPTIMIZERS = ("sgd", "adam", "adagrad", "yogi")
# Adam that leaves alone the rows of the item table that no client of the round sent.
LAZY_ADAM = "lazy_adam"
SERVER_OPTIMIZERS = (*OPTIMIZERS, LAZY_ADAM)
UNIFORM = "uniform"
POPULARITY = "popularity"
NEGATIVE_SAMPLINGS = (UNIFORM, POPULARITY)
CONSTANT = "constant"
LINEAR = "linear"
COSINE = "cosine"
EXPONENTIAL = "exponential"
INVERSE_SQRT = "inverse_sqrt"
SCHEDULES = (CONSTANT, LINEAR, COSINE, EXPONENTIAL, INVERSE_SQRT)
# Those whose rates depend on which round is the last.
SCHEDULES_TO_LAST_ROUND = (LINEAR, COSINE, EXPONENTIAL)
SCHEDULES_WITH_FINAL_FRACTION = (LINEAR, COSINE, EXPONENTIAL, INVERSE_SQRT)
CLIENT_ALGORITHMS = tuple(algorithm_traits.TRAITS)
BY_EXAMPLES = "num_examples"
BY_SQRT_EXAMPLES = "sqrt_num_examples"
BY_LOG_EXAMPLES = "log_num_examples"
EVERYBODY_THE_SAME = "uniform"
CLIENT_WEIGHTINGS = (BY_EXAMPLES, BY_SQRT_EXAMPLES, BY_LOG_EXAMPLES, EVERYBODY_THE_SAME)


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """How a learning rate follows the round; see `schedules.create_learning_rates`.

    Attributes:
      name: Name of the schedule, one of `SCHEDULES`.
      rounds: Rounds of the whole run.
      warmup_rounds: First rounds, in which the rate rises; fewer than `rounds`.
      final_fraction: Part of the rate at which the decay ends.
    """

    name: str
    rounds: int
    warmup_rounds: int = 0
    final_fraction: float = 0.0


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser and its hyperparameters.

    On the server `sgd` makes FedAvg (FedAvgM with momentum), and the others FedAdam, FedAdagrad
    and FedYogi (Reddi et al. 2021, arXiv 2003.00295).

    Attributes:
      name: Name of the optimiser, one of `OPTIMIZERS`, on the server of `SERVER_OPTIMIZERS`.
      learning_rate: The step size.
      momentum: Momentum of `sgd`; 0 for none.
      epsilon: The adaptivity constant of the others (tau in Reddi et al.).
      schedule: Schedule of the step size over the rounds; None if it stays as it is.
    """

    name: str
    learning_rate: float
    momentum: float = 0.0
    epsilon: float = 1e-3
    schedule: ScheduleConfig | None = None

    @property
    def is_stateless(self) -> bool:
        """Whether nothing is kept for each weight."""
        return self.name == "sgd" and not self.momentum

    @property
    def moves_rows_alone(self) -> bool:
        """Whether a weight without a gradient stays where it is, or its row of the item table."""
        return self.is_stateless or self.name in ("adagrad", LAZY_ADAM)


@dataclasses.dataclass(frozen=True)
class ClientWorkConfig:
    """How a client trains.

    Attributes:
      optimizer: Optimiser that takes the local steps.
      loss: Name of the loss, one of `LOSSES`.
      batch_size: Examples in a local step; 0 puts all of a user's examples into one step, which
        with one local epoch and plain SGD is FedSGD.
      local_epochs: Passes over the user's examples.
      label_smoothing: Label smoothing of the loss, see `formulas.sampled_softmax`.
      bce_calibration: Calibration of the loss, see `formulas.binary_cross_entropy`.
      hinge_margin: Margin of the loss, see `formulas.hinge_with_spreadout`.
      spreadout_weight: Weight of the regulariser of `formulas.hinge_with_spreadout`.
      proximal_weight: mu of FedProx; see `algorithms.fedprox`.
      max_local_steps: The most steps in a round; None for as many as the epochs have.
      normalizes_update: Whether the update is divided by its steps; see `algorithms.fednova`.
      weighting: Rule by which clients are weighted, one of `CLIENT_WEIGHTINGS`: how much a client
        counts, where that counts.
      algorithm: Name of the client's algorithm, one of `CLIENT_ALGORITHMS`.
      personal: The part of the model that stays on the device; None for none.
      loss_plugin: A loss of somebody's own, in place of `loss`; None for none.
    """

    optimizer: OptimizerConfig
    loss: str = SAMPLED_SOFTMAX
    batch_size: int = 16
    local_epochs: int = 1
    label_smoothing: float = 0.0
    bce_calibration: float = 0.75
    hinge_margin: float = 1.0
    spreadout_weight: float = 0.1
    proximal_weight: float = 0.0
    max_local_steps: int | None = None
    normalizes_update: bool = False
    weighting: str = BY_EXAMPLES
    algorithm: str = FEDAVG
    personal: personal_config.PersonalConfig | None = None
    loss_plugin: Chosen | None = None

    @property
    def algorithm_traits(self) -> algorithm_traits.Traits:
        """What the algorithm asks of a run."""
        return algorithm_traits.TRAITS[self.algorithm]

    @property
    def chosen_loss(self) -> Chosen:
        """The loss, with its parameters."""
        return self.loss_plugin or loss_plugin_lib.choose_builtin(self.loss, vars(self))

    @property
    def loss_candidates(self) -> str:
        """What the loss scores a batch against; one of somebody's own is imported to tell."""
        return loss_plugin_lib.find_candidates(self.chosen_loss)

    @property
    def needs_whole_table(self) -> bool:
        """Whether a step touches every item, so that updates are dense."""
        return self.loss_candidates == losses.CATALOGUE or self.algorithm_traits.moves_all_items
