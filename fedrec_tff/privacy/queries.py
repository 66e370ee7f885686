"""TensorFlow Privacy queries with noise that a test can repeat.

Everywhere else the noise is TensorFlow Privacy's own: `tf.random.normal` without a seed, which
TensorFlow's kernel seeds from the operating system, and which is never compiled by XLA here (on
CPU, XLA would repeat it from process to process).
"""

import collections
from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp


class InsecureSeededGaussianSumQuery(tfp.GaussianSumQuery):
    """A Gaussian sum query whose noise anyone with the seed can compute: for tests only.

    The noise is a function of the seed and of how many results were released before, which the
    global state counts: a resumed run draws what an uninterrupted one would have drawn.
    """

    _GlobalState = collections.namedtuple(
        "_GlobalState", ["l2_norm_clip", "stddev", "num_releases"]
    )

    def __init__(self, l2_norm_clip: float, stddev: float, seed: int) -> None:
        """Initialises the query.

        Args:
          l2_norm_clip: As in `tfp.GaussianSumQuery`.
          stddev: As in `tfp.GaussianSumQuery`.
          seed: Of all the noise.
        """
        super().__init__(l2_norm_clip, stddev)
        self._seed = seed

    def make_global_state(self, l2_norm_clip: Any, stddev: Any) -> Any:
        """A state in which nothing was released yet."""
        return self._GlobalState(
            tf.cast(l2_norm_clip, tf.float32), tf.cast(stddev, tf.float32), tf.constant(0)
        )

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds seeded noise; see `tfp.GaussianSumQuery`."""
        seed = tf.stack([self._seed, global_state.num_releases])
        values = tf.nest.flatten(sample_state)
        noised = []
        for index, value in enumerate(values):
            stream = tf.random.experimental.stateless_fold_in(seed, index, alg="philox")
            noise = tf.random.stateless_normal(tf.shape(value), stream, alg="philox")
            noised.append(value + global_state.stddev * noise)
        result = tf.nest.pack_sequence_as(sample_state, noised)
        event = dp_accounting.GaussianDpEvent(global_state.stddev / global_state.l2_norm_clip)
        new_state = global_state._replace(num_releases=global_state.num_releases + 1)
        return result, new_state, event


class _InsecureSeededQuantileEstimatorQuery(tfp.QuantileEstimatorQuery):
    """A quantile estimator whose count is noised by `InsecureSeededGaussianSumQuery`."""

    def __init__(self, seed: int, **kwargs: Any) -> None:
        self._seed = seed
        super().__init__(**kwargs)

    def _construct_below_estimate_query(
        self, below_estimate_stddev: float, expected_num_records: float
    ) -> tfp.NormalizedQuery:
        sum_query = InsecureSeededGaussianSumQuery(0.5, below_estimate_stddev, self._seed)
        return tfp.NormalizedQuery(sum_query, denominator=expected_num_records)


class InsecureSeededAdaptiveClipSumQuery(tfp.QuantileAdaptiveClipSumQuery):
    """`tfp.QuantileAdaptiveClipSumQuery` with noise that the seed gives away: for tests only."""

    def __init__(
        self,
        *,
        initial_l2_norm_clip: float,
        noise_multiplier: float,
        target_unclipped_quantile: float,
        learning_rate: float,
        clipped_count_stddev: float,
        expected_num_records: float,
        seed: int,
    ) -> None:
        """Initialises the query.

        Args:
          initial_l2_norm_clip: As in `tfp.QuantileAdaptiveClipSumQuery`, like those that follow.
          noise_multiplier: Noise of the sum, in multiples of the clip.
          target_unclipped_quantile: Fraction of updates that should not be clipped.
          learning_rate: Of the geometric update of the clip.
          clipped_count_stddev: Noise of the count.
          expected_num_records: Expected clients in a round.
          seed: Of all the noise.
        """
        super().__init__(
            initial_l2_norm_clip,
            noise_multiplier,
            target_unclipped_quantile,
            learning_rate,
            clipped_count_stddev,
            expected_num_records,
        )
        self._sum_query = InsecureSeededGaussianSumQuery(
            initial_l2_norm_clip, noise_multiplier * initial_l2_norm_clip, seed
        )
        self._quantile_estimator_query = _InsecureSeededQuantileEstimatorQuery(
            # Another stream than the sum's.
            seed=seed ^ 0x5EED,
            initial_estimate=initial_l2_norm_clip,
            target_quantile=target_unclipped_quantile,
            learning_rate=learning_rate,
            below_estimate_stddev=clipped_count_stddev,
            expected_num_records=expected_num_records,
            geometric_update=True,
        )

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """As the base class, which makes a new state for the sum: keeps its count of releases."""
        result, state, event = super().get_noised_result(sample_state, global_state)
        num_releases = global_state.sum_state.num_releases + 1
        sum_state = state.sum_state._replace(num_releases=num_releases)
        return result, state._replace(sum_state=sum_state), event
