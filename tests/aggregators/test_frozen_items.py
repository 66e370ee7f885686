"""`freeze_items`: towers are all that is sent, clipped and noised."""

import numpy as np
import pytest
import updates as updates_lib

from fedrec_tff.aggregators import building, chain, registry
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.errors import UserError
from fedrec_tff.execution import debug
from fedrec_tff.privacy import mechanisms

_NUM_ITEMS = 12
_CLIP = 1.0
_CLIENTS_PER_ROUND = 40.0


@pytest.fixture(scope="module", autouse=True)
def context():
    with debug.DebugContext().install():
        yield


def _run(text, form, updates, noise_multiplier=0.0):
    mechanism = mechanisms.Mechanism(
        "dp_gaussian", noise_multiplier, _CLIP, 1_000, _CLIENTS_PER_ROUND
    )
    is_row_sparse = form == "row_sparse"
    context = registry.AggregatorContext(_NUM_ITEMS, _CLIENTS_PER_ROUND, is_row_sparse, mechanism)
    factory = building.build_factory(chain.parse(text), context)
    process = factory.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=is_row_sparse))
    return updates_lib.run_round(_NUM_ITEMS, process, form, updates)


@pytest.mark.parametrize("form", ["dense", "row_sparse"])
def test_the_clip_and_the_noise_are_those_of_the_towers(form):
    updates = updates_lib.create_cohort(_NUM_ITEMS)
    towers = [update.value.tower[0].ravel() for update in updates]
    assert min(map(np.linalg.norm, towers)) < _CLIP < max(map(np.linalg.norm, towers))
    result = _run("freeze_items,dp_gaussian", form, updates).result
    expected = sum(updates_lib.clip(tower, _CLIP) for tower in towers) / _CLIENTS_PER_ROUND
    np.testing.assert_allclose(np.ravel(result.tower[0]), expected, rtol=1e-5)
    noised = _run("freeze_items,dp_gaussian", form, updates, noise_multiplier=1.0).result
    assert np.all(np.ravel(noised.tower[0]) != np.ravel(result.tower[0]))
    for frozen in (*result.items, *noised.items):
        np.testing.assert_array_equal(frozen, 0.0)
    assert result.items.embedding.shape == (_NUM_ITEMS, updates_lib.DIM)


def test_messages_are_as_long_as_the_towers():
    output = _run("freeze_items,mean", "row_sparse", updates_lib.create_cohort(_NUM_ITEMS))
    assert output.measurements["upload_bits"] == 6 * 32 * np.prod(updates_lib.TOWER_SHAPE)


@pytest.mark.parametrize("made", ["projection", "hashed"])
def test_items_without_trained_rows_are_left_out_by_themselves(made):
    config = RunConfig(item_embedding=made, noise_multiplier=1.0)
    config_checks.validate(config)
    assert config.aggregator_chain.name == "freeze_items,dp_gaussian"
    assert config.aggregator_name == "dp_gaussian"
    assert RunConfig(item_embedding="low_rank").aggregator_chain.name == "mean"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"aggregator": "dp_sparse"}, "dp_sparse chooses rows of the item table"),
        ({"tower_clip_norm": 0.5}, "clips items and towers apart"),
        ({"aggregator": "ddp_skellam"}, "plans its noise for the model's weights"),
    ],
)
def test_what_needs_the_item_table_is_refused(flags, said):
    with pytest.raises(UserError, match=said):
        config_checks.validate(RunConfig(item_embedding="hashed", noise_multiplier=1.0, **flags))
