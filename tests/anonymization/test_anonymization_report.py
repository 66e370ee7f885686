"""Tests of the report, and of how easily users are found."""

import json

import numpy as np
import pandas as pd
import pytest

from fedrec_tff.anonymization import attributes, config, linkage, pipeline, randomness, report
from fedrec_tff.datasets import interactions, synthetic


def _anonymize(log, frame=None, **settings):
    known = attributes.from_features(log) if frame is None else attributes.UserAttributes(frame)
    return pipeline.anonymize(
        log, known, config.AnonymizationConfig(**settings), randomness.Randomness()
    )


def _hand_made():
    log = interactions.create_interactions(
        ["a", "a", "b", "c", "c", "c", "d"],
        ["x", "y", "x", "x", "y", "z", "w"],
        np.arange(7),
    )
    frame = pd.DataFrame({"age": ["21", "29", "29", "70"], "job": ["n", "n", "p", "p"]})
    return log, frame


def test_numbers_by_hand():
    log, frame = _hand_made()
    result = _anonymize(log, frame, sensitive="job", k=3, max_suppressed_fraction=0.25)
    found = report.create_report(result, None, None)
    assert found["counts"]["users"] == {"before": 4, "suppressed": 1, "after": 3}
    assert found["counts"]["items"] == {"before": 4, "after": 3}
    assert found["counts"]["interactions"] == {
        "before": 7, "suppressed": 1, "changed": 0, "added": 0, "merged": 0, "after": 6,
    }  # fmt: skip
    anonymity = found["k_anonymity"]
    assert anonymity["levels"] == {"age": {"level": 0, "top_level": 4, "example": "20-29"}}
    assert anonymity["before"] == {
        "k": 1, "median_size": 1.0, "largest": 2, "classes": 3, "users_alone": 2,
    }  # fmt: skip
    assert anonymity["after"] == {
        "k": 3, "median_size": 3.0, "largest": 3, "classes": 1, "users_alone": 0,
    }  # fmt: skip
    diversity = found["l_diversity"]
    assert diversity["before"] == {"distinct": 1, "entropy": pytest.approx(1.0)}
    # Shares 2/3 and 1/3.
    assert diversity["after"]["distinct"] == 2
    assert diversity["after"]["entropy"] == pytest.approx((3 / 2) ** (2 / 3) * 3 ** (1 / 3))
    loss = found["information_loss"]
    # 20-29 stands for two of three ages; the suppressed user costs 1.
    assert loss["certainty_penalty"] == pytest.approx((3 * 2 / 3 + 1) / 4)
    assert loss["discernibility"] == 3 * 3 + 4


def test_the_statement_composes_over_the_longest_history():
    log, frame = _hand_made()
    result = _anonymize(log, frame, quasi_identifiers=(), item_epsilon=1.5)
    found = report.create_report(result, None, None)["randomized_response"]
    assert found["interactions_of_longest_user"] == 3
    assert found["epsilon_of_longest_user"] == 4.5
    assert "n * 1.5, 5 for the longest" in found["statement"]  # rounded up
    assert found["mean_probability_of_truth"] == pytest.approx(np.exp(1.5) / (np.exp(1.5) + 3))


def test_the_screen_shows_what_the_file_holds():
    log = synthetic.generate_interactions(synthetic.SyntheticConfig(num_users=200))
    result = _anonymize(log, k=20, l=2, decoy_fraction=0.5, max_suppressed_fraction=0.5)
    recall = {"markov": {"raw": {"recall@10": 0.25}, "anonymized": {"recall@10": 0.125}}}
    found = report.create_report(result, linkage.measure(result), recall)
    json.dumps(found)
    text = report.describe(found)
    for part in (
        "k (asked for: 20)",
        "l, distinct top_genre (asked for: 2)",
        "users found by attributes and 8 items",
        "decoys added",
        "differential privacy is the guarantee",
    ):
        assert part in text
    (line,) = (line for line in text.splitlines() if line.startswith("recall@10 of markov"))
    assert line.split()[-2:] == ["0.2500", "0.1250"]
    assert max(map(len, text.splitlines()[:18])) < 80


def test_whoever_has_the_most_known_items_is_found():
    # a, b and c share x; c alone has x, y and z. Only c has three items.
    log, frame = _hand_made()
    found = linkage.measure(_anonymize(log, frame, quasi_identifiers=()), num_known_items=3)
    assert (found.num_targets, found.by_items_before, found.by_items_after) == (1, 1.0, 1.0)
    assert found.by_items_and_attributes_before is None
    assert linkage.measure(_anonymize(log, frame, quasi_identifiers=()), 4) is None


def test_linkage_agrees_with_a_search_by_brute_force():
    log = synthetic.generate_interactions(
        synthetic.SyntheticConfig(num_users=120, num_items=200, num_genres=6, mean_length=12)
    )
    result = _anonymize(log, k=16, decoys_per_user=10, max_suppressed_fraction=0.5)
    found = linkage.measure(result, num_known_items=3, num_targets=120)
    rows = result.rows
    before = _histories(log.user_index, log.item_index, log.num_users)
    after = _histories(rows.user_index, rows.item_index, log.num_users)
    raw = log.user_features["age_group"].tolist()
    labels = result.generalized.labels["age_group"].tolist()
    everyone = set(range(log.num_users))
    stayed = set(np.flatnonzero(result.keep_user).tolist())
    assert stayed != everyone
    # The same draws: users, then the items of each.
    generator = np.random.default_rng(0)
    able = np.array([user for user in sorted(stayed) if len(before[user]) >= 3])
    targets = generator.choice(able, len(able), replace=False).tolist()
    known = [set(generator.choice(sorted(before[t]), 3, replace=False).tolist()) for t in targets]

    def share(histories, candidates, labels):
        linked = 0
        for target, items in zip(targets, known, strict=True):
            alike = [user for user in candidates if labels[user] == labels[target]]
            matches = {user: len(items & histories[user]) for user in alike}
            best = [user for user in alike if matches[user] == max(matches.values())]
            linked += best == [target]
        return linked / len(targets)

    nothing = [None] * log.num_users
    assert found.by_items_before == share(before, everyone, nothing)
    assert found.by_items_after == share(after, stayed, nothing)
    assert found.by_items_and_attributes_before == share(before, everyone, raw)
    assert found.by_items_and_attributes_after == share(after, stayed, labels)
    assert 0 < found.by_items_after < 1
    assert 0 < found.by_items_before < 1


def _histories(users, items, num_users):
    histories = [set() for _ in range(num_users)]
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        histories[user].add(item)
    return histories
