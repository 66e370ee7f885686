"""From flags to a TFF context, with its errors as lines for the user."""

# Tested in tests/whole_runs/test_execution_flags.py.

import contextlib
import logging
import sys
from collections.abc import Iterator

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.execution import compiled, debug, exceptions, native
from fedrec_tff.execution.secure_sum import SecureSum
from fedrec_tff.secure_sums import by_name

# Contexts, and what devices compute beside rounds.
_LOGGER = "fedrec_tff"


@contextlib.contextmanager
def execution_context(config: RunConfig) -> Iterator[SecureSum | None]:
    """Installs the context that a run's computations run in.

    Args:
      config: Valid flags.

    Yields:
      What does secure sums, None for sums in the clear; computations run in the context inside of
      the block.

    Raises:
      UserError: If the machine lacks the device, or the memory.
    """
    try:
        secure_sum = by_name.create_secure_sum(config.secure_sum)
        with _logs_to_standard_error(config.is_private), _create_context(config, secure_sum):
            yield secure_sum
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
    except exceptions.ExecutionError as error:
        hint = "" if config.execution == "debug" else "; --execution=debug tells more"
        raise errors.UserError(f"{error}{hint}") from error


def describe(config: RunConfig) -> dict[str, object]:
    """What `results.json` says about where a run was computed."""
    described: dict[str, object] = {"context": config.execution}
    if config.execution == "compiled":
        described |= {
            "device": config.device,
            "num_parallel_shards": config.num_parallel_shards,
            "num_shares": config.num_shares,
            "clients_per_block": config.clients_per_block,
        }
    return described


def _create_context(
    config: RunConfig, secure_sum: SecureSum | None
) -> contextlib.AbstractContextManager:
    random_seed = config.seed if config.insecure_deterministic_noise else None
    kind = config.mechanism_kind
    is_protective = kind is not None and kind.draws_noise_on_devices and random_seed is None
    if config.execution == "native":
        return native.native_context()
    if config.execution == "debug":
        return debug.DebugContext(random_seed, secure_sum, is_protective).install()
    options = compiled.CompiledOptions(
        device=config.device,
        num_parallel_shards=config.num_parallel_shards,
        num_shares=config.num_shares,
        clients_per_block=config.clients_per_block,
        random_seed=random_seed,
        secure_sum=secure_sum,
        has_protective_client_noise=is_protective,
    )
    return compiled.CompiledContext(options).install()


@contextlib.contextmanager
def _logs_to_standard_error(is_private: bool) -> Iterator[None]:
    """Shows what is logged: what could not be compiled, and what was.

    What is compiled depends on who is in the cohort: under differential privacy it is not told.
    """
    logger = logging.getLogger(_LOGGER)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
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
