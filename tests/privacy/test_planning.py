import dataclasses
import math

import dp_accounting
import numpy as np
import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, calibration, mechanisms, planning

GAUSSIAN = mechanisms.Mechanism("dp_gaussian", 2.0, 0.5, 6000, 60)
BANDED = mechanisms.Mechanism(
    "dp_banded_mf", 2.0, 0.5, 6000, 60, "cyclic_poisson", min_separation=8, rounds=64
)
TREE = dataclasses.replace(BANDED, name="dp_tree")
LOCAL = mechanisms.Mechanism("local_gaussian", 2.0, 0.5, 6000, 64, max_rounds_per_user=3)


def setting(mechanism=GAUSSIAN, rounds=100, **kwargs):
    kwargs = {"delta": 1e-5, "num_weights": 10_000, **kwargs}
    return planning.Setting(mechanism, rounds, **kwargs)


def simulate_mean_noise(mechanism, num_weights=20_000):
    """The noise of one mean update as the mechanisms' definitions have it."""
    rng = np.random.default_rng(0)
    clients = int(mechanism.clients_per_round)
    scale = mechanism.noise_multiplier * mechanism.clip_norm
    if mechanism.name == "local_gaussian":
        total = rng.normal(0, scale, (clients, num_weights)).sum(axis=0)
    elif mechanism.name == "local_laplace":
        total = rng.laplace(0, scale, (clients, num_weights)).sum(axis=0)
    else:
        total = rng.normal(0, scale, num_weights)
    return total / clients


@pytest.mark.parametrize(
    "mechanism", [GAUSSIAN, LOCAL, dataclasses.replace(LOCAL, name="local_laplace")]
)
def test_noise_and_ratio_of_a_round_by_simulation(mechanism):
    run = planning.plan(setting(mechanism, num_weights=20_000))
    noise = simulate_mean_noise(mechanism)
    assert run.noise_stddev == pytest.approx(noise.std(), rel=0.03)
    # All users agree: their mean is as long as the clip.
    assert run.round_ratio == pytest.approx(0.5 / np.linalg.norm(noise), rel=0.03)
    assert run.total_ratio == pytest.approx(10 * run.round_ratio)


def test_ratio_of_independent_noise_in_closed_form():
    run = planning.plan(setting())
    assert run.round_ratio == pytest.approx(60 / (2.0 * math.sqrt(10_000)))
    assert run.epsilon == calibration.bound_run(GAUSSIAN, 1e-5, 100).epsilon
    assert run.client_updates == 6000


def test_two_clips_have_a_joint_signal():
    # Sensitivity 0.5 either way.
    both = dataclasses.replace(GAUSSIAN, clip_norm=0.3, tower_clip_norm=0.4)
    assert planning.plan(setting(both)).round_ratio == pytest.approx(0.3)


def test_adaptive_clipping_pays_for_its_count():
    adaptive = dataclasses.replace(GAUSSIAN, name="dp_adaptive")
    run = planning.plan(setting(adaptive))
    # The count's noise: 3 on a sensitivity of 1/2.
    assert run.noise_stddev == pytest.approx(0.5 * (1 / 4 - 1 / 36) ** -0.5 / 60)
    assert run.epsilon == planning.plan(setting()).epsilon


def total_noise(mechanism):
    """Mean square of the noise in running totals, by drawing the correlated noise."""
    rng = np.random.default_rng(1)
    rounds, draws = mechanism.rounds, 4000
    stddev = mechanism.noise_stddev
    if mechanism.name == "dp_tree":
        totals = np.zeros((rounds, draws))
        for t in range(1, rounds + 1):
            # The nodes that make up rounds 1 to t, trees of 8: nodes are drawn once each.
            start, left = 0, t
            while left:
                size = min(8, 1 << (left.bit_length() - 1))
                node = np.random.default_rng([start, size]).normal(0, stddev, draws)
                totals[t - 1] += node
                start, left = start + size, left - size
    else:
        from fedrec_tff.privacy import factorization

        coefficients = factorization.create_banded_strategy(
            rounds, mechanism.min_separation
        ).coefficients
        matrix = sum(c * np.eye(rounds, k=-i) for i, c in enumerate(coefficients))
        noise = np.linalg.solve(matrix, rng.normal(0, stddev, (rounds, draws)))
        totals = np.cumsum(noise, axis=0)
    return np.mean(totals**2)


@pytest.mark.parametrize("mechanism", [BANDED, TREE])
def test_correlated_noise_counts_as_the_running_total_suffers(mechanism):
    run = planning.plan(setting(mechanism, rounds=64))
    independent = (run.noise_stddev * 60) ** 2 * (64 + 1) / 2
    assert independent == pytest.approx(total_noise(mechanism), rel=0.03)


def test_bands_leave_less_noise_than_none():
    none = planning.plan(setting(dataclasses.replace(BANDED, min_separation=1), rounds=64))
    assert none.noise_stddev == pytest.approx(GAUSSIAN.noise_stddev / 60)
    assert planning.plan(setting(BANDED, rounds=64)).noise_stddev < none.noise_stddev / 2


def test_a_simulation_has_the_ratio_of_the_deployment():
    simulated = dataclasses.replace(
        GAUSSIAN, noise_cohort_size=3000, noise_population_size=1_000_000
    )
    deployed = dataclasses.replace(GAUSSIAN, num_clients=1_000_000, clients_per_round=3000)
    found, expected = planning.plan(setting(simulated)), planning.plan(setting(deployed))
    assert found.round_ratio == pytest.approx(expected.round_ratio)
    assert found.epsilon == expected.epsilon


def test_a_target_is_met_with_everything_that_is_released():
    release = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(4.0))
    run = planning.plan(setting(target_epsilon=3.0, releases=(release,)))
    found = run.setting.mechanism.noise_multiplier
    assert 2.9 < run.epsilon <= 3.0
    assert found == calibration.calibrate_noise_multiplier(GAUSSIAN, 3.0, 1e-5, 100, [release])
    assert found > planning.plan(setting(target_epsilon=3.0)).setting.mechanism.noise_multiplier


def test_without_noise_there_is_no_privacy_and_no_limit_to_the_signal():
    run = planning.plan(setting(dataclasses.replace(GAUSSIAN, noise_multiplier=0.0)))
    assert (run.epsilon, run.round_ratio) == (math.inf, math.inf)


def test_advice():
    runs = [
        planning.plan(
            setting(dataclasses.replace(GAUSSIAN, clients_per_round=m), t, target_epsilon=1.0)
        )
        for m in (60, 600)
        for t in (50, 400)
    ]
    advice = planning.advise(runs, num_weights_of_half=5_000)
    assert advice.best.total_ratio == max(run.total_ratio for run in runs)
    assert advice.cheaper.client_updates < advice.best.client_updates
    assert advice.cheaper.total_ratio >= 0.8 * advice.best.total_ratio
    ratios = [what_if.total_ratio for what_if in advice.what_ifs]
    assert ratios == sorted(ratios, reverse=True)
    by_change = {what_if.change: what_if.total_ratio for what_if in advice.what_ifs}
    assert by_change["half the embedding_dim"] == pytest.approx(
        math.sqrt(2) * advice.best.total_ratio, rel=1e-3
    )
    best = advice.best.setting
    tenfold = dataclasses.replace(best.mechanism, num_clients=60_000)
    expected = planning.plan(dataclasses.replace(best, mechanism=tenfold)).total_ratio
    assert by_change["ten times the users, as many in a round"] == pytest.approx(expected, rel=1e-3)
    twice = dataclasses.replace(best.mechanism, clients_per_round=1200)
    expected = planning.plan(dataclasses.replace(best, mechanism=twice)).total_ratio
    assert by_change["twice the users in a round"] == pytest.approx(expected, rel=1e-3)
    assert "twice the min_separation" not in by_change


def test_advice_for_turns_looks_at_turns_twice_as_far_apart():
    run = planning.plan(setting(TREE, rounds=64, target_epsilon=4.0))
    found = {w.change: w.total_ratio for w in planning.advise([run], 5_000).what_ifs}
    apart = dataclasses.replace(TREE, min_separation=16)
    expected = planning.plan(setting(apart, rounds=64, target_epsilon=4.0)).total_ratio
    assert found["twice the min_separation"] == pytest.approx(expected, rel=1e-3)


def test_advice_leaves_out_what_cannot_be():
    # Half of all users: twice as many are all, three times more groups than users are not.
    most = dataclasses.replace(BANDED, clients_per_round=500, min_separation=12)
    run = planning.plan(setting(most, rounds=64, target_epsilon=4.0))
    changes = {what_if.change for what_if in planning.advise([run], 5_000).what_ifs}
    assert changes == {"ten times the users, as many in a round", "half the embedding_dim"}
    # With a given noise there is nothing to keep equal.
    assert planning.advise([planning.plan(setting())], 5_000).what_ifs == ()


def test_equal_ratios_take_the_least_work():
    simulated = dataclasses.replace(
        GAUSSIAN, noise_cohort_size=3000, noise_population_size=1_000_000
    )
    runs = [
        planning.plan(setting(dataclasses.replace(simulated, clients_per_round=m)))
        for m in (600, 60, 6)
    ]
    advice = planning.advise(runs, 5_000)
    assert advice.best is runs[2]
    assert advice.cheaper is None


def test_of_those_with_the_least_work_the_best_is_taken_and_four_fifths_are_good_enough():
    def create_run(clients, ratio):
        mechanism = dataclasses.replace(GAUSSIAN, clients_per_round=clients)
        return planning.PlannedRun(setting(mechanism), 1.0, "PLD", 1.0, 1.0, ratio)

    best, good, better = create_run(600, 10.0), create_run(60, 8.0), create_run(60, 8.5)
    poor = create_run(6, 7.99)
    for runs in ((best, good, better, poor), (poor, better, good, best)):
        advice = planning.advise(runs, 5_000)
        assert (advice.best, advice.cheaper) == (best, better)
    assert planning.advise([best, good], 5_000).cheaper is good
    assert planning.advise([best, poor], 5_000).cheaper is None
    # Ratios are as good as equal where six digits are.
    close = create_run(60, 9.999999)
    assert planning.advise([best, close], 5_000).best is close


def test_a_curve_has_sixteen_points_at_equal_ratios():
    curve = planning.epsilon_curve(planning.plan(setting(BANDED, rounds=64)), "banded")
    assert curve.rounds == tuple(np.unique(np.round(np.geomspace(1, 64, 16))))


def test_curve_ends_with_the_run():
    release = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(4.0))
    run = planning.plan(setting(releases=(release,)))
    curve = planning.epsilon_curve(run, "a label")
    assert (curve.rounds[0], curve.rounds[-1]) == (1, 100)
    assert list(curve.epsilons) == sorted(curve.epsilons)
    assert curve.epsilons[-1] == run.epsilon
    alone = accounting.epsilon([(release.event, 1)], 1e-5, GAUSSIAN.neighbouring_relation)
    assert curve.epsilons[0] > alone


def test_a_curve_of_correlated_noise_rises_by_turns():
    run = planning.plan(setting(BANDED, rounds=64))
    curve = planning.epsilon_curve(run, "banded")
    by_turns = {}
    for rounds, epsilon in zip(curve.rounds, curve.epsilons, strict=True):
        by_turns.setdefault(-(-rounds // 8), set()).add(epsilon)
    assert all(len(epsilons) == 1 for epsilons in by_turns.values())
    assert len(by_turns) > 4


def test_targets_out_of_reach_are_refused():
    adaptive = dataclasses.replace(GAUSSIAN, name="dp_adaptive")
    with pytest.raises(UserError, match="no noise multiplier"):
        planning.plan(setting(adaptive, rounds=5000, target_epsilon=0.01))
