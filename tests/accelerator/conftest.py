"""Workers that the tests share; what needs one is skipped without an environment for it."""

import pytest

from fedrec_tff.accelerator import pjrt_context, worker_process
from fedrec_tff.execution import compiled, exceptions

_CLIENTS_PER_BLOCK = 4


@pytest.fixture(scope="session")
def environment():
    try:
        return worker_process.find_python()
    except exceptions.WorkerUnfitError as error:
        pytest.skip(str(error))


def _context(is_batched, **options):
    return pjrt_context.PjrtContext(
        compiled.CompiledOptions(
            clients_per_block=_CLIENTS_PER_BLOCK, num_parallel_shards=1, **options
        ),
        pjrt_context.PjrtOptions(num_cpu_devices=3, is_batched=is_batched),
    )


@pytest.fixture(scope="session")
def batching(environment):
    """Blocks of four clients at once, on three devices."""
    context = _context(True)
    yield context
    context.close()


@pytest.fixture(scope="session")
def looping(environment):
    """Clients one after the other."""
    context = _context(False)
    yield context
    context.close()
