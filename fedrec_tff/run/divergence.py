"""Ends a run that has diverged before it spends more: when clients can train no more.

A client whose update is not finite sends zero. Where that happens to all of them, rounds change
nothing, and under differential privacy each costs what any round costs.

Without differential privacy the counts tell. With it they are exact statistics of a cohort, and to
stop by them would release a bit that no noise covers. So made-up users do the same work on the
model of each round, which is public, in place of the real ones: post-processing, which costs
nothing. That the server refused an update is public, too: the noised aggregate shows it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning import client_work
from fedrec_tff.learning import guidance as guidance_lib
from fedrec_tff.run import features as features_lib
from fedrec_tff.run import known_popularity, run_process

# From the state of a learning process to whether made-up users can still train on its model.
ProbeFn = Callable[[tff.learning.templates.LearningAlgorithmState], bool]

# Rounds without any use in a row, after which a run ends.
PATIENCE = 3
# What becomes of what was done.
_AFTER_A_RUN = ", in a new --output_dir; rounds up to the last checkpoint are kept"
_AFTER_AN_AUDIT = ": an audit of a model that stands still finds nothing"
_CANNOT_TRAIN = (
    "users who train on the model get numbers that are not finite (made-up ones, whom it is tried "
    "on)"
)
# How much the made-up users have: who has much takes more steps, and diverges sooner.
_LENGTHS = (4, 16, 64)


def describe(config: RunConfig, symptom: str, aftermath: str = _AFTER_A_RUN) -> str:
    """What to tell somebody whose run has diverged.

    Args:
      config: The run's flags.
      symptom: The symptom by which it shows.
      aftermath: The fate of what was done.

    Returns:
      One line.
    """
    rates = "--client_learning_rate or --server_learning_rate"
    if config.personal is not None:
        rates = f"--reconstruction_learning_rate, {rates}"
    bound = "" if config.is_private else ", or bound updates (--aggregator=clip,mean)"
    return f"training has diverged: {symptom}; lower {rates}{bound}{aftermath}"


@dataclasses.dataclass
class Watch:
    """Looks for the end of training, round by round.

    Attributes:
      config: The run's flags.
      probe_fn: Whether made-up users can train; None where the counts of real ones may be looked
        at.
    """

    config: RunConfig
    probe_fn: ProbeFn | None
    _num_useless: int = 0

    def check_before(self, state: tff.learning.templates.LearningAlgorithmState) -> None:
        """Ends the run if no round is worth its cost any more.

        Args:
          state: State of the learning process before the round.

        Raises:
          DivergedError: If so.
        """
        if self._num_useless >= PATIENCE:
            raise errors.DivergedError(
                describe(
                    self.config,
                    f"in {PATIENCE} rounds no update was finite, so the model stands still",
                )
            )
        if self.probe_fn is not None and not self.probe_fn(state):
            raise errors.DivergedError(describe(self.config, _CANNOT_TRAIN))

    def observe(self, update_was_refused: bool, sums: client_work.ClientMetrics | None) -> None:
        """Takes note of a round.

        Args:
          update_was_refused: Whether the aggregate was not finite.
          sums: Sums over the cohort; None where they are not to be looked at.
        """
        is_useless = update_was_refused
        if sums is not None and self.probe_fn is None:
            is_useless |= 0.0 < sums.num_clients <= sums.num_rejected_clients
        self._num_useless = self._num_useless + 1 if is_useless else 0


def create_watch(
    config: RunConfig,
    num_items: int,
    popular: known_popularity.Popularity | None,
    features: features_lib.Features,
) -> Watch:
    """Creates the watch of a run.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      popular: The items' popularity, as far as it is known, where the run uses it.
      features: Features of items and users that the model reads.

    Returns:
      The watch.
    """
    if not config.is_private and config.server_sees_sums:
        return Watch(config, None)
    return Watch(config, build_probe(config, num_items, popular, features))


def build_audit_check(
    config: RunConfig,
    num_items: int,
    popular: known_popularity.Popularity | None = None,
    features: features_lib.Features = features_lib.NO_FEATURES,
) -> Callable[[tff.learning.templates.LearningAlgorithmState], None]:
    """Builds what ends an audit when users can train no more: its verdict would be about nothing.

    Made-up users tell, in runs without differential privacy too: what canaries send is finite
    whatever becomes of the model.

    Args:
      config: The audited run's flags.
      num_items: Size of the catalogue.
      popular: The items' popularity, as far as it is known, where the run uses it.
      features: Features of items and users that the model reads.

    Returns:
      A function that takes the state of the learning process before a round, and raises
      `DivergedError`.
    """
    probe_fn = build_probe(config, num_items, popular, features)

    def check(state: tff.learning.templates.LearningAlgorithmState) -> None:
        if not probe_fn(state):
            raise errors.DivergedError(describe(config, _CANNOT_TRAIN, _AFTER_AN_AUDIT))

    return check


def build_probe(
    config: RunConfig,
    num_items: int,
    popular: known_popularity.Popularity | None = None,
    features: features_lib.Features = features_lib.NO_FEATURES,
) -> ProbeFn:
    """Builds honest client work over made-up users.

    Args:
      config: The run's flags.
      num_items: Size of the catalogue.
      popular: The items' popularity, as far as it is known, where the run uses it.
      features: Features of items and users that the model reads.

    Returns:
      Whether one of them sends a finite update.
    """
    client_update = run_process.build_client_update(config, num_items, popular, features)

    @tf.function(autograph=False)
    def is_finite(weights: Any, guidance: Any, user: client_work.ClientData) -> tf.Tensor:
        sent = client_work.reject_non_finite(client_update(weights, user, guidance))
        return tf.equal(sent.metrics.num_rejected_clients, 0.0)

    users = [_make_up(config, num_items, features, length) for length in _LENGTHS]

    def probe(state: tff.learning.templates.LearningAlgorithmState) -> bool:
        guidance = _find_guidance(config, state)
        weights = tf.nest.map_structure(tf.constant, state.global_model_weights.trainable)
        return any(is_finite(weights, guidance, user) for user in users)

    return probe


def _make_up(
    config: RunConfig, num_items: int, features: features_lib.Features, length: int
) -> client_work.ClientData:
    """A user of whom nothing is true."""
    items = np.zeros(max(_LENGTHS), np.int32)
    items[:length] = np.random.default_rng(length).integers(0, num_items, length)
    nothing_known = np.full(features.num_user_slots, -1, np.int32)
    return client_work.ClientData(
        tf.constant(items),
        tf.constant(length),
        tf.constant([0, length]),
        tf.constant(nothing_known) if len(nothing_known) else (),
        tf.zeros([config.num_stored_weights]) if config.num_stored_weights else (),
    )


def _find_guidance(
    config: RunConfig, state: tff.learning.templates.LearningAlgorithmState
) -> guidance_lib.Guidance:
    """What the server tells honest clients besides the model."""
    found = state.client_work
    return found[-1] if config.marks_clients else found
