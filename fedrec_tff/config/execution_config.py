"""The topic of execution: where and how computations run, which changes no result."""

# Tested in tests/config/test_run_config.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare

EXECUTIONS = ("compiled", "pjrt", "ray", "native", "debug")
CLIENT_BATCHING = ("auto", "on", "off")

_ON_A_DEVICE = Need(
    "--execution=compiled or pjrt", lambda config: config.execution in ("compiled", "pjrt")
)
_IN_THREADS = Need(
    "--execution=compiled or ray", lambda config: config.execution in ("compiled", "ray")
)
_COMPILED_ANYWHERE = Need(
    "--execution=compiled, pjrt or ray",
    lambda config: config.execution in ("compiled", "pjrt", "ray"),
)
_PJRT = Need("--execution=pjrt", lambda config: config.execution == "pjrt")
_RAY = Need("--execution=ray", lambda config: config.execution == "ray")
_NATIVE = Need("--execution=native", lambda config: config.execution == "native")


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
    """Where computations run. See each field's help."""

    execution: str = declare(
        "compiled",
        "Place where computations run: compiled by XLA in this process; pjrt, users' work by a "
        "current XLA, on GPUs and TPUs of today, many users at once; ray, compiled on the workers "
        "of a Ray cluster; native, TFF's own C++ runtime; debug, one client at a time, "
        "with errors that name client and operation.",
        choices=EXECUTIONS,
        costs_privacy=False,
        may_change_on_resume=True,
    )
    device: str = declare(
        "cpu",
        "Device that computes (compiled, pjrt): cpu, gpu (all of them), gpu:N, tpu or tpu:N.",
        needs=(_ON_A_DEVICE,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    num_parallel_shards: int | None = declare(
        None,
        "Threads that work on a cohort's shares (compiled, ray); by default one for each core, or "
        "for each accelerator, and one for each worker of a cluster.",
        low=1,
        high=1024,
        needs=(_IN_THREADS,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    num_shares: int | None = declare(
        None,
        "Shares that a cohort is split into, each summed by itself (compiled, pjrt, ray); by "
        "default one for each thread or device, and 16 on a cluster. With a number, results are "
        "the same to the bit for any number of cores and of workers.",
        low=1,
        high=65536,
        needs=(_COMPILED_ANYWHERE,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    clients_per_block: int = declare(
        128,
        "Users whose data are on a device at once, for each thread or device (compiled, pjrt, "
        "ray).",
        low=1,
        high=1_000_000,
        needs=(_COMPILED_ANYWHERE,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    client_batching: str = declare(
        "auto",
        "Users of a block are worked on at once (pjrt): on; off, one after the other; or auto, on "
        "with GPUs and TPUs, off with a CPU, where that is faster.",
        choices=CLIENT_BATCHING,
        needs=(_PJRT,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    ray_address: str = declare(
        "auto",
        "Ray cluster to use (ray): auto, the one that this machine is a node of; its address, "
        "HOST:PORT; or local, to start one on this machine that ends with the run.",
        needs=(_RAY,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    ray_workers: int | None = declare(
        None,
        "Workers that share a cohort (ray), each of which takes --num_parallel_shards processors; "
        "by default as many as the cluster has room for, and there are shares.",
        low=1,
        high=65536,
        needs=(_RAY,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    ray_gpus_per_worker: float = declare(
        0.0,
        "GPUs of each worker (ray), on which it then computes; a fraction lets workers share one.",
        low=0.0,
        high=64.0,
        needs=(_RAY,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    workers: tuple[str, ...] = declare(
        (),
        "Addresses HOST:PORT, with commas, of workers of TFF's own runtime that share a cohort "
        "(native); by default one is started here, and ends with the run.",
        needs=(_NATIVE,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
