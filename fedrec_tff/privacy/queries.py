"""TensorFlow Privacy's Gaussian queries, with noise from `noise`.

The adaptation and the events are TensorFlow Privacy's. What differs is where the noise comes from
(`noise` says why that matters), and that a record without a finite norm counts as zero, so that no
client can make the sum meaningless, let alone move it by more than the clip.
"""

import collections
from collections.abc import Mapping
from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

from fedrec_tff.privacy import noise

# Keeps the insecure noise of the clipped count apart from that of the sum.
_COUNT_STREAM = 0x5EED


class GaussianSumQuery(tfp.GaussianSumQuery):
    """`tfp.GaussianSumQuery` with unpredictable noise."""

    _GlobalState = collections.namedtuple(
        "_GlobalState", ["l2_norm_clip", "stddev", "num_releases"]
    )

    def __init__(
        self, l2_norm_clip: float, stddev: float, insecure_seed: int | None = None
    ) -> None:
        """Initialises the query.

        Args:
          l2_norm_clip: L2 norm that records are clipped to.
          stddev: Of the noise on the sum.
          insecure_seed: None for secret noise. In tests, a seed: the noise is then a function of it
            and of how many results were released before, so that a resumed run draws what an
            uninterrupted one would have drawn.
        """
        super().__init__(l2_norm_clip, stddev)
        self._insecure_seed = insecure_seed

    def make_global_state(self, l2_norm_clip: Any, stddev: Any) -> Any:
        """A state in which nothing was released yet."""
        return self._GlobalState(
            tf.cast(l2_norm_clip, tf.float32), tf.cast(stddev, tf.float32), tf.constant(0)
        )

    def preprocess_record_impl(self, params: Any, record: Any) -> tuple[Any, tf.Tensor]:
        """Clips a record to a global L2 norm of `params`; returns it and the norm it had."""
        return clip_to_norm(record, params)

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds noise; see `tfp.GaussianSumQuery`."""
        if self._insecure_seed is None:
            seed = noise.draw_secret_seed()
        else:
            seed = noise.create_insecure_seed(self._insecure_seed, global_state.num_releases)
        values = tf.nest.flatten(sample_state)
        noised = noise.add_gaussian_noise(values, global_state.stddev, seed)
        event = dp_accounting.GaussianDpEvent(global_state.stddev / global_state.l2_norm_clip)
        new_state = global_state._replace(num_releases=global_state.num_releases + 1)
        return tf.nest.pack_sequence_as(sample_state, noised), new_state, event


class PartClippedSumQuery(GaussianSumQuery):
    """Clips each part of a record to a norm of its own, and noises the sum of all as one.

    A record is a `NamedTuple`; its fields are its parts. Their joint L2 sensitivity is the root of
    the sum of the squared clips (McMahan et al. 2018, arXiv 1710.06963, section 2.3: per-layer
    clipping).
    """

    def __init__(
        self, clip_norms: Mapping[str, float], stddev: float, insecure_seed: int | None = None
    ) -> None:
        """Initialises the query.

        Args:
          clip_norms: For each field of a record, the L2 norm that it is clipped to.
          stddev: Of the noise on every number of the sum.
          insecure_seed: As in `GaussianSumQuery`.
        """
        joint = sum(clip**2 for clip in clip_norms.values()) ** 0.5
        super().__init__(joint, stddev, insecure_seed)
        self._clip_norms = dict(clip_norms)

    def preprocess_record_impl(self, params: Any, record: Any) -> tuple[Any, tf.Tensor]:
        """Clips the parts; returns the record and the joint norm that it had."""
        del params
        if set(record._fields) != set(self._clip_norms):
            raise ValueError(
                f"a record has the parts {record._fields}, clips are for {list(self._clip_norms)}"
            )
        parts = {
            name: clip_to_norm(getattr(record, name), clip)
            for name, clip in self._clip_norms.items()
        }
        norm = tf.linalg.global_norm([norm for _, norm in parts.values()])
        return type(record)(**{name: part for name, (part, _) in parts.items()}), norm


def clip_to_norm(record: Any, clip_norm: float | tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Clips a structure to a global L2 norm; one whose norm is not finite becomes zero.

    Args:
      record: A structure of float tensors.
      clip_norm: Positive scalar.

    Returns:
      The structure, and the norm that it had.
    """
    values = tf.nest.flatten(record)
    # In float64: a float32 sum of squares loses what is small beside it, and large squares.
    squares = [tf.reduce_sum(tf.square(tf.cast(value, tf.float64))) for value in values]
    norm = tf.sqrt(tf.add_n([tf.constant(0.0, tf.float64), *squares]))
    clip_norm = tf.cast(clip_norm, tf.float64)
    scale = tf.cast(clip_norm / tf.maximum(norm, clip_norm), tf.float32)
    finite = tf.math.is_finite(norm)
    clipped = [tf.where(finite, value * scale, tf.zeros_like(value)) for value in values]
    return tf.nest.pack_sequence_as(record, clipped), tf.cast(norm, tf.float32)


class _QuantileEstimatorQuery(tfp.QuantileEstimatorQuery):
    """`tfp.QuantileEstimatorQuery` whose count is noised by `GaussianSumQuery`."""

    def __init__(self, insecure_seed: int | None, **kwargs: Any) -> None:
        self._insecure_seed = insecure_seed
        super().__init__(**kwargs)

    def _construct_below_estimate_query(
        self, below_estimate_stddev: float, expected_num_records: float
    ) -> tfp.NormalizedQuery:
        # TensorFlow Privacy counts -1/2 and +1/2, which bounds a record's influence by 1/2.
        sum_query = GaussianSumQuery(0.5, below_estimate_stddev, self._insecure_seed)
        return tfp.NormalizedQuery(sum_query, denominator=expected_num_records)


class AdaptiveClipSumQuery(tfp.QuantileAdaptiveClipSumQuery):
    """`tfp.QuantileAdaptiveClipSumQuery` with unpredictable noise on sum and count."""

    def __init__(
        self,
        *,
        initial_l2_norm_clip: float,
        noise_multiplier: float,
        target_unclipped_quantile: float,
        learning_rate: float,
        clipped_count_stddev: float,
        expected_num_records: float,
        insecure_seed: int | None = None,
    ) -> None:
        """Initialises the query.

        Args:
          initial_l2_norm_clip: As in `tfp.QuantileAdaptiveClipSumQuery`, like those that follow.
          noise_multiplier: Noise of the sum, in multiples of the clip.
          target_unclipped_quantile: Fraction of updates that should not be clipped.
          learning_rate: Of the geometric update of the clip.
          clipped_count_stddev: Noise of the count.
          expected_num_records: Expected clients in a round.
          insecure_seed: As in `GaussianSumQuery`.
        """
        super().__init__(
            initial_l2_norm_clip,
            noise_multiplier,
            target_unclipped_quantile,
            learning_rate,
            clipped_count_stddev,
            expected_num_records,
        )
        self._sum_query = GaussianSumQuery(
            initial_l2_norm_clip, noise_multiplier * initial_l2_norm_clip, insecure_seed
        )
        self._quantile_estimator_query = _QuantileEstimatorQuery(
            insecure_seed=None if insecure_seed is None else insecure_seed ^ _COUNT_STREAM,
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
