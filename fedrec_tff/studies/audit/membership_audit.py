"""Audits a training procedure by membership inference: can its model tell whom it was trained on?

A random half of the users train, the other half never takes part. The model is then asked how well
it fits each user. The better it fits those who trained, the more it has remembered.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws, loading, sequences
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import calibration
from fedrec_tff.privacy.audit import membership, report
from fedrec_tff.run import cohorts, divergence, population, privacy_plan, run_process
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.audit.config import AuditConfig

# What is drawn.
_HALF = "half"
# `--seed` is below.
_NUM_SEEDS = 2**31
_LOGITS_PER_BLOCK = 2**22

# Is told the number of the round that is done, of all models together.
RoundDoneFn = Callable[[int], None]
# Trains a model once; is given what to call after each round.
_TrainFn = Callable[[Callable[[], None]], two_tower.TwoTowerWeights]


@dataclasses.dataclass(frozen=True, eq=False)
class MembershipAudit:
    """What came out.

    Attributes:
      report: Report with the verdict.
      attacks: Result of each attack.
      num_members: Users who trained.
      num_non_members: Users who did not.
    """

    report: report.AuditReport
    attacks: tuple[membership.AttackResult, ...]
    num_members: int
    num_non_members: int


def run(
    config: RunConfig,
    audit: AuditConfig,
    dataset: loading.LoadedDataset,
    plan: privacy_plan.PrivacyPlan,
    round_done_fn: RoundDoneFn = lambda round_number: None,
    charge_fn: audit_config.ChargeFn = lambda: None,
) -> MembershipAudit:
    """Trains on half of the users, attacks and judges; in the current TFF context.

    Args:
      config: The run's flags.
      audit: Settings of the audit.
      dataset: The data; of the split, training sequences only are used.
      plan: Privacy plan for half of the users; each half has cohorts of its own.
      round_done_fn: Function that is told of every round.
      charge_fn: Function that takes what the audit costs, once all is prepared, before the first
        round.

    Returns:
      The verdict, and the attacks behind it.

    Raises:
      UserError: If the run cannot be built, or training diverges.
    """
    train, num_items = dataset.split.train, dataset.split.num_items
    draws = keyed_draws.KeyedDraws(dataset.train_user_ids, config.seed)
    is_member, *halves = draw_halves(draws, audit.num_shadow_models)
    rounds_done = 0

    def count_round() -> None:
        nonlocal rounds_done
        rounds_done += 1
        round_done_fn(rounds_done)

    def fit(train_fn: _TrainFn) -> membership.UserFit:
        return measure_fit(config.two_tower, train_fn(count_round), train, num_items)

    def fit_shadow(index: int, half: np.ndarray) -> np.ndarray:
        own_seed = dataclasses.replace(config, seed=(config.seed + 1 + index) % _NUM_SEEDS)
        shadow_plan = _plan_shadow(own_seed, plan, half, num_items)
        return fit(_build_train_fn(own_seed, dataset, half, shadow_plan)).loss

    train_fn = _build_train_fn(config, dataset, is_member, plan)
    charge_fn()
    fitted = fit(train_fn)
    shadows = [fit_shadow(index, half) for index, half in enumerate(halves)]
    # Who has nothing to train on, and is in the population all the same, has no loss either.
    has_items = train.lengths > 0
    scores = {
        name: values[has_items]
        for name, values in membership.create_scores(
            fitted, _popularity_loss(train, num_items), shadows
        ).items()
    }
    is_member = is_member[has_items]
    confidence = 1.0 - (1.0 - audit.confidence) / len(scores)
    attacks = tuple(
        membership.evaluate_attack(name, values, is_member, config.target_delta, confidence)
        for name, values in scores.items()
    )
    num_members = int(is_member.sum())
    audit_report = report.AuditReport(
        claimed_epsilon=_claim(config, plan),
        delta=config.target_delta,
        confidence=audit.confidence,
        estimates={},
        bounds={attack.name: attack.bound for attack in attacks},
        departures=plan.departures,
    )
    return MembershipAudit(audit_report, attacks, num_members, len(is_member) - num_members)


def draw_halves(draws: keyed_draws.KeyedDraws, num_shadow_models: int) -> list[np.ndarray]:
    """On whom models are trained: random halves of the users.

    Args:
      draws: Keyed draws of all users; public.
      num_shadow_models: Number of shadow models; even.

    Returns:
      bool [num_users] for each: the audited model's half, then those of shadow models, each
      followed by its complement.
    """

    def draw(number: int) -> np.ndarray:
        is_member = np.zeros(draws.num_users, np.bool_)
        is_member[draws.first(draws.num_users // 2, _HALF, number)] = True
        return is_member

    audited, *drawn = (draw(number) for number in range(1 + num_shadow_models // 2))
    return [audited, *(half for one in drawn for half in (one, ~one))]


def measure_fit(
    model: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    users: sequences.Sequences,
    num_items: int,
) -> membership.UserFit:
    """How well a model predicts each user's items from those before them, in the full catalogue.

    Args:
      model: The model's shape.
      weights: The model's weights.
      users: One row for each user.
      num_items: Rows of the item table.

    Returns:
      Means over each user's items; zeros for a user without any.
    """
    # Tensors are inputs of the graph; arrays would be constants of it.
    weights = tf.nest.map_structure(tf.convert_to_tensor, weights)
    candidates = tower_encoding.encode_candidates(model, weights.tower, weights.items)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, model.history_length], tf.int32),
            tf.TensorSpec([None, model.history_length], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ],
        autograph=False,
    )
    def measure(history: tf.Tensor, mask: tf.Tensor, item: tf.Tensor) -> tuple:
        query = tower_encoding.encode_histories(
            model, weights.items.embedding, tuple(weights.tower), history, mask
        )
        logits = two_tower.all_logits(query, candidates, model.temperature, model.similarity)
        own = tf.gather(logits, item, batch_dims=1)[:, tf.newaxis]
        # The item itself is among those at least as high: positions count from 1, ties against it.
        position = tf.reduce_sum(tf.cast(logits >= own, tf.float32), axis=1)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(item, logits)
        return loss, 1.0 / position

    entries = np.arange(len(users.items))
    starts = users.offsets[users.row_index]
    block = max(1, _LOGITS_PER_BLOCK // num_items)
    measured = []
    for begin in range(0, len(entries), block):
        part = slice(begin, begin + block)
        before = entries[part, np.newaxis] + np.arange(-model.history_length, 0)
        mask = before >= starts[part, np.newaxis]
        history = users.items[np.maximum(before, 0)]
        found = measure(history, mask.astype(np.float32), users.items[part])
        measured.append([tensor.numpy() for tensor in found])
    loss, reciprocal_rank = (np.concatenate(values) for values in zip(*measured, strict=True))
    return membership.UserFit(_mean_by_user(loss, users), _mean_by_user(reciprocal_rank, users))


def _build_train_fn(
    config: RunConfig,
    dataset: loading.LoadedDataset,
    is_member: np.ndarray,
    plan: privacy_plan.PrivacyPlan,
) -> _TrainFn:
    """Builds what trains as `experiments.train` does, on some of the users."""
    members = dataset.split.train.take(is_member)
    num_items = dataset.split.num_items
    process = run_process.build_process(config, num_items, plan)
    draws = keyed_draws.KeyedDraws(dataset.train_user_ids[is_member], population.draw_key(config))
    iterator = cohorts.CohortDataSource(
        clients_lib.stack_clients(members),
        privacy_plan.create_sampler(config, draws),
        draws,
        edge=run_process.choose_edges(config, num_items, plan, draws),
    ).iterator()

    check_fn = divergence.build_audit_check(config, num_items)
    initial_state = process.initialize()
    check_fn(initial_state)

    def train(round_done_fn: Callable[[], None]) -> two_tower.TwoTowerWeights:
        state = initial_state
        for _ in range(config.rounds):
            check_fn(state)
            state = process.next(state, iterator.select()).state
            round_done_fn()
        return process.get_model_weights(state).trainable

    return train


def _plan_shadow(
    config: RunConfig, plan: privacy_plan.PrivacyPlan, half: np.ndarray, num_items: int
) -> privacy_plan.PrivacyPlan:
    """The noise of the audited run."""
    noise_multiplier = plan.mechanism.noise_multiplier if plan.mechanism else None
    return privacy_plan.create_plan(
        config,
        int(half.sum()),
        config.two_tower.num_weights(num_items),
        noise_multiplier,
    )


def _claim(config: RunConfig, plan: privacy_plan.PrivacyPlan) -> float:
    if plan.mechanism is None:
        return math.inf
    return calibration.bound_run(plan.mechanism, config.target_delta, config.rounds).epsilon


def _popularity_loss(users: sequences.Sequences, num_items: int) -> np.ndarray:
    """What users' items cost under popularity among all users, members or not: float64 [users]."""
    counts = np.bincount(users.items, minlength=num_items)
    log_share = np.log(np.maximum(counts, 1)) - math.log(counts.sum())
    return _mean_by_user(-log_share[users.items], users)


def _mean_by_user(values: np.ndarray, users: sequences.Sequences) -> np.ndarray:
    sums = np.bincount(users.row_index, values, users.num_rows)
    return sums / np.maximum(users.lengths, 1)
