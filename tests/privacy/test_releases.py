import dataclasses
import itertools
import json
import math

import dp_accounting
import numpy as np
import pytest
from scipy import stats

from fedrec_tff.datasets import splits
from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, grid, partition_selection, releases

_ADD = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
_REPLACE = accounting.NeighbouringRelation.REPLACE_ONE
_RELEASES = [
    releases.PopularityRelease(noise_multiplier=1.5, items_per_user=4),
    releases.EvaluationRelease(noise_multiplier=1.5, ks=(5, 10)),
]


def test_popularity_sensitivity_is_the_largest_norm_of_a_contribution():
    contributions = np.array(list(itertools.product([0, 1], repeat=6)))
    allowed = contributions[contributions.sum(axis=1) <= 4]
    release = releases.PopularityRelease(1.5, items_per_user=4)
    assert release.sensitivity == pytest.approx(np.linalg.norm(allowed, axis=1).max())
    assert release.noise_stddev == pytest.approx(1.5 * 2.0)


@pytest.mark.parametrize("num_items", [1, 4, 50])
def test_catalogue_sensitivity_is_the_norm_of_a_vector_that_is_spread_evenly(num_items):
    release = releases.CatalogueRelease(1.5, 4e-6, items_per_user=50)
    spread = np.full(num_items, num_items**-0.5)
    assert release.sensitivity == pytest.approx(np.linalg.norm(spread))
    assert release.noise_stddev == pytest.approx(1.5 * np.linalg.norm(spread))


def test_evaluation_sensitivity_is_the_largest_norm_of_a_contribution():
    release = releases.EvaluationRelease(1.5, ks=(5, 10))
    assert release.metric_names == ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "mrr")
    # The target is first: one user, and every metric is 1.
    assert release.sensitivity == pytest.approx(np.linalg.norm(np.ones(6)))
    assert release.noise_stddev == pytest.approx(1.5 * math.sqrt(6))


def _gaussian_delta(epsilon, noise_multiplier):
    """Balle and Wang 2018, theorem 8."""
    a, b = 0.5 / noise_multiplier, epsilon * noise_multiplier
    return stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)


@pytest.mark.parametrize("release", _RELEASES, ids=["popularity", "evaluation"])
@pytest.mark.parametrize(("relation", "multiplier"), [(_ADD, 1.5), (_REPLACE, 0.75)])
def test_events_cost_what_the_gaussian_mechanism_costs(release, relation, multiplier):
    event = release.event(relation)
    assert event == dp_accounting.GaussianDpEvent(multiplier)
    epsilon = accounting.epsilon([(event, 1)], 1e-5, relation)
    # Never below the exact value, and not far above.
    assert _gaussian_delta(epsilon, multiplier) <= 1e-5
    assert _gaussian_delta(0.97 * epsilon, multiplier) > 1e-5


def test_numbers_of_numpy_become_pythons_own():
    popularity = releases.PopularityRelease(np.float32(1.5), np.int64(4))
    evaluation = releases.EvaluationRelease(np.float32(1.5), [np.int64(5)])
    for release in (popularity, evaluation):
        assert type(release.event(_ADD).noise_multiplier) is float
        assert type(release.event(_REPLACE).noise_multiplier) is float
    assert json.loads(json.dumps(dataclasses.asdict(popularity))) == {
        "noise_multiplier": 1.5,
        "items_per_user": 4,
    }
    restored = json.loads(json.dumps(dataclasses.asdict(evaluation)))
    assert releases.EvaluationRelease(**restored) == evaluation


def test_without_noise_epsilon_is_infinite():
    for release in (releases.PopularityRelease(0.0, 50), releases.EvaluationRelease(0.0, (10,))):
        assert accounting.epsilon([(release.event(_ADD), 1)], 1e-5, _ADD) == math.inf


@pytest.mark.parametrize("noise_multiplier", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("release", _RELEASES, ids=["popularity", "evaluation"])
def test_noise_multipliers_that_make_no_sense(release, noise_multiplier):
    with pytest.raises(UserError, match="noise_multiplier"):
        dataclasses.replace(release, noise_multiplier=noise_multiplier)


@pytest.mark.parametrize("items_per_user", [0, -3, 2.5, math.nan, math.inf, True])
def test_items_per_user_that_make_no_sense(items_per_user):
    with pytest.raises(UserError, match="items_per_user"):
        releases.PopularityRelease(1.0, items_per_user)


def test_one_is_a_number_of_items_and_a_length_of_lists():
    assert releases.PopularityRelease(1.5, items_per_user=1).noise_stddev == 1.5
    assert releases.CatalogueRelease(1.5, 1e-6, items_per_user=1).items_per_user == 1
    assert releases.EvaluationRelease(1.5, ks=(1,)).metric_names[0] == "recall@1"


@pytest.mark.parametrize("ks", [(), (0,), (10, 10), (2.5,), (True,)])
def test_ks_that_make_no_sense(ks):
    with pytest.raises(UserError, match="metrics at k"):
        releases.EvaluationRelease(1.0, ks)


def test_other_relations_are_refused():
    other = accounting.NeighbouringRelation.REPLACE_SPECIAL
    with pytest.raises(UserError, match="replace_special"):
        releases.PopularityRelease(1.0, 50).event(other)


@pytest.mark.parametrize("name", splits.SPLITS)
def test_splits_whose_targets_depend_on_other_users_are_refused(name):
    if name in ("leave_last_out", "unseen_users"):
        releases.check_evaluation_split(name)
    else:
        with pytest.raises(UserError, match=f"--split={name}"):
            releases.check_evaluation_split(name)


@pytest.mark.parametrize(("hits", "count"), [(0, 50), (3, 50), (25, 50), (50, 50), (611, 6040)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_without_noise_the_interval_is_wilsons(hits, count, confidence):
    found = releases.estimate_mean(hits, count, 0.0, confidence)
    expected = stats.binomtest(hits, count).proportion_ci(confidence, method="wilson")
    assert found.value == pytest.approx(hits / count)
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize(
    ("total", "count", "stddev"), [(60.0, 500.0, 20.0), (-30.0, 500.0, 20.0), (70.0, 60.0, 25.0)]
)
def test_the_interval_holds_all_means_that_fit(total, count, stddev):
    found = releases.estimate_mean(total, count, stddev)
    means = np.linspace(0.0, 1.0, 100_001)
    possible = min(max(total, 0.0), count)
    variance = count * means * (1 - means) + stddev**2 * (1 + means**2)
    fits = means[np.abs(possible - means * count) <= 1.959964 * np.sqrt(variance)]
    assert (found.low, found.high) == pytest.approx((fits.min(), fits.max()), abs=2e-5)


# Each user's metric: a hit or not, or a gain as NDCG has it (the share of hits, then their gains).
_LAWS = {
    "hits, rare": lambda rng, n: rng.random(n) < 0.02,
    "hits": lambda rng, n: rng.random(n) < 0.2,
    "hits, common": lambda rng, n: rng.random(n) < 0.9,
    "gains": lambda rng, n: (rng.random(n) < 0.3) / np.log2(2 + rng.integers(0, 10, n)),
}


@pytest.mark.parametrize("law", _LAWS)
@pytest.mark.parametrize(
    ("count", "stddev"), [(1_000, 0.0), (1_000, 5.0), (1_000, 60.0), (100, 8.0), (100, 40.0)]
)
def test_coverage_by_simulation(law, count, stddev):
    rng = np.random.default_rng([count, int(stddev)])
    true_mean = np.mean(_LAWS[law](rng, 2_000_000))
    num_draws = 3_000
    is_covered = []
    for _ in range(num_draws):
        total = _LAWS[law](rng, count).sum() + stddev * rng.normal()
        found = releases.estimate_mean(total, count + stddev * rng.normal(), stddev)
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
        is_covered.append(found.low <= true_mean <= found.high)
    # Five standard deviations of the simulation's own error are 2 %.
    assert np.mean(is_covered) > 0.93
    if law == "hits" and stddev > 0.0 and count == 1_000:
        assert np.mean(is_covered) < 0.97


@pytest.mark.parametrize("count", [-50.0, 0.0, 30.0])
@pytest.mark.parametrize("total", [-100.0, 0.0, 100.0])
def test_a_count_within_the_noise_says_nothing(count, total):
    found = releases.estimate_mean(total, count, 20.0)
    assert (found.low, found.high) == (0.0, 1.0)
    assert 0.0 <= found.value <= 1.0


@pytest.mark.parametrize(
    ("total", "count", "value"), [(15.0, 30.0, 0.5), (0.5, 0.5, 0.5), (0.5, -3.0, 0.5)]
)
def test_a_mean_that_means_nothing_is_over_one_user_at_least(total, count, value):
    assert releases.estimate_mean(total, count, 20.0) == releases.Estimate(value, 0.0, 1.0)


def test_intervals_are_for_95_percent_unless_another_confidence_is_asked_for():
    for stddev in (0.0, 3.0):
        usual = releases.estimate_mean(12.0, 40.0, stddev)
        assert usual == releases.estimate_mean(12.0, 40.0, stddev, 0.95)
        assert usual.low < releases.estimate_mean(12.0, 40.0, stddev, 0.9).low
    # A count of just so many deviations of its noise says nothing, one of a few more does.
    width = stats.norm.ppf(0.975)
    assert releases.estimate_mean(0.0, width * 8.0 * (1 - 1e-9), 8.0).high == 1.0
    assert releases.estimate_mean(0.0, width * 16.0, 8.0).high < 1.0


def test_nobody_without_noise():
    found = releases.estimate_mean(0.0, 0.0, 0.0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 1.0)


def test_arguments_that_make_no_sense():
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="confidence"):
            releases.estimate_mean(1.0, 2.0, 0.0, confidence=confidence)
    with pytest.raises(ValueError, match="finite"):
        releases.estimate_mean(math.nan, 2.0, 0.0)


def test_a_selected_catalogue_costs_its_noise_and_its_delta():
    release = releases.CatalogueRelease(1.5, 4e-6, items_per_user=4)
    for relation, multiplier in ((_ADD, 1.5), (_REPLACE, 0.75)):
        both = accounting.epsilon([(release.event(relation), 1)], 1e-5, relation)
        noise = dp_accounting.GaussianDpEvent(multiplier)
        assert both == accounting.epsilon([(noise, 1)], 1e-5 - 4e-6, relation)
        # Twice is two deltas.
        twice = accounting.epsilon([(release.event(relation), 2)], 1e-5, relation)
        assert twice == accounting.epsilon([(noise, 2)], 2e-6, relation)
    # As much delta as there is, or more.
    assert accounting.epsilon([(release.event(_ADD), 3)], 1e-5, _ADD) == math.inf


def test_a_delta_besides_sampled_noise_is_taken_off():
    sampled = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(1.0))
    release = releases.CatalogueRelease(8.0, 9e-6, 50)
    together = accounting.epsilon([(sampled, 50), (release.event(_ADD), 1)], 1e-5, _ADD)
    noise = dp_accounting.GaussianDpEvent(8.0)
    apart = accounting.epsilon([(sampled, 50), (noise, 1)], 1e-6, _ADD)
    assert together == pytest.approx(apart, rel=1e-6)


@pytest.mark.parametrize("noise_multiplier", [1e-3, 1.0, 300.0])
def test_the_threshold_is_above_the_formulas(noise_multiplier):
    release = releases.CatalogueRelease(noise_multiplier, 1e-6, items_per_user=30)
    exact = partition_selection.find_threshold(noise_multiplier, 1e-6, 30)
    assert exact < release.threshold < 1.01 * exact
    # For weights that are rounded, and for noise that is: two steps of the grid.
    steps = grid.create_grid(noise_multiplier)
    stddev = math.sqrt(steps.noise_variance) / steps.max_norm
    of_the_grid = partition_selection.find_threshold(stddev, 1e-6, 30)
    # And for sums that come back as float32.
    least = (of_the_grid + 2.0 / steps.max_norm) * (1.0 + 2.0**-24)
    assert least <= release.threshold < least * (1.0 + 1e-6)
    without = release.threshold / (1.0 + releases._FLOAT32_ROUNDING)
    assert without == pytest.approx(of_the_grid + 2.0 / steps.max_norm, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0.0, 1e-6, 50), "noise_multiplier"),
        ((math.nan, 1e-6, 50), "noise_multiplier"),
        ((1.0, 0.0, 50), "delta"),
        ((1.0, 1.0, 50), "delta"),
        ((1.0, math.nan, 50), "delta"),
        ((1.0, 1e-6, 0), "items_per_user"),
    ],
)
def test_catalogue_releases_that_make_no_sense(arguments, name):
    with pytest.raises(UserError, match=name):
        releases.CatalogueRelease(*arguments)
