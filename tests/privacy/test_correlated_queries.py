import numpy as np
import pytest
import tensorflow as tf
from scipy import linalg

from fedrec_tff.privacy import correlated_queries, factorization, queries

_CLIP, _STDDEV = 2.0, 3.0
_SIZE = 20_000
_ROUNDS = 14
_BANDS = 4
_PERIOD = 6
_COEFFICIENTS = factorization.create_banded_strategy(_ROUNDS, _BANDS).coefficients
_SPEC = tf.TensorSpec([_SIZE])
_NESTED = (tf.TensorSpec([3, 2]), (tf.TensorSpec([]), tf.TensorSpec([5])))


def _independent(seed, specs=_SPEC):
    del specs
    return queries.GaussianSumQuery(_CLIP, _STDDEV, seed)


def _banded(seed, specs=_SPEC, coefficients=_COEFFICIENTS):
    return correlated_queries.BandedGaussianSumQuery(
        _independent(seed), record_specs=specs, coefficients=coefficients
    )


def _tree(seed, specs=_SPEC, period=_PERIOD):
    return correlated_queries.TreeGaussianSumQuery(
        _independent(seed), record_specs=specs, restart_period=period
    )


both = pytest.mark.parametrize("create", [_banded, _tree])


def _release(query, specs=_SPEC, rounds=_ROUNDS, state=None):
    """Results of an empty cohort, so nothing but noise: [rounds, size]; and the states."""
    state = query.initial_global_state() if state is None else state
    zeros = query.initial_sample_state(specs)
    results, states = [], [state]
    for _ in range(rounds):
        result, state, _ = query.get_noised_result(zeros, state)
        tf.nest.assert_same_structure(result, specs)
        flat = [np.ravel(part) for part in tf.nest.flatten(result)]
        results.append(np.concatenate(flat).astype(np.float64))
        states.append(state)
    return np.array(results), states


def _banded_matrix(rounds=_ROUNDS, coefficients=_COEFFICIENTS):
    column = np.zeros(rounds)
    column[: len(coefficients)] = coefficients[:rounds]
    return linalg.toeplitz(column, np.zeros(rounds))


def _tree_prefixes(rounds=_ROUNDS, period=_PERIOD):
    """Which node is in which prefix: bool [rounds, rounds], a node named by its last round."""
    prefixes = np.zeros([rounds, rounds], bool)
    for t in range(1, rounds + 1):
        ends = []
        # Finished trees, and the current one: each cut into the largest powers of 2 from its start.
        for begin in range(0, t, period):
            end, length = begin, min(period, t - begin)
            for bit in reversed(range(length.bit_length())):
                if length & 2**bit:
                    end += 2**bit
                    ends.append(end)
        prefixes[t - 1, np.array(ends) - 1] = True
    return prefixes


def _decode(create, noise):
    """The independent noise that correlated noise was made of: C W."""
    if create is _banded:
        return _banded_matrix() @ noise
    return np.linalg.solve(_tree_prefixes().astype(float), np.cumsum(noise, axis=0))


# Against dense matrices.


def test_banded_noise_solves_the_matrix():
    independent, _ = _release(_independent(5))
    noise, _ = _release(_banded(5))
    expected = linalg.solve_triangular(_banded_matrix(), independent, lower=True)
    # For its rounding there is a little more of it.
    np.testing.assert_allclose(noise, expected, rtol=1e-3, atol=1e-4)


def test_tree_noise_is_the_change_of_the_sum_of_nodes():
    nodes, _ = _release(_independent(5))
    noise, _ = _release(_tree(5))
    prefixes = _tree_prefixes() @ nodes
    np.testing.assert_allclose(np.cumsum(noise, axis=0), prefixes, rtol=1e-4, atol=1e-4)


def test_products_are_rounded_to_the_nearest_integer_and_halves_up():
    past = np.array([[0, 1, -1, 2, -2, 3, -3, 2**36], [0, 1, 1, 1, -1, 5, -5, -7]])
    found = correlated_queries._round_product(
        tf.constant([3 * 2**22, 2**22], tf.int64), tf.constant(past)
    )
    np.testing.assert_array_equal(found, np.floor((3 * past[0] + past[1]) / 4 + 0.5))


@pytest.mark.parametrize("create", [_banded, _tree])
def test_structures_and_scalars_are_noised_as_one_vector(create):
    noise, _ = _release(create(5, _NESTED), _NESTED)
    one, _ = _release(create(5, tf.TensorSpec([12])), tf.TensorSpec([12]))
    np.testing.assert_allclose(noise, one, rtol=1e-6)


@pytest.mark.parametrize("trivial", ["one band", "trees of one round"])
def test_what_reaches_over_one_round_is_independent_noise(trivial):
    query = _banded(5, coefficients=(1.0,)) if trivial == "one band" else _tree(5, period=1)
    found, _ = _release(query, rounds=4)
    expected, _ = _release(_independent(5), rounds=4)
    np.testing.assert_array_equal(found, expected)


# Secret noise, by its statistics.


@pytest.mark.parametrize("seed", [None, 5])
@both
def test_noise_is_made_of_independent_noise_that_is_never_used_again(create, seed):
    noise, _ = _release(create(seed))
    decoded = _decode(create, noise)
    # 5 standard deviations of the estimates, each.
    deviation = 5 / np.sqrt(_SIZE)
    np.testing.assert_allclose(decoded.std(axis=1), _STDDEV, rtol=deviation / np.sqrt(2))
    assert np.abs(decoded.mean(axis=1)).max() < deviation * _STDDEV
    correlations = np.corrcoef(decoded) - np.eye(_ROUNDS)
    assert np.abs(correlations).max() < deviation
    # Not shifted either.
    shifted = np.corrcoef(decoded, np.roll(decoded, 1, axis=1))[:_ROUNDS, _ROUNDS:]
    assert np.abs(shifted).max() < deviation


@both
def test_the_covariance_is_that_of_the_mechanism(create):
    noise, _ = _release(create(None))
    matrix = _banded_matrix()
    if create is _tree:
        matrix = np.linalg.solve(_tree_prefixes(), np.tril(np.ones([_ROUNDS, _ROUNDS])))
    expected = _STDDEV**2 * np.linalg.inv(matrix.T @ matrix)
    variances = np.diag(expected)
    scale = np.sqrt(variances[:, np.newaxis] * variances + expected**2)
    assert (np.abs(np.cov(noise) - expected) / scale).max() < 5 / np.sqrt(_SIZE)


def test_a_prefix_of_trees_has_as_many_nodes_as_it_should():
    noise, _ = _release(_tree(None))
    # 6 is 4 + 2: two nodes stay of a finished tree.
    current = [1, 1, 2, 1, 2, 2, 1, 1, 2, 1, 2, 2, 1, 1]
    finished = [0] * 6 + [2] * 6 + [4] * 2
    expected = _STDDEV**2 * np.add(current, finished)
    found = np.cumsum(noise, axis=0).var(axis=1)
    np.testing.assert_allclose(found, expected, rtol=5 * np.sqrt(2 / _SIZE))


@both
def test_errors_are_those_of_the_planning(create):
    noise, _ = _release(create(None))
    found = np.cumsum(noise, axis=0).var() / _STDDEV**2
    expected = factorization.prefix_error(_COEFFICIENTS, _ROUNDS)
    if create is _tree:
        depth = factorization.tree_depth(_PERIOD)
        expected = factorization.tree_prefix_error(_ROUNDS, _PERIOD) / depth
    np.testing.assert_allclose(found, expected, rtol=0.05)


@both
def test_nobody_has_secret_noise_again(create):
    noise, states = _release(create(None), rounds=4)
    other, _ = _release(create(None), rounds=4)
    # Not from the same state either: it does not hold what comes next.
    again, _ = _release(create(None), rounds=1, state=states[3])
    for difference in (noise - other, noise[3:] - again):
        assert np.abs(difference).std(axis=1).min() > 0.5 * _STDDEV


def test_what_rounding_moves_is_paid_for():
    query = _banded(5, _NESTED)
    grid = query._gaussian_query.grid
    # A turn moves Z by ||a|| of the record's norm, a being c over its first number, and by less
    # than one in each of 12 numbers of 3 later rows.
    column = np.linalg.norm(_COEFFICIENTS) / _COEFFICIENTS[0]
    turn = _STDDEV / _CLIP / np.linalg.norm(_COEFFICIENTS)
    worth = np.sqrt(grid.noise_variance - 4.0)
    moved = [column * steps + np.sqrt(3 * 12) for steps in (grid.max_norm, grid.max_norm + 1)]
    assert turn * moved[0] <= worth * (1 + 1e-7)
    assert worth <= turn * moved[1] * (1 + 1e-7)


# The state.


@both
def test_a_saved_state_goes_on_as_if_nothing_had_been(create):
    noise, states = _release(create(5))
    for rounds in (1, 3, 6, 7):
        saved = tf.nest.map_structure(lambda t: t.numpy(), states[rounds])
        restored = tf.nest.map_structure(tf.constant, saved)
        resumed, _ = _release(create(5), rounds=_ROUNDS - rounds, state=restored)
        np.testing.assert_array_equal(resumed, noise[rounds:])


@both
def test_states_keep_their_structure_and_shapes(create):
    query = create(5, _NESTED)
    _, states = _release(query, _NESTED, rounds=8)
    specs = [tf.nest.map_structure(lambda t: (t.shape, t.dtype), state) for state in states]
    assert all(spec == specs[0] for spec in specs)


def test_a_resumed_run_keeps_the_coefficients_it_began_with():
    noise, states = _release(_banded(5))
    other = np.array(_COEFFICIENTS) * [1.0, -1.0, 1.0, -1.0]
    resumed, _ = _release(_banded(5, coefficients=tuple(other)), rounds=4, state=states[3])
    np.testing.assert_array_equal(resumed, noise[3:7])


@both
def test_clients_are_sent_the_clip_and_no_noise(create):
    query = create(5)
    _, states = _release(query, rounds=3)
    params = query.derive_sample_params(states[-1])
    np.testing.assert_array_equal(tf.nest.flatten(params), [_CLIP])


# Clipping, and the sum.


@both
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6, 1e15, np.inf, np.nan])
def test_no_record_is_longer_than_the_clip(create, scale):
    query = create(5, _NESTED)
    params = query.derive_sample_params(query.initial_global_state())
    rng = np.random.default_rng(0)
    record = tf.nest.map_structure(
        lambda spec: tf.constant(scale * rng.normal(size=spec.shape), tf.float32), _NESTED
    )
    clipped = query.preprocess_record(params, record)
    tf.nest.assert_same_structure(clipped, _NESTED)
    steps = np.concatenate([np.ravel(part) for part in tf.nest.flatten(clipped)])
    max_norm = query._gaussian_query.grid.max_norm
    assert steps.dtype == np.int64
    assert int(steps @ steps) <= max_norm**2
    original = tf.linalg.global_norm(tf.nest.flatten(record))
    expected = min(float(original), _CLIP) if np.isfinite(scale) else 0.0
    np.testing.assert_allclose(np.linalg.norm(steps) / max_norm * _CLIP, expected, rtol=1e-3)


@both
def test_noise_is_added_to_the_sum_and_depends_on_no_sum(create):
    query = create(5, _NESTED)
    noise, _ = _release(query, _NESTED, rounds=2)
    state = query.initial_global_state()
    max_norm = query._gaussian_query.grid.max_norm

    def fill(value):
        return tf.nest.map_structure(lambda s: tf.fill(s.shape, np.int64(value)), _NESTED)

    _, state, _ = query.get_noised_result(fill(2**60), state)
    result, _, _ = query.get_noised_result(fill(max_norm), state)
    flat = np.concatenate([np.ravel(part) for part in tf.nest.flatten(result)])
    np.testing.assert_allclose(flat - _CLIP, noise[1], rtol=1e-4, atol=1e-5)


# Events.


@both
def test_events_are_true_without_any_separation(create):
    """A round's noise contains independent noise: as much as the least eigenvalue allows."""
    rounds = 60
    query = create(5, tf.TensorSpec([1]))
    state = query.initial_global_state()
    _, _, event = query.get_noised_result(tf.zeros([1], tf.int64), state)
    if create is _banded:
        matrix = _banded_matrix(rounds)
    else:
        prefixes = _tree_prefixes(rounds).astype(float)
        matrix = np.linalg.solve(prefixes, np.tril(np.ones([rounds, rounds])))
    covariance = _STDDEV**2 * np.linalg.inv(matrix.T @ matrix)
    most = np.sqrt(np.linalg.eigvalsh(covariance)[0]) / _CLIP
    assert 0.5 * most < float(event.noise_multiplier) <= most * (1 + 1e-5)


# Sources of randomness.


@pytest.mark.parametrize("seed", [None, 3])
@both
def test_a_release_reads_the_kernel_once_unless_a_seed_is_given(create, seed):
    query = create(seed, _NESTED)

    @tf.function
    def release(state):
        return query.get_noised_result(query.initial_sample_state(_NESTED), state)[0]

    state = query.initial_global_state()
    graph = release.get_concrete_function(state).graph.as_graph_def()
    ops = [node.op for node in graph.node]
    ops += [node.op for function in graph.library.function for node in function.node_def]
    # The words, and more bits for those that do not decide.
    assert ops.count("StatelessRandomUniformFullIntV2") == 2
    assert ops.count("TextLineDataset") == (1 if seed is None else 0)
    # TensorFlow's own generators are seeded with 32 bits; the clock is no secret.
    assert not [op for op in ops if op.startswith("Random") or op == "Timestamp"]


# Mistakes.


@both
@pytest.mark.parametrize(
    "spec", [tf.TensorSpec([None, 3]), tf.TensorSpec([2], tf.float64), tf.TensorSpec([2], tf.int32)]
)
def test_records_that_cannot_be_noised_are_refused(create, spec):
    with pytest.raises(ValueError, match="float32 tensors of a known shape"):
        create(5, (spec, tf.TensorSpec([2])))


@pytest.mark.parametrize("coefficients", [(), (0.0, 1.0), (-1.0, 0.5)])
def test_coefficients_without_an_inverse_are_refused(coefficients):
    with pytest.raises(ValueError, match="must be positive"):
        _banded(5, coefficients=coefficients)


def test_a_tree_of_no_round_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        _tree(5, period=0)
