"""What is tried of an aggregator, as a part of a learning process, before a run trains."""

import asyncio
import pathlib
import types

import pytest
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import before_training
from fedrec_tff.checks import aggregator_check_config
from fedrec_tff.execution import compiled
from fedrec_tff.run import privacy_plan, run_process

_BROKEN = pathlib.Path(__file__).parents[1] / "whole_runs" / "broken_aggregators.py"


@pytest.fixture(scope="module")
def process():
    config = aggregator_check_config.read_config(f"{_BROKEN}:build_state_spoiled_by_nobody")
    plan = privacy_plan.create_plan(config, 1000, 1000)
    return config.aggregator_chain.name, run_process.build_process(config, 24, plan)


def test_a_state_that_nobody_spoils_is_refused_before_training(process):
    name, process = process
    with compiled.CompiledContext().install():
        state = process.initialize()
        with pytest.raises(errors.UserError, match=r"broken_aggregators.*poisson.*\(norm\)"):
            asyncio.run(before_training.check(process, state, name, "poisson"))
        # There, nobody never happens.
        asyncio.run(before_training.check(process, state, name, "fixed_size"))


def test_a_state_without_a_checkpoint_is_refused_before_training(process):
    name, process = process
    state = types.SimpleNamespace(aggregator={"helper": tff.structure.Struct([("a", 1.0)])})
    with pytest.raises(errors.UserError, match="its state cannot be checkpointed"):
        asyncio.run(before_training.check(process, state, name, "poisson"))
