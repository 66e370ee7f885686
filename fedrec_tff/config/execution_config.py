"""The topic of execution: where and how computations run, which changes no result."""

# Tested in tests/config/test_run_config.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare

EXECUTIONS = ("compiled", "native", "debug")

_COMPILED = Need("--execution=compiled", lambda config: config.execution == "compiled")


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
    """Where computations run. See each field's help."""

    execution: str = declare(
        "compiled",
        "Place where computations run: compiled by XLA in this process; native, TFF's own C++ "
        "runtime; debug, one client at a time, with errors that name client and operation.",
        choices=EXECUTIONS,
        costs_privacy=False,
        may_change_on_resume=True,
    )
    device: str = declare(
        "cpu",
        "Device that computes (compiled): cpu, gpu (all of them), gpu:N or tpu.",
        needs=(_COMPILED,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    num_parallel_shards: int | None = declare(
        None,
        "Threads that work on a cohort's shares (compiled); by default one for each core, or for "
        "each accelerator.",
        low=1,
        high=1024,
        needs=(_COMPILED,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    num_shares: int | None = declare(
        None,
        "Shares that a cohort is split into, each summed by itself (compiled); by default one for "
        "each thread. With a number, results are the same to the bit on machines with other "
        "numbers of cores.",
        low=1,
        high=65536,
        needs=(_COMPILED,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    clients_per_block: int = declare(
        128,
        "Users whose data are on a device at once, for each shard (compiled).",
        low=1,
        high=1_000_000,
        needs=(_COMPILED,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
