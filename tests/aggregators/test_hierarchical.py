"""Edges and server against NumPy: who is where, means, noise, and what one client can do."""

import functools

import dp_accounting
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.aggregators.hierarchical import edges, factory, rules
from fedrec_tff.execution import compiled
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import mechanisms, queries
from fedrec_tff.studies.audit import mechanism_checks

_NUM_ITEMS = 12
_NUM_EDGES = 3
_CLIENTS_PER_ROUND = 6.0
_PER_EDGE = _CLIENTS_PER_ROUND / _NUM_EDGES
_CLIP = 0.7
_SIZE = _NUM_ITEMS * 4 + 6


@pytest.fixture(scope="module", autouse=True)
def context():
    with compiled.CompiledContext(compiled.CompiledOptions(num_parallel_shards=1)).install():
        yield


def _context(is_row_sparse, noise_multiplier=None):
    mechanism = None
    if noise_multiplier is not None:
        mechanism = mechanisms.Mechanism(
            "dp_gaussian", noise_multiplier, _CLIP, 600, _CLIENTS_PER_ROUND
        )
    return registry.AggregatorContext(
        _NUM_ITEMS,
        _CLIENTS_PER_ROUND,
        is_row_sparse,
        mechanism,
        insecure_noise_seed=5,
        max_clients=10,
    )


@functools.cache
def _process(form, noise_multiplier=None, **parameters):
    is_row_sparse = form == "row_sparse"
    build = factory.build_hierarchical
    if noise_multiplier is not None:
        build = factory.build_dp_hierarchical
    parameters = {"num_edges": _NUM_EDGES} | parameters
    built = build(_context(is_row_sparse, noise_multiplier), **parameters)
    value_type = updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=is_row_sparse)
    return built.create(value_type, edges.EDGE_WEIGHT_TYPE)


def _next(process, state, form, cohort):
    """A round of clients `(update, weight, edge)`."""
    values = [update for update, _, _ in cohort]
    if form == "dense":
        with np.errstate(invalid="ignore", over="ignore"):
            values = [updates_lib.densify(update, _NUM_ITEMS) for update in values]
    weights = [edges.EdgeWeight(np.float32(w), np.int32(e)) for _, w, e in cohort]
    return process.next(state, values, weights)


def _run(process, form, cohort):
    return _next(process, process.initialize(), form, cohort).result


def _rows(aggregates):
    """What the edges have: float64 [num_edges, size]."""
    return np.stack(
        [
            updates_lib.flatten(tf.nest.map_structure(lambda t, e=e: t[e], aggregates.value))
            for e in range(_NUM_EDGES)
        ]
    )


def _cohort(edge_of_client=(0, 2, 0, 2, 0)):
    rng = np.random.default_rng(8)
    return [
        (updates_lib.create_row_sparse(rng, _NUM_ITEMS, 5, scale=0.1 * (i + 1)), float(i + 1), edge)
        for i, edge in enumerate(edge_of_client)
    ]


def _vectors(cohort):
    return np.stack([updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u, _, _ in cohort])


@pytest.mark.parametrize("form", ["dense", "row_sparse"])
def test_edges_have_the_weighted_means_of_their_clients(form):
    # No client of edge 1.
    cohort = _cohort()
    vectors, weights = _vectors(cohort), np.array([w for _, w, _ in cohort])
    found = _run(_process(form, sync_period=2), form, cohort)
    expected = [
        np.average(vectors[members], axis=0, weights=weights[members])
        for members in ([0, 2, 4], [1, 3])
    ]
    np.testing.assert_allclose(_rows(found)[[0, 2]], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(_rows(found)[1], 0.0)
    np.testing.assert_allclose(found.weight, [9.0, 0.0, 6.0])


def test_robust_edges_outvote_liars_among_their_clients():
    # Edge 1 has nobody, edge 2 one honest client, and one who sends what is not finite.
    cohort = _cohort((0, 2, 0, 0))
    liar = updates_lib.create_row_sparse(np.random.default_rng(1), _NUM_ITEMS, 9, scale=1e6)
    cohort += [(liar, 1.0, 0), (_filled(np.nan), 1.0, 2)]
    vectors = _vectors(cohort)
    process = _process("row_sparse", edge="median", sync_period=2)
    found = _run(process, "row_sparse", cohort)
    np.testing.assert_array_equal(found.weight, [4.0, 0.0, 1.0])
    tower, rows = slice(_NUM_ITEMS * 4, None), _rows(found)
    expected = np.median(vectors[[0, 2, 3, 4]][:, tower], axis=0)
    np.testing.assert_allclose(rows[0, tower], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(rows[1], 0.0)
    np.testing.assert_allclose(rows[2], vectors[1], rtol=1e-4, atol=1e-6)
    # An item's bias: the median of those who touched it, times their share of the edge.
    biases = vectors[[0, 2, 3, 4]][:, _NUM_ITEMS * 3 : _NUM_ITEMS * 4]
    for item, column in enumerate(biases.T):
        touched = column[column != 0.0]
        expected = np.median(touched) * len(touched) / 4 if len(touched) else 0.0
        np.testing.assert_allclose(rows[0, _NUM_ITEMS * 3 + item], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mean", ["mean", "weighted_mean"])
def test_two_levels_of_means_by_weight_are_one_mean(mean):
    cohort = _cohort()
    process = _process("row_sparse", edge=mean, server="weighted_mean")
    found = updates_lib.flatten(_run(process, "row_sparse", cohort))
    weights = [w for _, w, _ in cohort] if mean == "weighted_mean" else None
    expected = np.average(_vectors(cohort), axis=0, weights=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_an_edge_that_is_taken_over_is_outvoted_by_a_median():
    honest = _cohort((0, 1, 0, 1))
    liar = updates_lib.create_row_sparse(np.random.default_rng(1), _NUM_ITEMS, 9, scale=1e6)
    cohort = [*honest, (liar, 1.0, 2)]
    vectors = _vectors(honest)
    median = updates_lib.flatten(
        _run(_process("row_sparse", edge="mean", server="median"), "row_sparse", cohort)
    )
    at_edges = np.stack([vectors[[0, 2]].mean(axis=0), vectors[[1, 3]].mean(axis=0)])
    lied = np.median([*at_edges, _vectors([cohort[-1]])[0]], axis=0)
    np.testing.assert_allclose(median, lied, rtol=1e-4, atol=1e-6)
    assert np.abs(median).max() <= np.abs(at_edges).max() + 1e-6
    mean = updates_lib.flatten(
        _run(_process("row_sparse", edge="mean", server="mean"), "row_sparse", cohort)
    )
    assert np.abs(mean).max() > 1e5


def test_an_empty_cohort_has_no_aggregate_and_does_no_harm():
    process = _process("row_sparse", edge="mean", server="median")
    output = _next(process, process.initialize(), "row_sparse", [])
    assert np.isnan(updates_lib.flatten(output.result)).all()
    cohort = _cohort()
    after = _next(process, output.state, "row_sparse", cohort).result
    np.testing.assert_array_equal(
        updates_lib.flatten(after), updates_lib.flatten(_run(process, "row_sparse", cohort))
    )


@pytest.mark.parametrize("form", ["dense", "row_sparse"])
def test_private_edges_divide_clipped_sums_by_expected_numbers(form):
    cohort = _cohort()
    vectors = _vectors(cohort)
    assert np.linalg.norm(vectors, axis=1).max() > _CLIP > np.linalg.norm(vectors, axis=1).min()
    clipped = np.stack([updates_lib.clip(v, _CLIP) for v in vectors])
    found = _run(_process(form, 0.0, sync_period=2), form, cohort)
    expected = np.stack([clipped[[0, 2, 4]].sum(0), np.zeros(_SIZE), clipped[[1, 3]].sum(0)])
    np.testing.assert_allclose(_rows(found), expected / _PER_EDGE, rtol=1e-4, atol=1e-6)
    # An edge without clients counts like the others: who was there is private.
    np.testing.assert_array_equal(found.weight, 1.0)


@pytest.mark.parametrize("noise_at", ["edge", "server"])
def test_without_noise_private_edges_and_a_mean_are_dp_fedavg(noise_at):
    cohort = _cohort()
    clipped = np.stack([updates_lib.clip(v, _CLIP) for v in _vectors(cohort)])
    process = _process("row_sparse", 0.0, noise_at=noise_at)
    found = updates_lib.flatten(_run(process, "row_sparse", cohort))
    np.testing.assert_allclose(
        found, clipped.sum(axis=0) / _CLIENTS_PER_ROUND, rtol=1e-4, atol=1e-6
    )


def test_every_edge_has_noise_of_its_own():
    process = _process("row_sparse", 2.0, sync_period=2)
    state, rows = process.initialize(), []
    for _ in range(40):
        # Nobody is there: what is released is the noise.
        output = _next(process, state, "row_sparse", [])
        rows.append(_rows(output.result))
        state = output.state
    noise = np.stack(rows).transpose(1, 0, 2).reshape(_NUM_EDGES, -1)
    stddev = 2.0 * _CLIP / _PER_EDGE
    # Five standard deviations of either estimate.
    num = noise.shape[1]
    np.testing.assert_allclose(noise.std(axis=1), stddev, rtol=5 * (2 * num) ** -0.5)
    np.testing.assert_allclose(np.corrcoef(noise), np.eye(_NUM_EDGES), atol=5 * num**-0.5)


def test_the_server_of_private_edges_averages_their_noise():
    process = _process("row_sparse", 2.0)
    state, rows = process.initialize(), []
    for _ in range(40):
        output = _next(process, state, "row_sparse", [])
        rows.append(updates_lib.flatten(output.result))
        state = output.state
    # The root of the number of edges more than one trusted server would add.
    stddev = 2.0 * _CLIP / _CLIENTS_PER_ROUND * _NUM_EDGES**0.5
    assert np.std(rows) == pytest.approx(stddev, rel=5 * (2 * np.size(rows)) ** -0.5)


def test_an_audit_finds_noise_and_clip_of_all_edges_as_claimed():
    model = TwoTowerConfig(embedding_dim=8, history_length=2, num_blocks=0)
    context = registry.AggregatorContext(
        200, 6.0, False, mechanisms.Mechanism("dp_gaussian", 1.5, _CLIP, 600, 6.0)
    )
    build = functools.partial(factory.build_edge_releases, num_edges=_NUM_EDGES)
    subject = mechanism_checks.AggregatorUnderTest(build, context, True, model)
    found = mechanism_checks.check_aggregator(subject)
    assert [check for check in found if not check.passed] == []


def test_all_edges_together_are_one_gaussian_mechanism():
    query = edges.EdgeQuery(queries.GaussianSumQuery(_CLIP, 1.5 * _CLIP, 3), _NUM_EDGES)
    template = edges.EdgeUpdate(tf.TensorSpec([], tf.int32), tf.TensorSpec([4], tf.float32))
    sums = query.initial_sample_state(template)
    assert sums.shape == (_NUM_EDGES, 4)
    _, _, event = query.get_noised_result(sums, query.initial_global_state())
    assert isinstance(event, dp_accounting.GaussianDpEvent)
    assert float(event.noise_multiplier) == pytest.approx(1.5)


def _filled(value):
    update = updates_lib.create_row_sparse(np.random.default_rng(0), _NUM_ITEMS, 5)
    return updates_lib.fill(update, value)


_CHEATS = {
    "long": (lambda: _filled(50.0), 1.0, 1),
    "norm overflows float32": (lambda: _filled(1e30), 1.0, 1),
    "not a number": (lambda: _filled(np.nan), 1.0, 1),
    "infinity": (lambda: _filled(-np.inf), 1.0, 1),
    "a weight": (lambda: _filled(50.0), 1e9, 1),
    "a weight that is not a number": (lambda: _filled(50.0), np.nan, 1),
    "an edge too far": (lambda: _filled(50.0), 1.0, 1_000_000),
    "an edge below zero": (lambda: _filled(50.0), 1.0, np.iinfo(np.int32).min),
}


@pytest.mark.parametrize("cheat", _CHEATS)
@pytest.mark.parametrize("form", ["dense", "row_sparse"])
def test_no_client_moves_the_sums_of_all_edges_by_more_than_the_clip(form, cheat):
    create, weight, edge = _CHEATS[cheat]
    process = _process(form, 0.0, sync_period=2)
    without = _PER_EDGE * _rows(_run(process, form, _cohort()))
    moved = _PER_EDGE * _rows(_run(process, form, [*_cohort(), (create(), weight, edge)]))
    difference = np.linalg.norm(moved - without)
    assert difference <= _CLIP * (1.0 + 1e-5)
    if cheat == "long":
        assert difference > 0.9 * _CLIP


@pytest.mark.parametrize(
    "cheat_ids", [lambda ids: np.full_like(ids, 7), lambda ids: ids + 9, lambda ids: ids - 13]
)
def test_ids_that_cheat_reach_no_other_edge(cheat_ids):
    """A row below or above its own table would be another edge's."""
    update = _filled(50.0)
    cheating = row_sparse.RowSparse(cheat_ids(update.ids), update.value)
    process = _process("row_sparse", 0.0, sync_period=2)
    without = _PER_EDGE * _rows(_run(process, "row_sparse", _cohort()))
    cohort = [*_cohort(), (cheating, 1.0, 1)]
    difference = _PER_EDGE * _rows(_run(process, "row_sparse", cohort)) - without
    assert np.linalg.norm(difference) <= _CLIP * (1.0 + 1e-5)
    np.testing.assert_array_equal(difference[[0, 2]], 0.0)


_POINTS = np.random.default_rng(2).normal(size=(9, 5)).astype(np.float32)
_NUMPY_RULES = {
    "mean": lambda rows, weights: rows.mean(axis=0),
    "weighted_mean": lambda rows, weights: np.average(rows, axis=0, weights=weights),
    "median": lambda rows, weights: np.median(rows, axis=0),
    "trimmed_mean": lambda rows, weights: scipy.stats.trim_mean(rows, 0.3, axis=0),
}


@pytest.mark.parametrize("kept", [7, 8])
@pytest.mark.parametrize("rule", _NUMPY_RULES)
def test_rules_equal_numpy_without_what_is_left_out(rule, kept):
    stack, weights = _POINTS.copy(), np.arange(1.0, 10.0, dtype=np.float32)
    weights[kept:], stack[0, 3] = 0.0, np.inf
    found = rules.combine(
        rules.create_rule(rule, 0.3),
        {"a": tf.constant(stack[:, :2]), "b": tf.constant(stack[:, 2:])},
        tf.constant(weights),
    )
    expected = _NUMPY_RULES[rule](stack[1:kept], weights[1:kept])
    np.testing.assert_allclose(np.concatenate([found["a"], found["b"]]), expected, rtol=1e-5)


def test_at_the_geometric_median_unit_vectors_to_all_points_cancel():
    points = _POINTS.copy()
    points[:2] = 1e6
    found = rules.create_rule("geometric_median", 0.0)(tf.constant(points), tf.ones([9])).numpy()
    directions = points.astype(np.float64) - found
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.linalg.norm(directions.sum(axis=0)) < 1e-3
    assert np.linalg.norm(found) < 5.0


@pytest.mark.parametrize(
    ("noise_multiplier", "parameters", "message"),
    [
        (None, {"num_edges": 0}, "num_edges=0"),
        (None, {"edge": "best"}, "edge=best"),
        (None, {"rows_per_client": 5}, "edge=weighted_mean keeps no rows"),
        (None, {"server": "best"}, "server=best"),
        (None, {"server": "trimmed_mean", "fraction": 0.5}, "fraction=0.5"),
        (None, {"server": "trimmed_mean", "fraction": 0.2}, "cuts off none of 3 edges"),
        (None, {"server": "median", "num_edges": 2}, "needs at least 3 edges"),
        (None, {"sync_period": 0}, "sync_period=0"),
        (None, {"edge_learning_rate": 0.5}, "no models of their own"),
        (None, {"edge_learning_rate": 0.0, "sync_period": 2}, "must be finite and positive"),
        (1.0, {"server": "weighted_mean"}, "how many users an edge has in a round is private"),
        (1.0, {"noise_at": "client"}, "noise_at=client"),
        (1.0, {"noise_at": "server", "sync_period": 2}, "would reach their clients without noise"),
        (1.0, {"noise_at": "server", "server": "median"}, "choose server=mean"),
    ],
)
def test_what_makes_no_sense_or_is_not_private_is_refused(noise_multiplier, parameters, message):
    with pytest.raises(errors.UserError, match=message):
        _process("dense", noise_multiplier, **parameters)


def test_a_plain_weight_says_of_no_edge():
    value_type = updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False)
    built = factory.build_hierarchical(_context(False))
    with pytest.raises(TypeError, match="EdgeWeight"):
        built.create(value_type, tff.TensorType(np.float32))
