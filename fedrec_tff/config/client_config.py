"""The topic of client work: what a client computes in a round."""

# Tested in tests/config/test_run_config.py and tests/config/test_algorithm_flags.py.

import dataclasses
from collections.abc import Sequence

from fedrec_tff.config.field_spec import MOST, Need, declare
from fedrec_tff.learning import config as learning_config
from fedrec_tff.models.losses import catalogue as losses
from fedrec_tff.models.losses import plugin
from fedrec_tff.plugins.chosen import Chosen


def _name_losses(names: Sequence[str]) -> str:
    """The flags that choose one of several losses, as a message says them."""
    *most, last = names
    return f"--loss={', '.join(most)} or {last}" if most else f"--loss={last}"


def _need_loss_with(parameter: str) -> Need:
    """A built-in loss with a parameter: one of somebody's own has others, by --loss_param."""
    names = losses.names_with(parameter)
    return Need(_name_losses(names), lambda config: config.loss in names)


# Whether a loss of somebody's own draws negatives is known when it is imported.
DRAWN_NEGATIVES = Need(
    _name_losses(losses.names_against(losses.DRAWN)),
    lambda config: (
        config.loss not in losses.LOSSES or losses.LOSSES[config.loss].candidates == losses.DRAWN
    ),
)
_OWN_LOSS = Need("a --loss of yours", lambda config: config.loss not in losses.LOSSES)
_CLIENT_SGD = Need("--client_optimizer=sgd", lambda config: config.client_optimizer == "sgd")


@dataclasses.dataclass(frozen=True)
class ClientConfig:
    """The work of a client in a round. See each field's help."""

    client_learning_rate: float = declare(
        0.5,
        "Step size on the client.",
        low=0.0,
        low_is_allowed=False,
        costs_privacy=False,
        is_leading=True,
    )
    client_optimizer: str = declare(
        "sgd",
        "Optimizer of the client's steps.",
        choices=learning_config.OPTIMIZERS,
        costs_privacy=False,
    )
    client_momentum: float = declare(
        0.0,
        "Momentum of the client's sgd.",
        low=0.0,
        high=0.999,
        needs=(_CLIENT_SGD,),
        costs_privacy=False,
    )
    client_learning_rate_schedule: str | None = declare(
        None,
        "Schedule by which --client_learning_rate follows the round: constant, linear, cosine, "
        "exponential, inverse_sqrt, after --warmup_rounds; by default none.",
        choices=learning_config.SCHEDULES,
        costs_privacy=False,
    )
    batch_size: int = declare(
        16,
        "Examples in a local step; 0 for all of a user's in one (FedSGD), which is how causal "
        "towers and set have them anyway.",
        low=0,
        high=1_000_000,
        costs_privacy=False,
    )
    local_epochs: int = declare(
        1,
        "Passes over a user's examples in a round.",
        low=1,
        high=10_000,
        costs_privacy=False,
    )
    max_local_steps: int | None = declare(
        None,
        "The most steps of a client in a round; by default as many as its epochs have.",
        low=1,
        high=MOST,
        costs_privacy=False,
    )
    loss: str = declare(
        learning_config.SAMPLED_SOFTMAX,
        "The client's loss: sampled_softmax, with log-Q correction; in_batch_softmax, against the "
        "user's own items; full_softmax, against all items (updates are then dense); bce, binary "
        "cross-entropy corrected as in gSASRec; bpr; hinge, with a spreadout; or one of yours, as "
        "package.module:loss or path/to/file.py:loss. docs/models.md tells how to write one.",
        costs_privacy=False,
    )
    loss_param: tuple[str, ...] = declare(
        (),
        "A parameter of a --loss of yours, as key=value.",
        is_repeated=True,
        needs=(_OWN_LOSS,),
    )
    num_negatives: int = declare(
        128,
        "Negatives a client draws in a round (sampled_softmax, bce, bpr, hinge).",
        low=1,
        high=1_000_000,
        needs=(DRAWN_NEGATIVES,),
        costs_privacy=False,
    )
    negative_sampling: str = declare(
        learning_config.UNIFORM,
        "Distribution of negatives, corrected for in sampled_softmax; under differential privacy, "
        "'popularity' needs --popularity_noise_multiplier.",
        choices=learning_config.NEGATIVE_SAMPLINGS,
        needs=(DRAWN_NEGATIVES,),
    )
    label_smoothing: float = declare(
        0.0,
        "Part of each label that is spread over all candidates (sampled_softmax, full_softmax).",
        low=0.0,
        high=0.99,
        needs=(_need_loss_with("label_smoothing"),),
        costs_privacy=False,
    )
    bce_calibration: float = declare(
        0.75,
        "Degree to which bce is corrected for few negatives: t of gSASRec.",
        low=0.0,
        high=1.0,
        needs=(_need_loss_with("bce_calibration"),),
    )
    hinge_margin: float = declare(
        1.0,
        "Margin by which a positive should exceed a negative (hinge).",
        low=0.0,
        high=1e9,
        needs=(_need_loss_with("hinge_margin"),),
    )
    spreadout_weight: float = declare(
        0.1,
        "Weight of the term that keeps item embeddings apart (hinge).",
        low=0.0,
        high=1e9,
        needs=(_need_loss_with("spreadout_weight"),),
        costs_privacy=False,
    )
    client_algorithm: str = declare(
        learning_config.FEDAVG,
        "Algorithm of local training: fedavg, each client's optimizer for itself; or mimelite, "
        "with the server's statistics, which stay fixed within a round (Karimireddy et al. 2021; "
        "updates are then dense).",
        choices=learning_config.CLIENT_ALGORITHMS,
    )
    proximal_weight: float = declare(
        0.0,
        "Weight that keeps clients near the model they got: mu of FedProx (Li et al. 2020).",
        low=0.0,
        high=1e9,
        costs_privacy=False,
    )
    normalized_averaging: bool = declare(
        False,
        "Divide each update by its number of local steps, so that who has more examples moves the "
        "model no further (FedNova, Wang et al. 2020); --server_learning_rate makes up for it.",
    )
    client_weighting: str | None = declare(
        None,
        "Weight of a client where the aggregator weighs: num_examples, the default; "
        "sqrt_num_examples; log_num_examples, of one more; uniform. Under differential privacy "
        "everybody counts the same.",
        choices=learning_config.CLIENT_WEIGHTINGS,
    )

    @property
    def loss_plugin(self) -> Chosen | None:
        """The loss of somebody's own; None for a built-in one."""
        if self.loss in losses.LOSSES:
            return None
        return plugin.parse(self.loss, self.loss_param)
