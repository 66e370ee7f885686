import dataclasses
import math

import numpy as np
import pytest

from fedrec_tff.privacy import departures
from fedrec_tff.privacy.audit import checks, lower_bound, membership, report, roc


def draw_half(rng, num_users):
    return rng.permutation(num_users) < num_users // 2


def simulate_users(rng, num_users=600, gap=0.5):
    """Users differ in how hard they are by far more than membership changes."""
    hard = rng.normal(6.0, 2.0, num_users)
    is_member = draw_half(rng, num_users)

    def losses(members):
        return hard - gap * members + rng.normal(0.0, 0.2, num_users)

    return hard, is_member, losses


def test_shadow_models_see_what_plain_losses_hide():
    rng = np.random.default_rng(1)
    _, is_member, losses = simulate_users(rng)
    half = draw_half(rng, len(is_member))
    halves = [half, ~half]
    fit = membership.UserFit(losses(is_member), np.full(len(is_member), 0.1))
    scores = membership.create_scores(
        fit, np.zeros(len(is_member)), [losses(half) for half in halves]
    )
    areas = {
        name: membership.evaluate_attack(name, values, is_member, 1e-5, 0.95).auc
        for name, values in scores.items()
    }
    # A gap of 0.5 in a spread of 2: 0.57; in one of 0.3: 0.9.
    assert 0.5 < areas["loss"] < 0.65
    assert areas["loss_over_shadows"] > 0.85
    assert areas["rank"] == 0.5


def test_popularity_takes_out_who_likes_rare_items():
    rng = np.random.default_rng(2)
    hard, is_member, losses = simulate_users(rng)
    fit = membership.UserFit(losses(is_member), np.zeros(len(is_member)))
    scores = membership.create_scores(fit, hard)
    assert set(scores) == {"loss", "rank", "loss_over_popularity"}
    result = membership.evaluate_attack("x", scores["loss_over_popularity"], is_member, 1e-5, 0.95)
    assert result.auc > 0.9
    # Every other score is better than chance by its share only: nothing is proved beyond log 300.
    assert 0.5 < result.bound.epsilon < math.log(300)
    assert result.true_positive_rates[0.001] <= result.true_positive_rates[0.01]


def create_report(claimed, proved, found=()):
    bound = lower_bound.LowerBound(proved, 1.0, 0.5, -3.0)
    return report.AuditReport(claimed, 1e-5, 0.95, {"a": 2.0}, {"a": bound}, tuple(found))


def test_a_claim_that_is_nobodys_is_called_so():
    said = departures.find_departures(departures.Choices("dp_gaussian", has_secret_cohorts=False))
    found = dataclasses.replace(create_report(8.0, 2.0), departures=said)
    assert "8.000 is claimed (insecure)" in found.verdict
    assert found.to_json()["insecure_epsilon_claimed"] == 8.0
    assert "epsilon_claimed" not in found.to_json()
    assert create_report(8.0, 2.0).to_json()["epsilon_claimed"] == 8.0


@pytest.mark.parametrize(
    ("audit_report", "accuses", "said"),
    [
        (create_report(8.0, 2.0), False, "NO VIOLATION FOUND: epsilon is at least 2.000"),
        (create_report(8.0, 8.1), True, "epsilon is at least 8.100 (95% confidence), but 8.000"),
        (create_report(8.0, 2.0, [checks.Check("noise level", False, "0.1, claimed 1")]), True,
         "noise level: 0.1, claimed 1"),
        (create_report(8.0, 2.0, [checks.Check("noise level", True, "1")]), False,
         "NO VIOLATION FOUND"),
        (create_report(math.inf, 60.0), False, "NO CLAIM"),
    ],
)  # fmt: skip
def test_verdicts(audit_report, accuses, said):
    assert audit_report.accuses == accuses
    assert said in audit_report.verdict
    assert audit_report.to_json()["accuses"] == accuses
    assert audit_report.to_json()["epsilon_lower_bound"] == audit_report.lower_bound


def test_a_report_without_bounds_or_estimates_proves_and_estimates_nothing():
    found = report.AuditReport(8.0, 1e-5, 0.95, {}, {})
    assert (found.lower_bound, found.estimate, found.failed_checks) == (0.0, None, ())
    assert not found.accuses
    assert found.verdict.startswith("NO VIOLATION FOUND: epsilon is at least 0.000")
    assert found.to_json()["epsilon_estimate"] is None
    assert found.to_json()["checks"] == []


def test_a_report_tells_the_largest_of_each():
    bounds = {name: lower_bound.LowerBound(e, 1.0, 0.5, -3.0) for name, e in (("a", 3), ("b", 8))}
    failed = checks.Check("noise level", False, "none", 0.0)
    found = report.AuditReport(8.0, 1e-5, 0.95, {"a": 2.0, "b": 1.0}, bounds, (failed,))
    assert (found.lower_bound, found.estimate, found.failed_checks) == (8, 2.0, (failed,))
    # As much as is claimed may be spent.
    assert "epsilon is at least" not in found.verdict
    assert found.to_json()["epsilon_estimate"] == 2.0
    assert found.to_json()["bounds"]["b"]["epsilon"] == 8
    assert found.to_json()["checks"] == [dataclasses.asdict(failed)]


def test_rates_of_true_positives_are_told_at_one_in_a_hundred_and_in_a_thousand():
    # Of 1,000 others one is above 500 members and another above 100 more.
    others = np.concatenate([[9.5, 8.5], np.zeros(998)])
    members = np.concatenate([np.full(500, 10.0), np.full(100, 9.0), np.full(400, 8.0)])
    is_member = np.arange(2000) < 1000
    result = membership.evaluate_attack("x", np.append(members, others), is_member, 1e-5, 0.95)
    assert result.true_positive_rates == {0.01: 1.0, 0.001: 0.6}
    assert result.advantage == pytest.approx(0.998)
    assert result.auc == pytest.approx(1 - (500 + 400) / 1e6)
    assert result.auc_stderr == roc.auc_stderr(result.auc, 1000, 1000)
    fit = membership.UserFit(np.array([1.0, 3.0]), np.array([0.5, 0.2]))
    scores = membership.create_scores(fit, np.array([2.0, 2.0]), [[4.0, 0.0], [0.0, 2.0]])
    for name, expected in {
        "loss": [-1, -3], "rank": [0.5, 0.2], "loss_over_popularity": [1, -1],
        "loss_over_shadows": [1, -2],
    }.items():  # fmt: skip
        np.testing.assert_allclose(scores[name], expected)
