"""How much one client can move the sum before noise, measured with clients that cheat."""

import functools

import numpy as np
import pytest
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.execution import compiled
from fedrec_tff.privacy import mechanisms, sampling
from fedrec_tff.privacy.mechanisms import kinds

_NUM_ITEMS = 12
_CLIENTS_PER_ROUND = 8
_CLIP = 0.7
_NAMES = tuple(kinds.KINDS)
_ROW_CHOICE = {
    "histogram_share": 0.2,
    "rows_per_user": 3,
    "row_threshold": 3.0,
    "row_selection": "run",
}
_ROW_SPARSE = tuple(name for name in _NAMES if registry.get(name).supports_row_sparse)
# And with the sum of all clients in a list of rows.
_SPARSE_FORMS = (*((name, "row_sparse") for name in _ROW_SPARSE), ("dp_gaussian", "row_list"))


@pytest.fixture(scope="module", autouse=True)
def context():
    options = compiled.CompiledOptions(num_parallel_shards=1)
    with compiled.CompiledContext(options).install():
        yield


def _create_mechanism(name, tower_clip_norm=None):
    law = kinds.get(name).samplings[0]
    return mechanisms.Mechanism(
        name=name,
        noise_multiplier=0.0,
        clip_norm=_CLIP,
        num_clients=800,
        clients_per_round=_CLIENTS_PER_ROUND,
        sampling=law,
        tower_clip_norm=tower_clip_norm,
        min_separation=4 if law == sampling.CYCLIC_POISSON else None,
        rounds=10 if name in ("dp_tree", "dp_banded_mf") else None,
        max_rounds_per_user=3 if name.startswith("local_") else None,
        num_weights=54 if name.startswith("ddp_") else None,
        modulus_bits=24 if name.startswith("ddp_") else None,
        **(_ROW_CHOICE if name == "dp_sparse" else {}),
    )


@functools.cache
def _process(name, form, tower_clip_norm=None):
    mechanism = _create_mechanism(name, tower_clip_norm)
    is_row_sparse = form != "dense"
    context = registry.AggregatorContext(
        _NUM_ITEMS,
        _CLIENTS_PER_ROUND,
        is_row_sparse,
        mechanism,
        max_sent_rows=_NUM_ITEMS * _CLIENTS_PER_ROUND if form == "row_list" else None,
    )
    factory = registry.get(name).build_factory(context)
    return factory.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=is_row_sparse))


def _sum(process, cohort):
    result = process.next(process.initialize(), cohort).result
    return updates_lib.flatten(result) * _CLIENTS_PER_ROUND


def _honest():
    rng = np.random.default_rng(4)
    return [
        updates_lib.create_row_sparse(rng, _NUM_ITEMS, 5, scale=0.2 * i)
        for i in range(1, _CLIENTS_PER_ROUND)
    ]


def _zero():
    return updates_lib.create_row_sparse(np.random.default_rng(0), _NUM_ITEMS, 5, scale=0.0)


def _filled(value):
    return updates_lib.fill(_zero(), value)


def _poisoned(value):
    """One number is `value`, the others are harmless."""
    update = _filled(0.01)
    update.value.items.embedding[2, 1] = value
    return update


_CHEATS = {
    "long": lambda: _filled(50.0),
    "norm overflows float32": lambda: _filled(1e30),
    "largest float32": lambda: _filled(np.finfo(np.float32).max),
    "nan": lambda: _poisoned(np.nan),
    "all nan": lambda: _filled(np.nan),
    "infinity": lambda: _poisoned(np.inf),
    "minus infinity": lambda: _poisoned(-np.inf),
}


@functools.cache
def _without_cheat(name, form, tower_clip_norm=None):
    """The sum of the honest, and of one who sends nothing: distributed noise needs its cohort."""
    cohort = _in_form([*_honest(), _zero()], form)
    return _sum(_process(name, form, tower_clip_norm), cohort)


def _in_form(cohort, form):
    if form != "dense":
        return cohort
    with np.errstate(invalid="ignore", over="ignore"):
        return [updates_lib.densify(update, _NUM_ITEMS) for update in cohort]


def _influence(name, form, cheat, tower_clip_norm=None):
    process = _process(name, form, tower_clip_norm)
    honest = _honest()
    moved = _sum(process, _in_form([*honest, cheat], form))
    assert np.isfinite(moved).all()
    return moved - _without_cheat(name, form, tower_clip_norm)


def _allowed(name):
    """Rounding to a grid may lengthen a distributed update; the accounting knows by how much."""
    slack = 1e-5
    if name.startswith("ddp_"):
        slack = 1e-2
    return _CLIP * (1.0 + slack)


@pytest.mark.parametrize("cheat", _CHEATS)
@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, "dense") for name in _NAMES), *_SPARSE_FORMS],
)
def test_no_client_moves_the_sum_by_more_than_the_clip(name, form, cheat):
    difference = _influence(name, form, _CHEATS[cheat]())
    order = 1 if name == "local_laplace" else 2
    assert np.linalg.norm(difference, order) <= _allowed(name)
    if cheat == "long":
        # It is clipped, not dropped.
        assert np.linalg.norm(difference, order) > 0.9 * _CLIP


_CHEATING_IDS = {
    "the same id in all rows": lambda ids: np.full_like(ids, 7),
    "pairs of ids": lambda ids: np.repeat(ids, 2)[: len(ids)],
    "an id again, out of order": lambda ids: np.concatenate([ids[1:], ids[:1]]),
    "descending": lambda ids: ids[::-1].copy(),
    "beyond the table": lambda ids: ids + 1_000_000,
    "negative": lambda ids: ids - 1_000_000,
    "largest": lambda ids: np.full_like(ids, np.iinfo(np.int32).max),
    "smallest": lambda ids: np.full_like(ids, np.iinfo(np.int32).min),
}


@pytest.mark.parametrize("cheat", _CHEATING_IDS)
@pytest.mark.parametrize(("name", "form"), _SPARSE_FORMS)
def test_ids_that_cheat_do_not_add_up_to_more_than_the_clip(name, form, cheat):
    update = _filled(50.0)
    cheating = row_sparse.RowSparse(_CHEATING_IDS[cheat](update.ids), update.value)
    difference = _influence(name, form, cheating)
    assert np.linalg.norm(difference) <= _allowed(name)


def test_parts_are_clipped_apart_and_jointly_bounded():
    tower_clip = 0.3
    for form in ("dense", "row_list"):
        for cheat in _CHEATS.values():
            difference = _influence("dp_gaussian", form, cheat(), tower_clip)
            items, tower = difference[: _NUM_ITEMS * 4], difference[_NUM_ITEMS * 4 :]
            assert np.linalg.norm(items) <= _CLIP * (1 + 1e-5)
            assert np.linalg.norm(tower) <= tower_clip * (1 + 1e-5)
    mechanism = _create_mechanism("dp_gaussian", tower_clip)
    assert mechanism.sensitivity == pytest.approx(np.hypot(_CLIP, tower_clip))


@pytest.mark.parametrize("name", _NAMES)
def test_private_aggregators_take_no_weights(name):
    """A weight other than one would be a factor on what was clipped."""
    mechanism = _create_mechanism(name)
    context = registry.AggregatorContext(_NUM_ITEMS, _CLIENTS_PER_ROUND, False, mechanism)
    factory = registry.get(name).build_factory(context)
    assert isinstance(factory, tff.aggregators.UnweightedAggregationFactory)
    assert not isinstance(factory, tff.aggregators.WeightedAggregationFactory)
