"""From flags to a worker, and its end."""

import numpy as np
import pytest
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.accelerator import pjrt_context
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import execution


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
def _add(clients):
    return tff.federated_sum(clients)


def test_a_run_computes_by_a_worker_as_long_as_it_goes_on(environment):
    config = RunConfig(execution="pjrt", client_batching="on", clients_per_block=2)
    with execution.execution_context(config):
        context = tff.framework.get_context_stack().current
        assert isinstance(context, pjrt_context.PjrtContext)
        assert context.worker.platform == "cpu"
        assert len(context.worker.device_names) == 1
        assert _add([1, 2, 3]) == 6
    assert context.worker.has_ended
    assert execution.describe(config) == {
        "context": "pjrt",
        "device": "cpu",
        "client_batching": "on",
        "num_shares": None,
        "clients_per_block": 2,
    }


def test_a_device_that_is_not_there_is_named_with_its_flag(environment):
    config = RunConfig(execution="pjrt", device="tpu")
    with (
        pytest.raises(errors.UserError, match=r"^--device=tpu: 'tpu' is not what JAX finds"),
        execution.execution_context(config),
    ):
        pass
