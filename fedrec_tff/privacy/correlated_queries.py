"""Sum queries whose noise is correlated over rounds, for servers that sum what they get (DP-FTRL).

Each release is a round's clipped sum and noise. Later noise takes back part of what earlier noise
did, so that the noise of the running total stays small; `factorization` has the mathematics, and
says what a user's turns cost. That holds only while these are as far apart as the noise reaches,
counted in releases: every round must be released, one without clients too.

The state holds noise of past rounds. Who sees it can take that noise off what was released: a
checkpoint of this state is as secret as the updates themselves, and no client is sent any of it.
TensorFlow Privacy's own tree queries are not used: they seed their noise from the clock, all of
whose times can be tried, and keep the noise of the *next* release in their state.

The noise is a function of no update, so that nothing that a client sends can spoil what follows. It
is in integers, like the sums (`grid`): what is taken back is exactly what was added.
"""

import abc
import collections
import math
from collections.abc import Sequence
from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

from fedrec_tff.privacy import factorization, noise, queries
from fedrec_tff.privacy import grid as grid_lib

# Bits of a banded matrix's coefficients after the binary point: noise of 2^26 steps is taken back
# to a few of them, and 2^10 products of such noise add up to less than 2^63.
_COEFFICIENT_BITS = 24


class _CorrelatedSumQuery(tfp.SumAggregationDPQuery):
    """Adds noise that depends on the noise of the releases before."""

    _GlobalState = collections.namedtuple("_GlobalState", ["gaussian_state", "noise_state"])

    def __init__(
        self,
        gaussian_query: queries.GaussianSumQuery,
        record_specs: Any,
        norm_bound: float,
    ) -> None:
        """Initialises the query.

        Args:
          gaussian_query: Query whose clipping, grid, seeds and noise multiplier are used.
          record_specs: A structure of `tf.TensorSpec`.
          norm_bound: Upper bound of the spectral norm of the strategy matrix.
        """
        for spec in tf.nest.flatten(record_specs):
            if spec.dtype != tf.float32 or not spec.shape.is_fully_defined():
                raise ValueError(f"noise needs float32 tensors of a known shape, found {spec}")
        self._gaussian_query = gaussian_query
        self._record_specs = record_specs
        self._norm_bound = norm_bound

    def initial_global_state(self) -> Any:
        """A state in which nothing was released yet."""
        gaussian_state = self._gaussian_query.initial_global_state()
        return self._GlobalState(gaussian_state, self._initial_noise_state())

    def derive_sample_params(self, global_state: Any) -> Any:
        """What clients need for clipping, and nothing else of the state."""
        return self._gaussian_query.derive_sample_params(global_state.gaussian_state)

    def initial_sample_state(self, template: Any) -> Any:
        """The sum of no records."""
        return self._gaussian_query.initial_sample_state(template)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        """Clips and rounds a record."""
        return self._gaussian_query.preprocess_record(params, record)

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds the noise of one release.

        Args:
          sample_state: The sum of clipped records, int64.
          global_state: State that the release before returned.

        Returns:
          The noisy sum, float32; the next state; and an event. The event is true under any pattern
          of participation, and under the usual composition of rounds: noise of covariance
          (C^T C)^-1 contains independent noise, smaller by the spectral norm of C. It is far from
          tight. What turns that are known to be apart cost, `mechanisms` says, and `ledger`
          accounts.
        """
        gaussian_state, noise_state = global_state
        query = self._gaussian_query
        seed = query.draw_seed(gaussian_state)
        drawn, noise_state = self._next_noise(noise_state, gaussian_state.num_releases, seed)
        noised = tf.nest.map_structure(tf.add, sample_state, drawn)
        result = query.to_floats(noised, gaussian_state)
        event = dp_accounting.GaussianDpEvent(
            tf.constant(query.noise_multiplier / self._norm_bound, tf.float32)
        )
        new_state = self._GlobalState(query.count_release(gaussian_state), noise_state)
        return result, new_state, event

    def _draw(self, seed: tf.Tensor) -> list[tf.Tensor]:
        """Independent noise for each number of a record: int64, flat."""
        zeros = [tf.zeros(spec.shape, tf.int64) for spec in tf.nest.flatten(self._record_specs)]
        return noise.add_noise(zeros, self._gaussian_query.grid.noise_variance, seed)

    @abc.abstractmethod
    def _initial_noise_state(self) -> Any:
        """The noise state before the first release."""

    @abc.abstractmethod
    def _next_noise(self, noise_state: Any, release: tf.Tensor, seed: tf.Tensor) -> tuple[Any, Any]:
        """Draws the noise of a release: int64, like the records; and the next noise state."""


class BandedGaussianSumQuery(_CorrelatedSumQuery):
    """Noise C^-1 Z, C banded and Toeplitz (Choquette-Choo et al. 2023, arXiv 2306.08153).

    With a_k = c_k / c_0, noise w_t of release t is z_t - round(a_1 w_{t-1} + ... + a_{b-1}
    w_{t-b+1}), z_t independent integers. The state holds the noise of the last b - 1 releases, so
    b - 1 times the size of a record; the coefficients too, so that a resumed run goes on with the
    same ones.

    *What rounding costs.* As without it, releases and z determine one another once the records are
    given. A user's turn at t whose record is v explains the same releases by a z that differs by -v
    in row t and by -a_k v + e_k in row t + k, each number of e_k below 1 in magnitude: the
    difference of two roundings. So for a record of n numbers, Z moves by ||a|| ||v|| + sqrt((b - 1)
    n) at most, and that is what the noise is for: a few thousandths more for a model of 100,000
    weights. That e depends on the releases before, which an adversary saw, doesn't matter: its norm
    is bounded whatever they were (Smith and Thakurta 2022, arXiv 2210.17520).
    """

    _NoiseState = collections.namedtuple("_NoiseState", ["coefficients", "latest"])

    def __init__(
        self,
        gaussian_query: queries.GaussianSumQuery,
        *,
        record_specs: Any,
        coefficients: Sequence[float],
    ) -> None:
        """Initialises the query.

        Args:
          gaussian_query: Query that clips records; its standard deviation is that of the elements
            of Z. In multiples of the clip, that is the noise multiplier of one turn of a user, if
            the columns of C have norm 1.
          record_specs: A structure of `tf.TensorSpec`, those of the sum: float32, dense.
          coefficients: c_0 to c_{b-1}, c_0 positive; see `factorization.create_banded_strategy`.

        Raises:
          ValueError: If c_0 is not positive, or records are not as above.
        """
        if not coefficients or coefficients[0] <= 0.0:
            raise ValueError(f"the first coefficient must be positive, found {coefficients}")
        norm_bound = factorization.banded_norm_bound(coefficients)
        super().__init__(gaussian_query, record_specs, norm_bound)
        unit = 2**_COEFFICIENT_BITS
        # a_1 to a_{b-1}, in integers.
        self._coefficients = [round(c / coefficients[0] * unit) for c in coefficients[1:]]
        column_norm = math.hypot(unit, *self._coefficients) / unit
        num_values = sum(spec.shape.num_elements() for spec in tf.nest.flatten(record_specs))
        rounding = math.sqrt(len(self._coefficients) * num_values)
        turn_multiplier = gaussian_query.noise_multiplier / math.hypot(*coefficients)
        self._gaussian_query = gaussian_query.on_grid(
            grid_lib.create_grid(turn_multiplier * column_norm, rounding / column_norm)
        )

    def _initial_noise_state(self) -> Any:
        # The noise of the latest release first.
        return self._NoiseState(
            tf.constant(self._coefficients, tf.int64),
            _zeros(self._record_specs, len(self._coefficients)),
        )

    def _next_noise(self, noise_state: Any, release: tf.Tensor, seed: tf.Tensor) -> tuple[Any, Any]:
        del release
        coefficients, latest = noise_state
        flat = tf.nest.flatten(latest)
        drawn = [
            new - _round_product(coefficients, past)
            for new, past in zip(self._draw(seed), flat, strict=True)
        ]
        # One is in, the oldest is out; with one band, none is kept.
        kept = [
            tf.concat([new[tf.newaxis], past], axis=0)[: past.shape[0]]
            for new, past in zip(drawn, flat, strict=True)
        ]
        new_state = self._NoiseState(
            coefficients, tf.nest.pack_sequence_as(self._record_specs, kept)
        )
        return tf.nest.pack_sequence_as(self._record_specs, drawn), new_state


class TreeGaussianSumQuery(_CorrelatedSumQuery):
    """Noise of binary trees (Kairouz et al. 2021, arXiv 2103.00039, without Honaker's estimator).

    The noise of the first s releases of a tree, together, is that of the nodes that make up the
    binary form of s. Release s completes one node that is used, and takes the nodes under it out of
    the sum: its noise is that of the new node, minus that of those. After `restart_period` releases
    a new tree starts; what is released later takes nothing of the finished one back. The state
    holds one node for each level, so `factorization.tree_depth(restart_period)` times the size of
    a record.
    """

    def __init__(
        self,
        gaussian_query: queries.GaussianSumQuery,
        *,
        record_specs: Any,
        restart_period: int,
    ) -> None:
        """Initialises the query.

        Args:
          gaussian_query: Query that clips records; its standard deviation is that of the noise of a
            node. In multiples of the clip, and over the root of
            `factorization.tree_depth(restart_period)`, that is the noise multiplier of one turn of
            a user.
          record_specs: A structure of `tf.TensorSpec`, those of the sum: float32, dense.
          restart_period: Number of releases of a tree; `factorization.create_tree_period` has a
            good one.

        Raises:
          ValueError: If records are not as above, or the period is below 1.
        """
        norm_bound = factorization.tree_norm_bound(restart_period)
        super().__init__(gaussian_query, record_specs, norm_bound)
        self._restart_period = restart_period

    def _initial_noise_state(self) -> Any:
        # By level, leaves first; zero for a level that is not in the current prefix.
        return _zeros(self._record_specs, factorization.tree_depth(self._restart_period))

    def _next_noise(self, noise_state: Any, release: tf.Tensor, seed: tf.Tensor) -> tuple[Any, Any]:
        step = release % self._restart_period + 1
        sizes = 2 ** tf.range(factorization.tree_depth(self._restart_period))
        # Of the nodes that this release completes, the highest is new in the prefix. No `==` here:
        # in graphs that TFF traces, it does not compare tensors, but Python objects.
        completed = tf.equal(step % sizes, 0)
        is_new = completed & tf.not_equal(step % (2 * sizes), 0)
        is_last = tf.equal(step, self._restart_period)
        flat = tf.nest.flatten(noise_state)
        drawn, kept = [], []
        for nodes, new in zip(flat, self._draw(seed), strict=True):
            shape = [-1] + [1] * (nodes.shape.rank - 1)
            removed = tf.where(tf.reshape(completed, shape), nodes, tf.zeros_like(nodes))
            drawn.append(new - tf.reduce_sum(removed, axis=0))
            following = tf.where(tf.reshape(is_new, shape), new, nodes - removed)
            kept.append(tf.where(is_last, tf.zeros_like(following), following))
        return (
            tf.nest.pack_sequence_as(self._record_specs, drawn),
            tf.nest.pack_sequence_as(self._record_specs, kept),
        )


def _round_product(coefficients: tf.Tensor, past: tf.Tensor) -> tf.Tensor:
    """The sum of past noise, each times its coefficient, to the nearest integer.

    Args:
      coefficients: int64 [bands - 1], coefficients of the past noise, in units of 2^-24.
      past: int64 [bands - 1, ...], the past noise.

    Returns:
      int64 [...].
    """
    factors = tf.reshape(coefficients, [-1] + [1] * (past.shape.rank - 1))
    half = 2 ** (_COEFFICIENT_BITS - 1)
    total = tf.reduce_sum(factors * past, axis=0) + half
    # Rounds down, negative numbers too.
    return tf.bitwise.right_shift(total, tf.constant(_COEFFICIENT_BITS, tf.int64))


def _zeros(record_specs: Any, length: int) -> Any:
    return tf.nest.map_structure(
        lambda spec: tf.zeros([length, *spec.shape], tf.int64), record_specs
    )
