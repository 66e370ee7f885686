import functools
import logging
import math

import device_noise
import numpy as np
import pytest
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff.aggregators import distributed_dp, registry
from fedrec_tff.execution import exceptions, secure_sum
from fedrec_tff.privacy import distributed, distributed_queries, mechanisms

_CLIP = 0.5
_NUM_CLIENTS = 6
_NUM_ITEMS = 4_000
_NUM_WEIGHTS = (updates_lib.DIM + 1) * _NUM_ITEMS + math.prod(updates_lib.TOWER_SHAPE)
_BITS = 22
_BUILDERS = {
    "ddp_discrete_gaussian": distributed_dp.build_ddp_discrete_gaussian,
    "ddp_skellam": distributed_dp.build_ddp_skellam,
}
both_names = pytest.mark.parametrize("name", _BUILDERS)


def _context(name, multiplier=1.5, row_sparse=False):
    mechanism = mechanisms.Mechanism(
        name,
        multiplier,
        _CLIP,
        num_clients=100,
        clients_per_round=_NUM_CLIENTS,
        sampling="shuffled_epochs",
        num_weights=_NUM_WEIGHTS,
        modulus_bits=_BITS,
    )
    return registry.AggregatorContext(_NUM_ITEMS, float(_NUM_CLIENTS), row_sparse, mechanism)


@functools.cache
def _process(name, multiplier=1.5):
    return device_noise.create_process(
        lambda: _BUILDERS[name](_context(name, multiplier)), _NUM_ITEMS
    )


def _noise(name, multiplier=1.5):
    return distributed.create_distributed_noise(_context(name, multiplier).mechanism)


def _cohort(num_clients=_NUM_CLIENTS):
    """Some are longer than the clip, some shorter."""
    rng = np.random.default_rng(0)
    sparse = [
        updates_lib.create_row_sparse(rng, _NUM_ITEMS, num_rows=5, scale=0.03 * (i + 1))
        for i in range(num_clients)
    ]
    return [updates_lib.densify(update, _NUM_ITEMS) for update in sparse]


def _clipped_mean(cohort):
    vectors = [updates_lib.clip(updates_lib.flatten(update), _CLIP) for update in cohort]
    return np.sum(vectors, axis=0) / _NUM_CLIENTS


@pytest.fixture(scope="module")
def context():
    """One for all tests that need no fresh one: it compiles each process once."""
    return device_noise.create_context()


class Eavesdropper:
    """A secure sum that keeps what each client sent: int64 [rounds, clients, weights]."""

    def __init__(self):
        self.rounds = []

    def start(self, slots, num_clients):
        self.rounds.append(EavesdroppedRound(slots, num_clients))
        return self.rounds[-1]


class EavesdroppedRound(secure_sum.RoundInTheClear):
    def __init__(self, slots, num_clients):
        super().__init__(slots)
        (self.slot,) = slots
        self.received = np.zeros((num_clients, *self.slot.shape), np.int64)

    def add(self, values, positions):
        super().add(values, positions)
        self.received[positions] = values[0]


@both_names
def test_without_noise_it_is_the_mean_of_clipped_updates_up_to_a_step(name, context):
    cohort = _cohort()
    norms = [np.linalg.norm(updates_lib.flatten(update)) for update in cohort]
    assert min(norms) < _CLIP < max(norms)
    step = _noise(name, 0.0).granularity
    assert step < 1e-5
    (found,) = device_noise.run_rounds(context, _process(name, 0.0), cohort)
    assert np.abs(found - _clipped_mean(cohort)).max() <= step


@both_names
def test_the_mean_has_the_noise_that_is_accounted_and_is_compiled(name, context, caplog):
    process, noise = _process(name), _noise(name)
    cohort = _cohort()
    with caplog.at_level(logging.WARNING):
        results = device_noise.run_rounds(context, process, cohort, rounds=2)
    # XLA compiled it: there is a warning where it cannot.
    assert not [r for r in caplog.records if r.name.startswith("fedrec_tff")]
    errors = results - _clipped_mean(cohort)
    size = errors.shape[1]
    # Of the sum: 1.5 times the clip; rounding adds a quarter of a squared step for each client.
    stddev = math.sqrt((1.5 * _CLIP) ** 2 + _NUM_CLIENTS / 4 * noise.granularity**2) / _NUM_CLIENTS
    assert stddev < 1.001 * 1.5 * _CLIP / _NUM_CLIENTS
    for error in errors:
        np.testing.assert_allclose(error.std(), stddev, rtol=5 / math.sqrt(2 * size) + 0.001)
        assert abs(error.mean()) < 5 * stddev / math.sqrt(size)
        assert abs(np.corrcoef(error, np.roll(error, 1))[0, 1]) < 5 / math.sqrt(size)
    assert abs(np.corrcoef(errors)[0, 1]) < 5 / math.sqrt(size)


@both_names
def test_clients_send_integers_with_shares_of_noise_of_their_own(name):
    noise, protocol = _noise(name), Eavesdropper()
    nothing = _cohort()[0]
    for part in (*nothing.items, *nothing.tower):
        part[:] = 0.0
    context = device_noise.create_context(secure_sum=protocol)
    (found,) = device_noise.run_rounds(context, _process(name), [nothing] * _NUM_CLIENTS)
    (used,) = protocol.rounds
    assert used.slot.modulus == 2**_BITS
    assert used.received.min() >= 0
    assert used.received.max() < 2**_BITS
    shares = np.where(used.received >= 2 ** (_BITS - 1), used.received - 2**_BITS, used.received)
    size = shares.shape[1]
    np.testing.assert_allclose(
        shares.var(axis=1), noise.local_variance, rtol=5 * math.sqrt(2 / size)
    )
    # Kolmogorov and Smirnov's test, which errs on the safe side for integers: 1 in 100,000.
    table = distributed_queries.create_table(noise)
    counts = np.bincount(np.ravel(shares) + table.radius, minlength=2 * table.radius + 1)
    distance = np.abs(np.cumsum(counts) / shares.size - np.cumsum(table.probabilities())).max()
    assert distance * math.sqrt(shares.size) < 2.5
    correlations = np.corrcoef(shares) - np.eye(_NUM_CLIENTS)
    assert np.abs(correlations).max() < 5 / math.sqrt(size)
    # What the server makes of them.
    expected = shares.sum(axis=0) * noise.granularity / _NUM_CLIENTS
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


@both_names
def test_no_two_contexts_or_rounds_draw_the_same(name, context):
    results = device_noise.draw_six_times(context, _process(name), _cohort())
    noises = results - _clipped_mean(_cohort())
    device_noise.assert_uncorrelated(noises)
    # And all have as much noise.
    np.testing.assert_allclose(noises.std(axis=1), 1.5 * _CLIP / _NUM_CLIENTS, rtol=0.05)


@both_names
def test_all_draws_are_keyed_by_the_context(name):
    # One for rounding, two words for each number of noise.
    device_noise.assert_draws_are_keyed(_process(name), num_draws=3)


def test_a_seed_of_the_context_repeats_everything():
    process = _process("ddp_skellam")
    found = [
        device_noise.run_rounds(device_noise.create_context(random_seed=3), process, _cohort(), 2)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)
    assert np.mean(found[0][0] == found[0][1]) < 0.1


@both_names
@pytest.mark.parametrize("value", [3e38, 1e30, math.nan, math.inf])
def test_no_client_moves_the_sum_by_more_than_its_bound(name, value, context):
    noise = _noise(name, 0.0)
    cohort = _cohort()
    (usual,) = device_noise.run_rounds(context, _process(name, 0.0), cohort)
    cohort[2].items.embedding[4] = value
    (found,) = device_noise.run_rounds(context, _process(name, 0.0), cohort)
    moved = np.linalg.norm(found - usual) * _NUM_CLIENTS
    # Replaced, not added; all other clients are rounded anew, by less than a step each.
    others = (_NUM_CLIENTS - 1) * math.sqrt(found.size) * noise.granularity
    assert 1e-2 < moved <= noise.l2_sensitivity * noise.granularity + others
    assert noise.l2_sensitivity * noise.granularity + others < 2 * _CLIP * 1.01


@both_names
@pytest.mark.parametrize("num_clients", [0, _NUM_CLIENTS - 1, _NUM_CLIENTS + 1])
def test_a_cohort_of_another_size_releases_nothing(name, num_clients, context):
    cohort = _cohort(num_clients=num_clients)
    with pytest.raises(exceptions.ExecutionError, match="cohort_of_another_size"):
        device_noise.run_rounds(context, _process(name), cohort)
    # Where there is no noise there is nothing to be missed.
    (found,) = device_noise.run_rounds(context, _process(name, 0.0), cohort)
    assert np.abs(found - (_clipped_mean(cohort) if cohort else 0.0)).max() < 1e-4


def test_other_types_are_refused():
    factory = distributed_dp.DistributedDPFactory(_noise("ddp_skellam"))
    for value_type in (
        tff.TensorType(np.float64, [54]),
        tff.TensorType(np.float32, [None]),
        updates_lib.create_value_type(12, is_row_sparse=True),
    ):
        with pytest.raises(TypeError, match="float32 tensors of known shapes"):
            factory.create(value_type)
    with pytest.raises(TypeError, match="16006 weights, not for 16010"):
        factory.create(updates_lib.create_value_type(4_001, is_row_sparse=False))
    # One tensor is a structure too.
    single = tff.TensorType(np.float32, [8_003, 2])
    assert factory.create(single).next.type_signature.result.result.member == single


@both_names
def test_row_sparse_updates_and_other_mechanisms_are_refused(name):
    with pytest.raises(ValueError, match="row-sparse"):
        _BUILDERS[name](_context(name, row_sparse=True))
    (other,) = set(_BUILDERS) - {name}
    with pytest.raises(ValueError, match=f"expected the mechanism {name}, found {other}"):
        _BUILDERS[name](_context(other))
