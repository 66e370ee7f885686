"""Sum queries whose noise is correlated over rounds, for servers that sum what they get (DP-FTRL).

Each release is a round's clipped sum and noise. Later noise takes back part of what earlier noise
did, so that the noise of the running total stays small; `factorization` has the mathematics, and
says what a user's turns cost. That holds only while these are as far apart as the noise reaches,
counted in releases: every round must be released, one without clients too.

The state holds noise of past rounds. Who sees it can take that noise off what was released: a
checkpoint of this state is as secret as the updates themselves, and no client is sent any of it.
TensorFlow Privacy's own tree queries are not used: they seed their noise from the clock, all of
whose times can be tried, and keep the noise of the *next* release in their state.

The noise is a function of no update, so that nothing that a client sends can spoil what follows.
"""

import abc
import collections
from collections.abc import Sequence
from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

from fedrec_tff.privacy import factorization, noise, queries


class _CorrelatedSumQuery(tfp.SumAggregationDPQuery):
    """Adds noise that depends on the noise of the releases before."""

    _GlobalState = collections.namedtuple("_GlobalState", ["gaussian_state", "noise_state"])

    def __init__(
        self,
        gaussian_query: queries.GaussianSumQuery,
        record_specs: Any,
        norm_bound: float,
        insecure_seed: int | None,
    ) -> None:
        """Initialises the query.

        Args:
          gaussian_query: Its clipping is used, and its standard deviation, not its noise.
          record_specs: A structure of `tf.TensorSpec`.
          norm_bound: Upper bound of the spectral norm of the strategy matrix.
          insecure_seed: As in `queries.GaussianSumQuery`.
        """
        for spec in tf.nest.flatten(record_specs):
            if spec.dtype != tf.float32 or not spec.shape.is_fully_defined():
                raise ValueError(f"noise needs float32 tensors of a known shape, found {spec}")
        self._gaussian_query = gaussian_query
        self._record_specs = record_specs
        self._norm_bound = norm_bound
        self._insecure_seed = insecure_seed

    def initial_global_state(self) -> Any:
        """A state in which nothing was released yet."""
        gaussian_state = self._gaussian_query.initial_global_state()
        return self._GlobalState(gaussian_state, self._initial_noise_state())

    def derive_sample_params(self, global_state: Any) -> Any:
        """What clients need for clipping, and nothing else of the state."""
        return self._gaussian_query.derive_sample_params(global_state.gaussian_state)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        """Clips a record."""
        return self._gaussian_query.preprocess_record(params, record)

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds the noise of one release.

        Args:
          sample_state: The sum of clipped records.
          global_state: As the release before left it.

        Returns:
          The noisy sum, the next state, and an event. The event is true under any pattern of
          participation, and under the usual composition of rounds: noise of covariance (C^T C)^-1
          contains independent noise, smaller by the spectral norm of C. It is far from tight.
          What turns that are known to be apart cost, `mechanisms` says, and `ledger` accounts.
        """
        gaussian_state, noise_state = global_state
        release, stddev = gaussian_state.num_releases, gaussian_state.stddev
        if self._insecure_seed is None:
            seed = noise.draw_secret_seed()
        else:
            seed = noise.create_insecure_seed(self._insecure_seed, release)
        drawn, noise_state = self._next_noise(noise_state, release, stddev, seed)
        result = tf.nest.map_structure(tf.add, sample_state, drawn)
        gaussian_state = gaussian_state._replace(num_releases=release + 1)
        multiplier = stddev / (gaussian_state.l2_norm_clip * self._norm_bound)
        event = dp_accounting.GaussianDpEvent(multiplier)
        return result, self._GlobalState(gaussian_state, noise_state), event

    @abc.abstractmethod
    def _initial_noise_state(self) -> Any:
        """The noise state before the first release."""

    @abc.abstractmethod
    def _next_noise(
        self, noise_state: Any, release: tf.Tensor, stddev: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Any, Any]:
        """Draws the noise of a release: a structure like the records, and the next noise state."""


class BandedGaussianSumQuery(_CorrelatedSumQuery):
    """Noise C^-1 Z, C banded and Toeplitz (Choquette-Choo et al. 2023, arXiv 2306.08153).

    Noise w_t of release t solves c_0 w_t + ... + c_{b-1} w_{t-b+1} = z_t, z_t independent. The
    state holds the noise of the last b - 1 releases, so b - 1 times the size of a record; the
    coefficients too, so that a resumed run goes on with the same ones.
    """

    _NoiseState = collections.namedtuple("_NoiseState", ["coefficients", "latest"])

    def __init__(
        self,
        gaussian_query: queries.GaussianSumQuery,
        *,
        record_specs: Any,
        coefficients: Sequence[float],
        insecure_seed: int | None = None,
    ) -> None:
        """Initialises the query.

        Args:
          gaussian_query: Clips records; its standard deviation is that of the elements of Z. In
            multiples of the clip, that is the noise multiplier of one turn of a user, if the
            columns of C have norm 1.
          record_specs: A structure of `tf.TensorSpec`, those of the sum: float32, dense.
          coefficients: c_0 to c_{b-1}, c_0 positive; see `factorization.create_banded_strategy`.
          insecure_seed: As in `queries.GaussianSumQuery`.

        Raises:
          ValueError: If c_0 is not positive, or records are not as above.
        """
        if not coefficients or coefficients[0] <= 0.0:
            raise ValueError(f"the first coefficient must be positive, found {coefficients}")
        norm_bound = factorization.banded_norm_bound(coefficients)
        super().__init__(gaussian_query, record_specs, norm_bound, insecure_seed)
        self._coefficients = coefficients

    def _initial_noise_state(self) -> Any:
        # The noise of the latest release first.
        return self._NoiseState(
            tf.constant(self._coefficients, tf.float32),
            _zeros(self._record_specs, len(self._coefficients) - 1),
        )

    def _next_noise(
        self, noise_state: Any, release: tf.Tensor, stddev: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Any, Any]:
        del release
        coefficients, latest = noise_state
        flat = tf.nest.flatten(latest)
        owed = [-tf.tensordot(coefficients[1:], past, 1) for past in flat]
        solved = noise.add_gaussian_noise(owed, stddev, seed)
        drawn = [value / coefficients[0] for value in solved]
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
        insecure_seed: int | None = None,
    ) -> None:
        """Initialises the query.

        Args:
          gaussian_query: Clips records; its standard deviation is that of the noise of a node. In
            multiples of the clip, and over the root of `factorization.tree_depth(restart_period)`,
            that is the noise multiplier of one turn of a user.
          record_specs: A structure of `tf.TensorSpec`, those of the sum: float32, dense.
          restart_period: Releases of a tree; `factorization.create_tree_period` has a good one.
          insecure_seed: As in `queries.GaussianSumQuery`.

        Raises:
          ValueError: If records are not as above, or the period is below 1.
        """
        norm_bound = factorization.tree_norm_bound(restart_period)
        super().__init__(gaussian_query, record_specs, norm_bound, insecure_seed)
        self._restart_period = restart_period

    def _initial_noise_state(self) -> Any:
        # By level, leaves first; zero for a level that is not in the current prefix.
        return _zeros(self._record_specs, factorization.tree_depth(self._restart_period))

    def _next_noise(
        self, noise_state: Any, release: tf.Tensor, stddev: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Any, Any]:
        step = release % self._restart_period + 1
        sizes = 2 ** tf.range(factorization.tree_depth(self._restart_period))
        # Of the nodes that this release completes, the highest is new in the prefix. No `==` here:
        # in graphs that TFF traces, it does not compare tensors, but Python objects.
        completed = tf.equal(step % sizes, 0)
        is_new = completed & tf.not_equal(step % (2 * sizes), 0)
        is_last = tf.equal(step, self._restart_period)
        flat = tf.nest.flatten(noise_state)
        zeros = [tf.zeros_like(nodes[0]) for nodes in flat]
        new_nodes = noise.add_gaussian_noise(zeros, stddev, seed)
        drawn, kept = [], []
        for nodes, new in zip(flat, new_nodes, strict=True):
            shape = [-1] + [1] * new.shape.rank
            removed = tf.where(tf.reshape(completed, shape), nodes, 0.0)
            drawn.append(new - tf.reduce_sum(removed, axis=0))
            following = tf.where(tf.reshape(is_new, shape), new, nodes - removed)
            kept.append(tf.where(is_last, 0.0, following))
        return (
            tf.nest.pack_sequence_as(self._record_specs, drawn),
            tf.nest.pack_sequence_as(self._record_specs, kept),
        )


def _zeros(record_specs: Any, length: int) -> Any:
    return tf.nest.map_structure(
        lambda spec: tf.zeros([length, *spec.shape], spec.dtype), record_specs
    )
