"""Sum queries on a grid: records become integers, and integers are what is summed and noised.

TensorFlow Privacy's Gaussian queries, but for three things. Sums are of int64 and exact, so that
no client moves one by more than the clip, whatever the others sent and in whatever order (`grid`
says what noise on integers is worth). The noise is from `noise`, which says why that matters. And
a record without a finite norm counts as zero. The adaptation of clips and the events are
TensorFlow Privacy's.
"""

import collections
import copy
from collections.abc import Mapping
from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

from fedrec_tff.privacy import grid as grid_lib
from fedrec_tff.privacy import noise

# Keeps the insecure noise of the clipped count apart from that of the sum.
_COUNT_STREAM = 0x5EED
# More than float64 is off by in norms of up to 2^26.
_FLOAT64_ERROR = 1e-3


class GaussianSumQuery(tfp.SumAggregationDPQuery):
    """Clips records, rounds them to integers, and adds integer noise to their sum.

    Records are structures of floats, what is summed are structures of int64, and the result is
    float32, in the unit of the records.
    """

    _GlobalState = collections.namedtuple("_GlobalState", ["l2_norm_clip", "num_releases"])

    def __init__(
        self, l2_norm_clip: float, stddev: float, insecure_seed: int | None = None
    ) -> None:
        """Initialises the query.

        Args:
          l2_norm_clip: L2 norm that records are clipped to.
          stddev: Standard deviation of the noise on the sum. Where the clip changes, the deviation
            changes with it.
          insecure_seed: Seed of the noise, for tests; None for secret noise. With a seed, the noise
            is then a function of it and of how many results were released before, so that a resumed
            run draws what an uninterrupted one would have drawn.
        """
        self._l2_norm_clip = l2_norm_clip
        self._noise_multiplier = stddev / l2_norm_clip
        self._insecure_seed = insecure_seed
        self._grid = grid_lib.create_grid(self._noise_multiplier)

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the clip."""
        return self._noise_multiplier

    @property
    def grid(self) -> grid_lib.Grid:
        """What records are rounded to."""
        return self._grid

    def on_grid(self, grid: grid_lib.Grid) -> "GaussianSumQuery":
        """The same clip on another grid, whose noise may be worth something else."""
        query = copy.copy(self)
        query._grid = grid
        return query

    def make_global_state(self, l2_norm_clip: Any, stddev: Any = None) -> Any:
        """A state in which nothing was released yet.

        Args:
          l2_norm_clip: L2 norm that records are clipped to.
          stddev: Standard deviation of the noise, which is not read: the noise is the query's, in
            proportion to the clip.

        Returns:
          The state.
        """
        del stddev
        return self._GlobalState(tf.cast(l2_norm_clip, tf.float32), tf.constant(0))

    def initial_global_state(self) -> Any:
        """A state in which nothing was released yet."""
        return self.make_global_state(self._l2_norm_clip)

    def derive_sample_params(self, global_state: Any) -> tf.Tensor:
        """The clip."""
        return global_state.l2_norm_clip

    def initial_sample_state(self, template: Any) -> Any:
        """The sum of no records: zeros, int64."""
        return tf.nest.map_structure(lambda t: tf.zeros(t.shape, tf.int64), template)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        """Clips and rounds a record: int64."""
        integers, _ = self.preprocess_record_impl(params, record)
        return integers

    def preprocess_record_impl(self, params: Any, record: Any) -> tuple[Any, tf.Tensor]:
        """Clips and rounds a record; returns it and the norm it had, float32."""
        return round_to_grid(record, params, self._grid.max_norm)

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds noise.

        Args:
          sample_state: The sum of records, int64.
          global_state: State that the release before returned.

        Returns:
          The noised sum, float32; the next state; the event of one release.
        """
        values = tf.nest.flatten(sample_state)
        noised = noise.add_noise(
            values,
            self._grid.noise_variance,
            self.draw_seed(global_state),
            then=lambda integers: self.to_floats(integers, global_state),
        )
        result = tf.nest.pack_sequence_as(sample_state, noised)
        event = dp_accounting.GaussianDpEvent(tf.constant(self._noise_multiplier, tf.float32))
        return result, self.count_release(global_state), event

    def draw_seed(self, global_state: Any) -> tf.Tensor:
        """The seed of the next release: int64 [2]."""
        if self._insecure_seed is None:
            return noise.draw_secret_seed()
        return noise.create_insecure_seed(self._insecure_seed, global_state.num_releases)

    def to_floats(self, integers: Any, global_state: Any) -> Any:
        """Gives sums of records, int64, the unit of the records: float32."""
        step = tf.cast(global_state.l2_norm_clip, tf.float64) / self._grid.max_norm
        return tf.nest.map_structure(
            lambda t: tf.cast(tf.cast(t, tf.float64) * step, tf.float32), integers
        )

    def count_release(self, global_state: Any) -> Any:
        """The state after one release more."""
        return global_state._replace(num_releases=global_state.num_releases + 1)


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
          clip_norms: L2 norm that each field of a record is clipped to, by field.
          stddev: Standard deviation of the noise on every number of the sum.
          insecure_seed: Seed of the noise, for tests, as in `GaussianSumQuery`; None for secret
            noise.
        """
        joint = sum(clip**2 for clip in clip_norms.values()) ** 0.5
        super().__init__(joint, stddev, insecure_seed)
        self._clip_norms = dict(clip_norms)

    def preprocess_record_impl(self, params: Any, record: Any) -> tuple[Any, tf.Tensor]:
        """Clips and rounds the parts; returns the record and the joint norm that it had."""
        del params
        if set(record._fields) != set(self._clip_norms):
            raise ValueError(
                f"a record has the parts {record._fields}, clips are for {list(self._clip_norms)}"
            )
        parts = {
            name: round_to_grid(getattr(record, name), clip, self._max_norm(clip))
            for name, clip in self._clip_norms.items()
        }
        norm = tf.linalg.global_norm([norm for _, norm in parts.values()])
        return type(record)(**{name: part for name, (part, _) in parts.items()}), norm

    def _max_norm(self, clip_norm: float) -> int:
        """A part's share of the grid; rounded down, so that all squares add up to less than one."""
        return int(self._grid.max_norm * clip_norm / self._l2_norm_clip)


def clip_to_norm(record: Any, clip_norm: float | tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Clips a structure to a global L2 norm; one whose norm is not finite becomes zero.

    Args:
      record: A structure of float tensors.
      clip_norm: Norm to clip to, a positive scalar.

    Returns:
      The structure, and the norm that it had.
    """
    values = tf.nest.flatten(record)
    norm = _norm(values)
    clip_norm = tf.cast(clip_norm, tf.float64)
    scale = tf.cast(clip_norm / tf.maximum(norm, clip_norm), tf.float32)
    finite = tf.math.is_finite(norm)
    clipped = [tf.where(finite, value * scale, tf.zeros_like(value)) for value in values]
    return tf.nest.pack_sequence_as(record, clipped), tf.cast(norm, tf.float32)


def round_to_grid(
    record: Any, clip_norm: float | tf.Tensor, max_norm: int
) -> tuple[Any, tf.Tensor]:
    """Clips a structure to a global L2 norm, and makes integers of it that are no longer either.

    Rounding to the nearest integers moves n numbers by sqrt(n) / 2 at most, so that much is left
    for it: of `max_norm` steps a ten-thousandth or so. The bound is checked all the same, in
    integers, so that it holds whatever the floating-point numbers before it were.

    Args:
      record: A structure of float tensors. One whose norm is not finite becomes zero.
      clip_norm: Norm to clip to, a positive scalar.
      max_norm: The norm `clip_norm` in steps of the grid, at most 2^26.

    Returns:
      The structure, of int64 tensors whose squares add up to `max_norm` squared at most; and the
      norm that the record had, float32.
    """
    values = tf.nest.flatten(record)
    norm = _norm(values)
    if not values:
        return record, tf.cast(norm, tf.float32)
    clip_norm = tf.cast(clip_norm, tf.float64)
    num_values = tf.cast(tf.add_n([tf.size(value) for value in values]), tf.float64)
    target = tf.maximum(max_norm - 0.5 * tf.sqrt(num_values) - _FLOAT64_ERROR, 0.0)
    factor = target / tf.maximum(norm, clip_norm)
    is_usable = tf.math.is_finite(norm) & tf.math.is_finite(factor)

    def round_value(value: tf.Tensor) -> tf.Tensor:
        scaled = tf.cast(value, tf.float64) * factor
        return tf.cast(tf.round(tf.where(is_usable, scaled, tf.zeros_like(scaled))), tf.int64)

    integers = [round_value(value) for value in values]
    # Sums of squares are exact in float64 up to 2^53; a larger one does not come out below 2^52.
    squares = [tf.reduce_sum(tf.square(tf.cast(value, tf.float64))) for value in integers]
    fits = tf.add_n(squares) <= float(max_norm**2)
    integers = [tf.where(fits, value, tf.zeros_like(value)) for value in integers]
    return tf.nest.pack_sequence_as(record, integers), tf.cast(norm, tf.float32)


def _norm(values: list[tf.Tensor]) -> tf.Tensor:
    """The L2 norm of all numbers, not finite if one is not: float64 scalar."""
    # In float64: a float32 sum of squares loses what is small beside it, and large squares.
    squares = [tf.reduce_sum(tf.square(tf.cast(value, tf.float64))) for value in values]
    return tf.sqrt(tf.add_n([tf.constant(0.0, tf.float64), *squares]))


class _QuantileEstimatorQuery(tfp.QuantileEstimatorQuery):
    """`tfp.QuantileEstimatorQuery` whose count is that of a `GaussianSumQuery`."""

    def __init__(self, insecure_seed: int | None, **kwargs: Any) -> None:
        self._insecure_seed = insecure_seed
        super().__init__(**kwargs)

    def _construct_below_estimate_query(
        self, below_estimate_stddev: float, expected_num_records: float
    ) -> tfp.NormalizedQuery:
        # TensorFlow Privacy counts -1/2 and +1/2, which bounds a record's influence by 1/2.
        sum_query = GaussianSumQuery(0.5, below_estimate_stddev, self._insecure_seed)
        return tfp.NormalizedQuery(sum_query, denominator=expected_num_records)

    def preprocess_record(self, params: Any, record: tf.Tensor) -> Any:
        """Counts -1/2 or +1/2, and a norm of zero as 0.

        Who has no data sends zeros: that must move the count no more than who isn't there.
        """
        below = tf.cast(record <= params.current_estimate, tf.float32) - 0.5
        counted = tf.where(tf.equal(record, 0.0), 0.0, below)
        return self._below_estimate_query.preprocess_record(params.below_estimate_params, counted)

    def initial_sample_state(self, template: Any = None) -> tf.Tensor:
        """The count of no records."""
        del template
        return self._below_estimate_query.initial_sample_state(tf.TensorSpec([]))


class AdaptiveClipSumQuery(tfp.QuantileAdaptiveClipSumQuery):
    """`tfp.QuantileAdaptiveClipSumQuery` whose sum and count are on grids of their own.

    The clip changes, and with it what a step is; records and noise in steps stay as they are.
    """

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
          initial_l2_norm_clip: L2 norm that records are clipped to at first. It and the next five
            mean what they do in `tfp.QuantileAdaptiveClipSumQuery`.
          noise_multiplier: Standard deviation of the noise on the sum, in multiples of the clip.
          target_unclipped_quantile: Fraction of updates that should not be clipped.
          learning_rate: Learning rate of the geometric update of the clip.
          clipped_count_stddev: Standard deviation of the noise on the clipped count.
          expected_num_records: Expected number of clients in a round.
          insecure_seed: Seed of the noise, for tests, as in `GaussianSumQuery`; None for secret
            noise.
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
