"""`tune`: what a smaller form has of plain numbers is trained until it scores as the model did.

After `prune` these are the numbers that are left (Han et al. 2015), after `low_rank` both factors,
after `pq` the codebooks, with each item's codewords as they are. With `bits`, the item table is
rounded as `quantize` will round it, and the gradient passes as if it were not: quantisation-aware
training (Jacob et al. 2018; the straight-through estimator of Bengio, Léonard and Courville 2013,
"Estimating or propagating gradients through stochastic neurons for conditional computation").
"""

# Tested in tests/serving/compression/test_distillation.py.

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fedrec_tff import errors
from fedrec_tff.serving.compression import bit_packing, history_source, quantization
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.learning_method import LearningMethod
from fedrec_tff.serving.compression.method import Inputs

if TYPE_CHECKING:
    import tensorflow as tf

    from fedrec_tff.serving.compression.compact_model import CompactModel


@dataclasses.dataclass(frozen=True)
class Tuning(LearningMethod):
    """See the module; `build_tune` has the parameters."""

    bits: int | None

    def apply(self, model: CompactModel, inputs: Inputs) -> CompactModel:
        """See `Method`."""
        import tensorflow as tf

        from fedrec_tff.serving.compression import following, score_functions

        teacher = model if inputs.full is None else inputs.full
        histories = history_source.find(self.histories, inputs, teacher)
        variables = {id(plain): tf.Variable(plain.decode()) for plain in model.list_plain()}

        def to_tensor(plain: Plain) -> tf.Tensor:
            found = tf.convert_to_tensor(variables[id(plain)])
            return _round_through(found, self.bits) if self.bits and plain.of_items else found

        following.train(
            score_functions.to_shaped(teacher),
            score_functions.to_shaped(model, to_tensor),
            list(variables.values()),
            histories,
            self.steps,
            self.learning_rate,
            inputs.seed,
        )
        return model.map_plain(lambda plain: _take(plain, variables[id(plain)]))


def build_tune(
    *,
    bits: int | None = None,
    histories: str = "made_up",
    steps: int = 1000,
    learning_rate: float = 0.003,
) -> Tuning:
    """Training of what is plain still, until scores are again those of the model.

    Args:
      bits: Bits to which the item table is rounded while it is trained, as the quantize that
        follows will do it, from 2 to 8; none for no rounding.
      histories: Histories to learn from: made_up (drawn from the model) or training (users' own).
      steps: Steps of training, of 256 histories each.
      learning_rate: Learning rate of Adam, which falls to zero.

    Returns:
      The method.

    Raises:
      UserError: If it cannot be done.
    """
    if bits is not None and bits not in bit_packing.WIDTHS:
        raise errors.UserError(f"--methods: tune bits={bits}: choose from 2 to 8")
    history_source.check("tune", histories, steps, learning_rate)
    return Tuning(bits=bits, histories=histories, steps=steps, learning_rate=learning_rate)


def _round_through(values: tf.Tensor, bits: int) -> tf.Tensor:
    """Values rounded row by row as `quantize` does it; their gradient is that of the values."""
    import tensorflow as tf

    most = float(quantization.largest_code(bits))
    largest = tf.reduce_max(tf.abs(values), axis=-1, keepdims=True) / most

    def round_with(share: float) -> tf.Tensor:
        whole = tf.round(tf.math.divide_no_nan(values, share * largest))
        return tf.clip_by_value(whole, -most, most) * share * largest

    candidates = tf.stack([round_with(share) for share in quantization.list_shares(bits)])
    lost = tf.reduce_sum(tf.square(candidates - values), axis=-1)
    # The candidate of each row with the least squared error.
    chosen = tf.one_hot(tf.argmin(lost, axis=0), candidates.shape[0], axis=0)
    rounded = tf.reduce_sum(candidates * chosen[..., tf.newaxis], axis=0)
    return values + tf.stop_gradient(rounded - values)


def _take(plain: Plain, variable: tf.Variable) -> Coded:
    return dataclasses.replace(plain, values=variable.numpy())
