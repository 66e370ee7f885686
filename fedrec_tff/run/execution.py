"""From flags to a TFF context, with its errors as lines for the user."""

# Tested in tests/whole_runs/test_execution_flags.py.

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping

from fedrec_tff import errors
from fedrec_tff.accelerator import pjrt_context
from fedrec_tff.cluster import connection, ray_context, worker_pool
from fedrec_tff.cluster import worker as worker_lib
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.execution import compiled, debug, exceptions, native
from fedrec_tff.execution.secure_sum import SecureSum
from fedrec_tff.run import notices
from fedrec_tff.secure_sums import by_name

# Contexts, and what devices compute beside rounds.
_LOGGER = "fedrec_tff"


@dataclasses.dataclass(frozen=True)
class Execution:
    """Where a run's computations run.

    Attributes:
      secure_sum: What does secure sums; None for sums in the clear.
      read_worker_rates: Function that reads the users a second of each worker in the latest round,
        by the worker's number; of none where there is no cluster.
    """

    secure_sum: SecureSum | None
    read_worker_rates: Callable[[], Mapping[int, float]] = dict


@contextlib.contextmanager
def execution_context(config: RunConfig) -> Iterator[Execution]:
    """Installs the context that a run's computations run in.

    Args:
      config: Valid flags.

    Yields:
      What the run may ask of the context; computations run in it inside of the block.

    Raises:
      UserError: If the machine lacks the device, or the memory, or a cluster cannot be used.
      WorkerLostError: If all processes that do the work have ended.
    """
    try:
        secure_sum = by_name.create_secure_sum(config.secure_sum, config.signed_keys)
        with (
            _logs_to_standard_error(config.is_private),
            _create_context(config, secure_sum) as execution,
        ):
            yield execution
    except exceptions.DeviceNotFoundError as error:
        raise errors.UserError(f"--device={config.device}: {error}") from error
    except exceptions.OutOfMemoryError as error:
        raise errors.UserError(
            f"{error}; --clients_per_block={config.clients_per_block} and --num_parallel_shards "
            "bound what clients need, --embedding_dim what the model does"
        ) from error
    except exceptions.UnsupportedComputationError as error:
        chain = config.aggregator_chain
        raise errors.UserError(f"--aggregator={chain.name} cannot run here: {error}") from error
    except exceptions.WorkerLostError:
        # Of it, those who know the run's folder can tell more.
        raise
    except exceptions.WorkerUnfitError as error:
        raise errors.UserError(str(error)) from error
    except exceptions.ExecutionError as error:
        hint = "" if config.execution == "debug" else "; --execution=debug tells more"
        raise errors.UserError(f"{error}{hint}") from error


def describe(config: RunConfig) -> dict[str, object]:
    """What `results.json` says about where a run was computed."""
    described: dict[str, object] = {"context": config.execution}
    if config.execution in ("compiled", "pjrt"):
        described["device"] = config.device
    if config.execution == "pjrt":
        described["client_batching"] = config.client_batching
    if config.execution == "ray":
        described |= {
            "ray_workers": config.ray_workers,
            "ray_gpus_per_worker": config.ray_gpus_per_worker,
        }
    if config.execution in ("compiled", "ray"):
        described["num_parallel_shards"] = config.num_parallel_shards
    if config.execution in ("compiled", "pjrt", "ray"):
        described |= {
            "num_shares": _choose_num_shares(config),
            "clients_per_block": config.clients_per_block,
        }
    if config.workers:
        described["num_workers"] = len(config.workers)
    return described


@contextlib.contextmanager
def _create_context(config: RunConfig, secure_sum: SecureSum | None) -> Iterator[Execution]:
    random_seed = config.seed if config.insecure_deterministic_noise else None
    kind = config.mechanism_kind
    is_protective = kind is not None and kind.draws_noise_on_devices and random_seed is None
    options = compiled.CompiledOptions(
        device=config.device,
        num_parallel_shards=config.num_parallel_shards,
        num_shares=_choose_num_shares(config),
        clients_per_block=config.clients_per_block,
        random_seed=random_seed,
        secure_sum=secure_sum,
        has_protective_client_noise=is_protective,
        # Training goes on with what a round returns.
        updates_in_place=True,
    )
    if config.execution == "ray":
        with _ray_context(config, options) as context:
            yield Execution(secure_sum, lambda: context.worker_rates)
        return
    if config.execution == "pjrt":
        with _pjrt_context(config, options):
            yield Execution(secure_sum)
        return
    if config.execution == "native":
        context = native.native_context(workers=config.workers)
    elif config.execution == "debug":
        context = debug.DebugContext(random_seed, secure_sum, is_protective).install()
    else:
        context = compiled.CompiledContext(options).install()
    with context:
        yield Execution(secure_sum)


def _choose_num_shares(config: RunConfig) -> int | None:
    if config.execution == "ray" and config.num_shares is None:
        return ray_context.DEFAULT_NUM_SHARES
    return config.num_shares


@contextlib.contextmanager
def _pjrt_context(config: RunConfig, options: compiled.CompiledOptions) -> Iterator[None]:
    is_batched = {"auto": None, "on": True, "off": False}[config.client_batching]
    pjrt = pjrt_context.PjrtOptions(device=config.device, is_batched=is_batched)
    # The server's part stays in this process.
    options = dataclasses.replace(options, device="cpu")
    with contextlib.closing(pjrt_context.PjrtContext(options, pjrt)) as context, context.install():
        yield


@contextlib.contextmanager
def _ray_context(
    config: RunConfig, options: compiled.CompiledOptions
) -> Iterator[ray_context.RayContext]:
    num_threads = config.num_parallel_shards or 1
    num_cpus = None if config.ray_workers is None else config.ray_workers * num_threads
    worker_options = worker_lib.WorkerOptions(num_threads, config.ray_gpus_per_worker)
    with (
        connection.connect(config.ray_address, num_cpus) as ray,
        worker_pool.Workers(ray, worker_options, config.ray_workers, options.num_shares) as workers,
    ):
        context = ray_context.RayContext(options, workers)
        with context.install():
            yield context


class _SayingHandler(logging.Handler):
    """Says what is logged as all is said: above the bar of rounds, where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Says one record."""
        notices.say(record.getMessage())


@contextlib.contextmanager
def _logs_to_standard_error(is_private: bool) -> Iterator[None]:
    """Shows what is logged: what could not be compiled, and what was.

    What is compiled depends on who is in the cohort: under differential privacy it is not told.
    """
    logger = logging.getLogger(_LOGGER)
    handler = _SayingHandler()
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if is_private else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
