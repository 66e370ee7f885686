"""Every private mechanism on two neighbouring cohorts: no event contradicts what is claimed.

The real aggregators run on cohorts that differ in one user, who sends as much as can be. That
update is spread evenly over all d numbers of a model, so that one release is d independent releases
of one number: Renyi divergences of independent releases add up, and each is worth 1/d of what
`unit_event` claims of all. Where a release has few numbers, it is repeated instead. What devices
send with noise of their own is looked at alone, since that is what the claim is about.

Noise is the operating system's. Each test of what is right has one false alarm in a million.
"""

import dataclasses
import functools
import math

import dp_accounting
import numpy as np
import pytest
import tensorflow as tf
import updates as updates_lib

from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.hierarchical import factory
from fedrec_tff.execution import compiled
from fedrec_tff.learning import client_work, private_evaluation, private_popularity
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import accounting, distributed, mechanisms, releases, sampling
from fedrec_tff.privacy.audit import divergence
from fedrec_tff.privacy.mechanisms import kinds

pytestmark = pytest.mark.slow

_CONFIDENCE = 1.0 - 1e-6
_DELTAS = (0.3, 0.1, 0.01)
_CLIENTS_PER_ROUND = 4
_MIN_SEPARATION = 4
_CLIP = 0.5
_NUM_ITEMS = 5_000
# One coordinate's noise, in multiples of how far it is moved.
_MULTIPLIER = 1.0
_NUM_REPEATED, _NUM_TRIALS = 300, 100
_ADD_OR_REMOVE = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE


@pytest.fixture(scope="module", autouse=True)
def context():
    with compiled.CompiledContext(compiled.CompiledOptions(num_parallel_shards=1)).install():
        yield


def _less_noise(mechanism, factor):
    return dataclasses.replace(mechanism, noise_multiplier=factor * mechanism.noise_multiplier)


def _no_clip(mechanism):
    """Updates are ten times as long as is claimed; the noise is as claimed."""
    return dataclasses.replace(
        mechanism,
        noise_multiplier=mechanism.noise_multiplier / 10.0,
        clip_norm=10.0 * mechanism.clip_norm,
    )


def _noise_by_the_cohort(mechanism):
    return dataclasses.replace(
        mechanism, noise_multiplier=mechanism.noise_multiplier / mechanism.clients_per_round
    )


@dataclasses.dataclass(frozen=True)
class _Subject:
    """A mechanism to try. All users are in every round, so that nothing rests on sampling."""

    name: str
    sampling: str
    num_items: int = _NUM_ITEMS
    is_row_sparse: bool = False
    has_edges: bool = False
    has_tower_clip: bool = False
    is_repeated: bool = False

    @property
    def num_weights(self):
        tower = math.prod(updates_lib.TOWER_SHAPE)
        return self.num_items * (updates_lib.DIM + 1) + tower

    @property
    def mechanism(self):
        """For which every coordinate has noise of `_MULTIPLIER` times its own sensitivity."""
        law, size = self.sampling, self.num_weights
        is_cyclic = law == sampling.CYCLIC_POISSON
        is_distributed = self.name.startswith("ddp_")
        relative = 1.0 / size if self.name == "local_laplace" else size**-0.5
        if self.is_repeated:
            relative = 1.0
        if self.chooses_rows:
            relative = self.num_items**-0.5
        if self.name == "dp_tree":
            relative *= math.sqrt(_MIN_SEPARATION.bit_length())
        if self.is_replaced:
            relative *= 2.0
        tower_clip = None
        if self.has_tower_clip:
            tower = math.prod(updates_lib.TOWER_SHAPE)
            tower_clip = _CLIP * math.sqrt(tower / (size - tower))
        return mechanisms.Mechanism(
            self.name,
            _MULTIPLIER * relative,
            _CLIP,
            num_clients=_CLIENTS_PER_ROUND * (_MIN_SEPARATION if is_cyclic else 1),
            clients_per_round=_CLIENTS_PER_ROUND,
            sampling=law,
            tower_clip_norm=tower_clip,
            # Of sum and clipped count, each costs something.
            clipped_count_stddev=_MULTIPLIER * relative if self.name == "dp_adaptive" else None,
            min_separation=_MIN_SEPARATION if is_cyclic else None,
            rounds=2 * _MIN_SEPARATION if self.name in ("dp_tree", "dp_banded_mf") else None,
            max_rounds_per_user=1 if self.name.startswith("local_") else None,
            num_weights=size if is_distributed else None,
            modulus_bits=32 if is_distributed else None,
            **(self.row_choice if self.chooses_rows else {}),
        )

    @property
    def chooses_rows(self):
        return self.name == "dp_sparse"

    @property
    def row_choice(self):
        """The user counts in all rows, as much in each."""
        numbers = {"histogram_share": 0.5, "row_threshold": 0.5, "row_selection": "round"}
        return numbers | {"rows_per_user": self.num_items}

    @property
    def num_parts(self):
        """How many independent releases one is: of numbers, or of rows where these are chosen."""
        if self.is_repeated:
            return 1
        return self.num_items if self.chooses_rows else self.num_weights

    @property
    def is_replaced(self):
        is_local = self.name.startswith(("local_", "ddp_"))
        return is_local or self.sampling == sampling.FIXED_SIZE

    @property
    def num_rounds(self):
        return _MIN_SEPARATION if self.name in ("dp_tree", "dp_banded_mf") else 1


_SUBJECTS = {
    "dp_gaussian": _Subject("dp_gaussian", "poisson"),
    "dp_gaussian, row-sparse": _Subject("dp_gaussian", "poisson", is_row_sparse=True),
    "dp_gaussian, parts": _Subject("dp_gaussian", "poisson", has_tower_clip=True),
    "dp_gaussian, fixed size": _Subject("dp_gaussian", "fixed_size"),
    "dp_hierarchical": _Subject("dp_gaussian", "poisson", has_edges=True),
    "dp_adaptive": _Subject("dp_adaptive", "poisson", num_items=1, is_repeated=True),
    "dp_sparse": _Subject("dp_sparse", "poisson"),
    "dp_sparse, row-sparse": _Subject("dp_sparse", "poisson", is_row_sparse=True),
    "dp_tree": _Subject("dp_tree", "cyclic_poisson"),
    "dp_banded_mf": _Subject("dp_banded_mf", "cyclic_poisson"),
    "local_gaussian": _Subject("local_gaussian", "poisson"),
    "local_laplace": _Subject("local_laplace", "poisson"),
    "ddp_discrete_gaussian": _Subject("ddp_discrete_gaussian", "shuffled_epochs"),
    "ddp_skellam": _Subject("ddp_skellam", "shuffled_epochs"),
}


def test_every_mechanism_is_tried():
    assert {subject.name for subject in _SUBJECTS.values()} == set(kinds.KINDS)


# What is claimed.


def _share(event, num_parts):
    """What one of so many equal, independent parts of an event is worth."""
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        assert event.sampling_probability == 1.0
        return _share(event.event, num_parts)
    if isinstance(event, dp_accounting.SampledWithoutReplacementDpEvent):
        assert event.sample_size == event.source_dataset_size
        return _share(event.event, num_parts)
    if isinstance(event, dp_accounting.GaussianDpEvent):
        return dp_accounting.GaussianDpEvent(event.noise_multiplier * math.sqrt(num_parts))
    if isinstance(event, dp_accounting.LaplaceDpEvent):
        return dp_accounting.LaplaceDpEvent(event.noise_multiplier * num_parts)
    return distributed.DistributedNoiseDpEvent(
        event.distribution,
        event.l2_sensitivity / math.sqrt(num_parts),
        event.l1_sensitivity / num_parts,
        event.local_variance,
        event.num_shares,
        1,
    )


@functools.cache
def _claims(event, relation, num_parts):
    part = _share(event, num_parts)
    return [(accounting.epsilon([(part, 1)], delta, relation), delta) for delta in _DELTAS]


# What is released.


def _constant(subject, value):
    """An update of which every number is `value`."""
    rows = subject.num_items
    update = two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            np.full([rows, updates_lib.DIM], value, np.float32), np.full([rows], value, np.float32)
        ),
        (np.full(updates_lib.TOWER_SHAPE, value, np.float32),),
    )
    if subject.is_row_sparse:
        return updates_lib.row_sparse.RowSparse(np.arange(rows, dtype=np.int32), update)
    return update


def _cohorts(subject):
    """With the user, and without; others send nothing."""
    nothing, much = _constant(subject, 0.0), _constant(subject, 100.0)
    num_others = 0 if subject.name.startswith("local_") else _CLIENTS_PER_ROUND - 1
    others = [nothing] * num_others
    if subject.is_replaced:
        return [*others, much], [*others, _constant(subject, -100.0)]
    return [*others, much], others


def _build_next(subject, mechanism):
    """A function of a state and a cohort that releases something, and the first state."""
    context = registry.AggregatorContext(
        subject.num_items,
        _CLIENTS_PER_ROUND,
        subject.is_row_sparse,
        mechanism,
        max_clients=_CLIENTS_PER_ROUND,
    )
    value_type = updates_lib.create_value_type(
        subject.num_items, is_row_sparse=subject.is_row_sparse
    )
    build = registry.get(subject.name).build_factory
    if subject.has_edges:
        build = functools.partial(factory.build_edge_releases, num_edges=2)
    process = build(context).create(value_type)

    def next_fn(state, cohort):
        output = process.next(state, cohort)
        result = output.result
        if subject.has_edges:
            # All users are in the first edge.
            result = tf.nest.map_structure(lambda stack: stack[0], result)
        return output.state, updates_lib.flatten(result)

    return next_fn, process.initialize()


def _release(subject, next_fn, state, cohort, num_repeated):
    """Everything that shows one turn of the user: float64 [samples, numbers that depend]."""
    if subject.is_repeated:
        found = [_release_sum_and_clip(next_fn, state, cohort) for _ in range(num_repeated)]
        return np.stack(found)
    nobody = _cohorts(subject)[1]
    found = []
    for round_number in range(subject.num_rounds):
        state, values = next_fn(state, cohort if round_number == 0 else nobody)
        found.append(values)
    if subject.chooses_rows:
        return _split_rows(subject, *found)
    return np.stack(found, axis=1)


def _split_rows(subject, values):
    """Of each row whether it was chosen, and its mean."""
    size = subject.num_items * updates_lib.DIM
    table = values[:size].reshape(subject.num_items, updates_lib.DIM)
    return np.stack([np.any(table != 0.0, axis=1), table.mean(axis=1)], axis=1)


def _release_sum_and_clip(next_fn, state, cohort):
    """The sum in the direction of the user's update; and the clip, which follows the count."""
    state, values = next_fn(state, cohort)
    clip = state.query_state.numerator_state.sum_state.l2_norm_clip
    return np.array([values.mean(), np.log(clip)])


def _find(release, claims):
    """Looks for an event, along the direction that best tells the cohorts of a trial apart."""
    trial = [release(is_present, _NUM_TRIALS) for is_present in (True, False)]
    spread = np.cov(trial[1], rowvar=False).reshape(trial[1].shape[1], -1)
    direction = np.linalg.solve(spread, trial[0].mean(axis=0) - trial[1].mean(axis=0))
    scores = [release(is_present, _NUM_REPEATED) @ direction for is_present in (True, False)]
    return divergence.find_contradiction(*scores, claims, _CONFIDENCE)


def _find_in(subject, mechanism):
    claimed = subject.mechanism
    event, relation = mechanisms.unit_event(claimed), claimed.neighbouring_relation
    claims = _claims(event, relation, subject.num_parts)
    next_fn, state = _build_next(subject, mechanism)
    with_user, without = _cohorts(subject)

    def release(is_present, num_repeated):
        cohort = with_user if is_present else without
        return _release(subject, next_fn, state, cohort, num_repeated)

    return _find(release, claims)


@pytest.mark.parametrize("name", _SUBJECTS)
def test_no_event_contradicts_what_a_mechanism_claims(name):
    subject = _SUBJECTS[name]
    assert _find_in(subject, subject.mechanism) is None


@pytest.mark.parametrize("name", _SUBJECTS)
def test_less_noise_is_found(name):
    subject = _SUBJECTS[name]
    # Few samples tell less.
    factor = 0.25 if subject.is_repeated else 0.5
    assert _find_in(subject, _less_noise(subject.mechanism, factor)) is not None


@pytest.mark.parametrize("fault", [_no_clip, _noise_by_the_cohort])
@pytest.mark.parametrize("name", ["dp_gaussian", "local_laplace", "ddp_skellam"])
def test_other_faults_are_found(name, fault):
    subject = _SUBJECTS[name]
    assert _find_in(subject, fault(subject.mechanism)) is not None


# What is released besides the model.


def _release_popularity(release, num_items):
    """Noised counts of a user who took all items, or of one who took none."""
    computation = private_popularity.build_private_popularity(num_items, release)
    key = np.zeros(2, np.int32)
    users = {
        True: client_work.ClientData(
            np.arange(num_items, dtype=np.int32), np.int32(num_items), key
        ),
        False: client_work.ClientData(np.zeros(num_items, np.int32), np.int32(0), key),
    }
    return lambda is_present, _: np.asarray(computation([users[is_present]]))[:, np.newaxis]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_released_popularity_keeps_its_claim_and_half_the_noise_does_not(share):
    num_items = 10_000
    release = releases.PopularityRelease(_MULTIPLIER * num_items**-0.5, num_items)
    claims = _claims(release.event(_ADD_OR_REMOVE), _ADD_OR_REMOVE, num_items)
    faulty = dataclasses.replace(release, noise_multiplier=share * release.noise_multiplier)
    found = _find(_release_popularity(faulty, num_items), claims)
    assert (found is None) == (share == 1.0)


def _release_evaluation(release):
    """Noised sums of a user whose target comes first, and of one whose target is no item."""
    model, num_items = TwoTowerConfig(embedding_dim=2, history_length=1, num_blocks=0), 3
    computation = private_evaluation.build_private_evaluation(model, num_items, release)
    table = two_tower.ItemRows(np.zeros([num_items, 2], np.float32), np.float32([5.0, 0.0, 0.0]))
    weights = two_tower.TwoTowerWeights(table, ())
    users = {
        is_present: private_evaluation.EvaluationClient(
            np.int32([1]), np.int32(1), np.int32(0 if is_present else num_items)
        )
        for is_present in (True, False)
    }

    def run(is_present, num_repeated):
        sums = [computation(weights, [users[is_present]]) for _ in range(num_repeated)]
        return np.reshape(sums, [-1, 1])

    return run


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_released_metrics_keep_their_claim_and_half_the_noise_does_not(share):
    # All of the four sums grow by 1.
    release = releases.EvaluationRelease(_MULTIPLIER / 2.0, (10,))
    num_sums = 1 + len(release.metric_names)
    claims = _claims(release.event(_ADD_OR_REMOVE), _ADD_OR_REMOVE, num_sums)
    faulty = dataclasses.replace(release, noise_multiplier=share * release.noise_multiplier)
    found = _find(_release_evaluation(faulty), claims)
    assert (found is None) == (share == 1.0)
