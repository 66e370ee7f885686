"""The topic of the server: how updates are aggregated, and how the model moves by them."""

# Tested in tests/config/test_run_config.py and tests/config/test_algorithm_flags.py.

import dataclasses

from fedrec_tff.aggregators import registry
from fedrec_tff.config.field_spec import Need, declare
from fedrec_tff.learning import config as learning_config
from fedrec_tff.privacy.mechanisms import kinds

SECURE_SUMS = ("plain", "masked", "bfv", "ckks")

_SERVER_SGD = Need("--server_optimizer=sgd", lambda config: config.server_optimizer == "sgd")
_MASKED_SUM = Need("--secure_sum=masked", lambda config: config.secure_sum == "masked")
_ADAPTIVE_SERVER = Need(
    "--server_optimizer=adam, lazy_adam, adagrad or yogi",
    lambda config: config.server_optimizer != "sgd",
)


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """The server's part in a round. See each field's help."""

    aggregator: str | None = declare(
        None,
        "Aggregator of updates: one of "
        + ", ".join(registry.names())
        + "; a builder of yours, as package.module:builder or path/to/file.py:builder; or several, "
        "from the client to the server, separated by commas. `python -m experiments.aggregators "
        f"list` says what they are. By default {kinds.DEFAULT.name} if --target_epsilon or "
        "--noise_multiplier is given, else mean.",
        is_leading=True,
    )
    aggregator_param: tuple[str, ...] = declare(
        (),
        "A parameter of the aggregator, as key=value, or name.key=value where several have it. "
        "`python -m experiments.aggregators describe NAME` lists them.",
        is_repeated=True,
    )
    secure_sum: str = declare(
        "plain",
        "Protocol that sums the integers that devices send to a secure sum (secure_mean, ddp_...): "
        "plain, in the clear; masked, pairwise masks and shares (Bonawitz et al. 2017); bfv or "
        "ckks, homomorphic encryption, the keys held by a third party.",
        choices=SECURE_SUMS,
    )
    signed_keys: bool = declare(
        False,
        "Have devices sign the keys of a masked sum, and who stayed to its end, under identity "
        "keys that all know, so that a server cannot hand out keys of its own. The sums are the "
        "same; it costs bytes. docs/secure_sums.md says what such a server can still do.",
        needs=(_MASKED_SUM,),
        costs_privacy=False,
    )
    server_learning_rate: float = declare(
        0.01,
        "Step size on the server.",
        low=0.0,
        low_is_allowed=False,
        costs_privacy=False,
        is_leading=True,
    )
    server_optimizer: str = declare(
        "adam",
        "Optimizer that applies the aggregate: sgd is FedAvg (FedAvgM with momentum), the others "
        "FedAdam, FedAdagrad, FedYogi. lazy_adam is Adam that leaves alone the rows of the item "
        "table that no client of the round sent: for large catalogues, without noise.",
        choices=learning_config.SERVER_OPTIMIZERS,
        costs_privacy=False,
    )
    server_momentum: float = declare(
        0.0,
        "Momentum of the server's sgd.",
        low=0.0,
        high=0.999,
        needs=(_SERVER_SGD,),
        costs_privacy=False,
    )
    server_epsilon: float = declare(
        1e-7,
        "Adaptivity constant of the server's adam, adagrad and yogi (not a privacy parameter).",
        low=0.0,
        low_is_allowed=False,
        needs=(_ADAPTIVE_SERVER,),
        costs_privacy=False,
    )
    server_learning_rate_schedule: str | None = declare(
        None,
        "Schedule by which --server_learning_rate follows the round; as "
        "--client_learning_rate_schedule.",
        choices=learning_config.SCHEDULES,
        costs_privacy=False,
    )
    averaging_decay: float = declare(
        0.0,
        "Weight on the past of an exponential moving average of the models, which is then "
        "evaluated and kept; 0 for the last model. Costs no privacy.",
        low=0.0,
        high=0.9999,
        costs_privacy=False,
    )
