"""Direct checks of an aggregator: what it adds to nothing, and what one client can do to it."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.execution import stacking
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import mechanisms
from fedrec_tff.privacy.audit import checks

BuildFactoryFn = Callable[[registry.AggregatorContext], Any]

# Larger than any clip norm, and small enough for its square to be a float32.
_HUGE = 1e15
# More clients than twice that are not made up to have rows chosen.
_MOST_PAIRS = 1_000
# So many standard deviations of noise are taken for chance.
_NOISE_ALLOWANCE = 6.0


@dataclasses.dataclass(frozen=True)
class AggregatorUnderTest:
    """An aggregator, and what is claimed of it.

    Attributes:
      build_factory: Function that builds the aggregator.
      context: The builder's context, with the claimed mechanism; dense.
      supports_row_sparse: Whether the aggregator is to be tried with row-sparse updates too.
      model: The model's shape.
    """

    build_factory: BuildFactoryFn
    context: registry.AggregatorContext
    supports_row_sparse: bool
    model: TwoTowerConfig


def check_aggregator(subject: AggregatorUnderTest) -> tuple[checks.Check, ...]:
    """Measures noise and sensitivity of a private aggregator.

    Args:
      subject: The aggregator to try.

    Returns:
      The checks: how much noise there is, whether it is drawn anew for each release and in each
      run, and whether one client's update is clipped as claimed; where rows are chosen, whether
      those that nobody sent anything for are as often as the noise of their histogram has it.
    """
    noise = _measure_noise(subject)
    found = (*check_noise(subject.context.mechanism, noise), _check_sensitivity(subject))
    if subject.context.mechanism.kind.chooses_rows:
        found += (_check_choice(subject),)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """Aggregates of updates that are all zero, scaled to the sum: floating [d] each.

    Attributes:
      first: Noise of a run's first round.
      second: Noise of its second round.
      first_of_other_run: Noise of the first round of another run.
    """

    first: np.ndarray
    second: np.ndarray
    first_of_other_run: np.ndarray


def check_noise(mechanism: mechanisms.Mechanism, noise: Noise) -> tuple[checks.Check, ...]:
    """Compares noise with what is claimed.

    Args:
      mechanism: The mechanism that is claimed.
      noise: The noise that was found.

    Returns:
      The checks: how much there is, and whether it is new in each round and each run.
    """
    kind = mechanism.kind
    claimed_stddev = kind.added_noise_stddev(mechanism)
    level, rounds = (noise.first,), (noise.first, noise.second)
    runs = (noise.first, noise.first_of_other_run)
    if kind.chooses_rows:
        level, rounds, runs = map(_keep_noised, (level, rounds, runs))
    if kind.correlates_rounds:
        renewed = checks.check_noise_is_renewed(
            "noise of two rounds", np.stack(rounds), claimed_stddev
        )
    else:
        renewed = checks.check_noise_is_fresh("noise of two rounds", *rounds)
    return (
        checks.check_noise_level(*level, claimed_stddev, kind.kurtosis),
        renewed,
        checks.check_noise_is_fresh("noise of two runs", *runs),
    )


def _keep_noised(releases: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Leaves out the weights that have no noise in one of some releases: of rows not chosen."""
    is_noised = np.all([release != 0.0 for release in releases], axis=0)
    return [release[is_noised] for release in releases]


def _check_choice(subject: AggregatorUnderTest) -> checks.Check:
    """Counts the chosen rows of an aggregate of nothing."""
    mechanism, num_items = subject.context.mechanism, subject.context.num_items
    process = _create_process(subject.build_factory, subject.context, subject.model)
    nothing = np.zeros(subject.model.num_weights(num_items), np.float32)
    cohort = _create_cohort(subject, nothing, 1)
    released = flatten(process.next(process.initialize(), cohort).result)
    table = released[: num_items * subject.model.table_width].reshape(num_items, -1)
    num_chosen = int(np.count_nonzero(np.any(table != 0.0, axis=1)))
    probability = mechanism.kind.needless_probability(mechanism)
    return checks.check_choice(num_chosen, num_items, probability)


def _measure_noise(subject: AggregatorUnderTest) -> Noise:
    """As many clients as the noise is claimed for: one where each adds all of its own."""
    mechanism = subject.context.mechanism
    process = _create_process(subject.build_factory, subject.context, subject.model)
    cohort = _create_silent_cohort(subject)

    def release(state: Any) -> tuple[Any, np.ndarray]:
        output = process.next(state, cohort)
        return output.state, mechanism.clients_per_round * flatten(output.result)

    state, first = release(process.initialize())
    _, second = release(state)
    _, other = release(process.initialize())
    return Noise(first, second, other)


def _create_silent_cohort(subject: AggregatorUnderTest) -> stacking.StackedCohort:
    """Clients whose updates add up to nothing: zeros or, to have rows chosen, pairs of opposites.

    All of these change the same rows, as many as one of them counts in.
    """
    mechanism = subject.context.mechanism
    update = np.zeros(subject.model.num_weights(subject.context.num_items), np.float32)
    num_pairs = -(-mechanism.kind.num_clients_to_choose(mechanism) // 2)
    if not 0 < num_pairs <= _MOST_PAIRS:
        num_clients = max(1, mechanism.kind.num_noisy_clients(mechanism))
        return _create_cohort(subject, update, num_clients)
    update[: mechanism.rows_per_user * subject.model.table_width] = 1.0
    return _create_cohort(subject, update, 2 * num_pairs, has_opposites=True)


def _check_sensitivity(subject: AggregatorUnderTest) -> checks.Check:
    """Sends huge updates, in each form that the aggregator takes."""
    mechanism = subject.context.mechanism
    contributions, uncertainty = {}, 0.0
    for is_row_sparse in (False, True) if subject.supports_row_sparse else (False,):
        found, uncertain = _measure_contributions(subject, is_row_sparse)
        form = "row-sparse, " if is_row_sparse else ""
        contributions |= {form + name: value for name, value in found.items()}
        uncertainty = max(uncertainty, uncertain)
    return checks.check_sensitivity(
        contributions, mechanism.kind.accounted_norm(mechanism), uncertainty
    )


def _measure_contributions(
    subject: AggregatorUnderTest, is_row_sparse: bool
) -> tuple[dict[str, float], float]:
    """By how much huge updates move the sum; without noise if the aggregator can do without.

    Returns:
      Norms by kind of update, and how far they may be off. Where there is noise, the sum is
      measured in the direction of what was sent alone, in which there is little of it.
    """
    mechanism = subject.context.mechanism
    form = dataclasses.replace(subject.context, row_sparse=is_row_sparse)
    silent = dataclasses.replace(mechanism, noise_multiplier=0.0)
    try:
        process = _create_process(
            subject.build_factory, dataclasses.replace(form, mechanism=silent), subject.model
        )
    except errors.UserError:
        process = _create_process(subject.build_factory, form, subject.model)
    sender = dataclasses.replace(subject, context=form)

    def aggregate(vector: np.ndarray) -> np.ndarray:
        output = process.next(process.initialize(), _create_cohort(sender, vector, 1))
        return mechanism.clients_per_round * flatten(output.result)

    nothing = np.zeros(subject.model.num_weights(subject.context.num_items), np.float32)
    stddev = float(np.std(aggregate(nothing)))
    contributions = {}
    for name, vector in _attacks(subject):
        moved = aggregate(vector)
        direction = vector / np.linalg.norm(vector.astype(np.float64))
        contributions[name] = float(moved @ direction) if stddev else float(np.linalg.norm(moved))
    return contributions, _NOISE_ALLOWANCE * stddev


def _attacks(subject: AggregatorUnderTest) -> Iterator[tuple[str, np.ndarray]]:
    """Huge updates by name, float32 [d]: in all weights, in one, in one tensor."""
    shapes = _shapes(subject.model, subject.context.num_items)
    sizes = [math.prod(shape) for shape in shapes]
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(sum(sizes)).astype(np.float32)
    yield "a huge update", _HUGE * direction / np.linalg.norm(direction)
    sensitivity = subject.context.mechanism.sensitivity
    yield "a large update", 10.0 * sensitivity * direction / np.linalg.norm(direction)
    single = np.zeros_like(direction)
    single[0] = _HUGE
    yield "a huge weight", single
    tower = np.zeros_like(direction)
    tower[sizes[0] + sizes[1] :] = direction[sizes[0] + sizes[1] :]
    if tower.any():
        yield "a huge tower", _HUGE * tower / np.linalg.norm(tower)


def flatten(weights: Any) -> np.ndarray:
    """One vector of all of a model's weights, in their order: float32 [d]."""
    leaves = tff.structure.flatten(tff.structure.from_container(weights, recursive=True))
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])


def _create_process(
    build_factory: BuildFactoryFn, context: registry.AggregatorContext, model: TwoTowerConfig
) -> tff.templates.AggregationProcess:
    rows = None if context.row_sparse else context.num_items
    value = two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            tff.TensorType(np.float32, [rows, model.table_width]),
            tff.TensorType(np.float32, [rows]),
        ),
        tuple(tff.TensorType(np.float32, s) for s in _shapes(model, context.num_items)[2:]),
    )
    if context.row_sparse:
        value = row_sparse.RowSparse(tff.TensorType(np.int32, [None]), value)
    return build_factory(context).create(tff.to_type(value))


def _create_cohort(
    subject: AggregatorUnderTest,
    vector: np.ndarray,
    num_clients: int,
    has_opposites: bool = False,
) -> stacking.StackedCohort:
    """Clients who all send the same, or every other one its opposite."""
    shapes = _shapes(subject.model, subject.context.num_items)
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = [
        np.broadcast_to(part.reshape(shape), (num_clients, *shape))
        for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)
    ]
    if has_opposites:
        signs = np.resize(np.float32([1.0, -1.0]), num_clients)
        parts = [(part.T * signs).T for part in parts]
    value = two_tower.TwoTowerWeights(two_tower.ItemRows(*parts[:2]), tuple(parts[2:]))
    if subject.context.row_sparse:
        ids = np.arange(subject.context.num_items, dtype=np.int32)
        value = row_sparse.RowSparse(np.broadcast_to(ids, (num_clients, len(ids))), value)
    return stacking.StackedCohort((stacking.StackedClients(value, np.arange(num_clients)),))


def _shapes(model: TwoTowerConfig, num_items: int) -> list[tuple[int, ...]]:
    """Of the weights: item embeddings, item biases, the tower's tensors."""
    with tf.Graph().as_default():
        weights = two_tower.create_initial_weights(model, num_items, seed=0)
    return [tuple(leaf.shape) for leaf in tf.nest.flatten(weights)]
