"""A sum query that adds noise to chosen rows of a table alone: DP-AdaFEST, by users.

Ghazi et al. 2023, "Sparsity-preserving differentially private training of large embedding models"
(arXiv 2311.08357), algorithm 1. A user counts in a histogram of the rows that its update changes.
The histogram gets noise on all rows, untouched ones too, so that which of them pass a threshold is
post-processing; the sum of updates gets noise on those that do, and is zero on the others.
docs/privacy.md has what both cost together.

Here a user's count is bounded by number: 1 in each of the rows that the update changes most, at
most so many, which bounds its L2 norm. And the mean of the histograms of all rounds so far may be
held against the threshold in the place of the last alone: it is made of what was released, and its
noise wears off as rounds go by.
"""

import collections
import dataclasses
import math
from typing import Any, NamedTuple

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import grid as grid_lib
from fedrec_tff.privacy import noise, queries

CHOSEN_ROWS = "chosen_rows"
# Keeps the insecure noise of the histogram apart from that of the sum.
_HISTOGRAM_STREAM = 0xC0417


class Counted(NamedTuple):
    """A user's clipped update, or the sum of many, and the rows that were changed.

    Attributes:
      value: A structure whose `items` are tensors of rows.
      counts: int64 [rows], what the user counts in each of these rows, in steps of the histogram's
        grid.
    """

    value: Any
    counts: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Histogram:
    """The histogram of changed rows.

    Attributes:
      num_rows: Rows of the whole table.
      noise_multiplier: Standard deviation of its noise over sqrt(rows_per_user); 0 for none.
      rows_per_user: Number of rows that a user counts in, at most.
      threshold: Threshold of a row, in standard deviations of the noise.
      remembers: Whether the histograms of all rounds so far are held against the threshold.
    """

    num_rows: int
    noise_multiplier: float
    rows_per_user: int
    threshold: float
    remembers: bool

    @property
    def grid(self) -> grid_lib.Grid:
        """What counts are rounded to."""
        return grid_lib.create_grid(self.noise_multiplier)

    @property
    def step(self) -> int:
        """A user's count in one row, on the grid: as many as rows_per_user are within its norm.

        Raises:
          UserError: If there is so much noise that nothing is left for a count.
        """
        step = math.isqrt(self.grid.max_norm**2 // self.rows_per_user)
        if step < 1:
            raise UserError(
                f"noise of {self.noise_multiplier:g} times the norm of {self.rows_per_user} counts "
                "leaves nothing of one: lower --rows_per_user, or raise --histogram_share"
            )
        return step


class SparseGaussianSumQuery(tfp.SumAggregationDPQuery):
    """Clips records, counts their rows, and adds noise to the sum's rows that many have changed.

    Records are `NamedTuple`s whose field `items` holds tensors of rows: all rows of a table, or
    some, if the query is in a `RowSparseQuery`. Every row that is not chosen is exactly zero.
    """

    _GlobalState = collections.namedtuple(
        "_GlobalState", ["sum_state", "history", "num_releases", "num_chosen"]
    )

    def __init__(
        self,
        sum_query: queries.GaussianSumQuery,
        histogram: Histogram,
        insecure_seed: int | None = None,
    ) -> None:
        """Initialises the query.

        Args:
          sum_query: Query that clips records, and noises what is handed on of their sum.
          histogram: The histogram that chooses rows.
          insecure_seed: Seed of the histogram's noise, for tests, as in `GaussianSumQuery`; None
            for secret noise.
        """
        self._sum_query = sum_query
        self._histogram = histogram
        self._insecure_seed = insecure_seed
        self._step = histogram.step

    def initial_global_state(self) -> Any:
        """A state in which nothing was released yet."""
        num_remembered = self._histogram.num_rows if self._histogram.remembers else 0
        return self._GlobalState(
            self._sum_query.initial_global_state(),
            tf.zeros([num_remembered], tf.int64),
            tf.constant(0),
            tf.constant(0),
        )

    def derive_sample_params(self, global_state: Any) -> Any:
        """The clip."""
        return self._sum_query.derive_sample_params(global_state.sum_state)

    def initial_sample_state(self, template: Any) -> Counted:
        """The sum of no records: zeros, int64."""
        rows = tf.nest.flatten(template.items)[0].shape[0]
        zeros = self._sum_query.initial_sample_state(template)
        return Counted(zeros, tf.zeros([rows], tf.int64))

    def preprocess_record(self, params: Any, record: Any) -> Counted:
        """Clips and rounds a record, and counts the rows of it that are not zero then."""
        value = self._sum_query.preprocess_record(params, record)
        squares = tf.add_n([_row_squares(table) for table in tf.nest.flatten(value.items)])
        return Counted(value, self._step * _find_largest(squares, self._histogram.rows_per_user))

    def get_noised_result(
        self, sample_state: Counted, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Chooses rows by the noised histogram, and adds noise to these and to all else.

        Args:
          sample_state: The sum of records.
          global_state: State that the release before returned.

        Returns:
          The noised sum, float32, zero in rows that were not chosen; the next state; the event of
          both releases.
        """
        chosen, history = self._choose(sample_state.counts, global_state)
        value = sample_state.value
        rows = tf.nest.map_structure(lambda table: tf.gather(table, chosen), value.items)
        noised, sum_state, event = self._sum_query.get_noised_result(
            value._replace(items=rows), global_state.sum_state
        )

        def place(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
            shape = tf.shape(table, tf.int64)
            placed = tf.scatter_nd(chosen[:, tf.newaxis], rows, shape)
            return tf.ensure_shape(placed, table.shape)

        items = tf.nest.map_structure(place, value.items, noised.items)
        state = self._GlobalState(
            sum_state, history, global_state.num_releases + 1, tf.size(chosen, tf.int32)
        )
        multiplier = tf.constant(self._histogram.noise_multiplier, tf.float32)
        events = [dp_accounting.GaussianDpEvent(multiplier), event]
        return noised._replace(items=items), state, dp_accounting.ComposedDpEvent(events)

    def derive_metrics(self, global_state: Any) -> collections.OrderedDict[str, tf.Tensor]:
        """How many rows were chosen in the last round."""
        return collections.OrderedDict([(CHOSEN_ROWS, global_state.num_chosen)])

    def _choose(self, counts: tf.Tensor, global_state: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The chosen rows, int64 [chosen], ascending; and the noised counts to remember."""
        variance = self._histogram.grid.noise_variance
        noised = noise.add_noise([counts], variance, self._draw_seed(global_state))[0]
        history, num_held = global_state.history, tf.constant(1, tf.int32)
        if self._histogram.remembers:
            noised = history = history + noised
            num_held = global_state.num_releases + 1
        # Of the sum of so many histograms; against their mean it would be the same.
        deviation = math.sqrt(variance) * tf.sqrt(tf.cast(num_held, tf.float64))
        passes = tf.cast(noised, tf.float64) >= self._histogram.threshold * deviation
        return tf.where(passes)[:, 0], history

    def _draw_seed(self, global_state: Any) -> tf.Tensor:
        if self._insecure_seed is None:
            return noise.draw_secret_seed()
        seed = self._insecure_seed ^ _HISTOGRAM_STREAM
        return noise.create_insecure_seed(seed, global_state.num_releases)


def _row_squares(table: tf.Tensor) -> tf.Tensor:
    """The squared length of each row of integers: float32 [rows], zero for zero rows alone."""
    squares = tf.square(tf.cast(table, tf.float32))
    return tf.reduce_sum(squares, axis=list(range(1, table.shape.rank)))


def _find_largest(sizes: tf.Tensor, num_largest: int) -> tf.Tensor:
    """1 for each of so many largest numbers that are above zero, 0 for others: int64 [rows].

    Of equal numbers the first are taken, so that there are never more.
    """
    order = tf.argsort(sizes, direction="DESCENDING", stable=True)
    rank = tf.argsort(order, stable=True)
    return tf.cast((rank < num_largest) & (sizes > 0.0), tf.int64)
