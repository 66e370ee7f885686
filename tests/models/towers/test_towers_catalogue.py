"""The built-in towers come in by the interface of one's own, and without TensorFlow."""

import dataclasses
import subprocess
import sys

import pytest

from fedrec_tff.models import plugin, tower_contract
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.towers.catalogue import TOWERS
from fedrec_tff.plugins import signatures


@pytest.mark.parametrize("name", TOWERS)
def test_a_builder_is_read_and_called_as_ones_own_is(name):
    entry = TOWERS[name]
    signature = signatures.read_signature(entry.builder, plugin.FLAG)
    assert tuple(signature.parameters) == entry.parameters
    built_in = TwoTowerConfig(8, 5, num_blocks=2, query_tower=name, num_heads=1)
    texts = tuple(f"{parameter}={getattr(built_in, parameter)}" for parameter in entry.parameters)
    own = dataclasses.replace(
        built_in, query_tower="mean", plugin=plugin.parse(entry.builder, texts)
    )
    assert own.tower == built_in.tower
    assert own.embedding_stddev == built_in.embedding_stddev
    assert (own.is_causal, own.reads_whole_sets) == (built_in.is_causal, built_in.reads_whole_sets)


@pytest.mark.parametrize("name", TOWERS)
def test_the_contract_of_ones_own_holds_for_built_in_towers(name):
    entry = TOWERS[name]
    tower_contract.check(TwoTowerConfig(8, 5, plugin=plugin.parse(entry.builder)))


def test_the_size_of_a_built_in_model_is_known_without_tensorflow():
    code = (
        "import sys\n"
        "from fedrec_tff.models.config import QUERY_TOWERS, TwoTowerConfig\n"
        "for name in QUERY_TOWERS: TwoTowerConfig(8, query_tower=name).num_weights(100)\n"
        "heavy = [name for name in sys.modules if name.startswith('tensorflow')]\n"
        "assert not heavy, heavy[:5]\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
