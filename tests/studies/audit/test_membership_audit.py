import dataclasses
import math

import numpy as np
import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run import data, execution, privacy_plan
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.audit import membership_audit

# Few users with few items each, and a model with room for all of them.
_OVERFITTED = RunConfig(
    synthetic_users=120,
    synthetic_items=200,
    max_interactions_per_user=12,
    embedding_dim=16,
    num_blocks=0,
    num_negatives=64,
    batch_size=0,
    client_learning_rate=2.0,
    server_learning_rate=0.1,
    clients_per_round=60.0,
    sampling="fixed_size",
    rounds=40,
)
_PRIVATE = dataclasses.replace(_OVERFITTED, target_epsilon=1.0, target_delta=1e-3)
_DATASET = data.load_data(_OVERFITTED)


def audit(config, **kwargs):
    attack = audit_config.AuditConfig(attack="membership", **kwargs)
    num_weights = config.two_tower.num_weights(_DATASET.split.num_items)
    plan = privacy_plan.create_plan(config, _DATASET.split.train.num_rows // 2, num_weights)
    rounds = []
    with execution.execution_context(config):
        done = membership_audit.run(config, attack, _DATASET, plan, rounds.append)
    assert rounds == list(range(1, config.rounds * (1 + attack.num_shadow_models) + 1))
    return done


@pytest.fixture(scope="module")
def overfitted():
    return audit(_OVERFITTED, num_shadow_models=2)


def areas(done):
    return {attack.name: attack.auc for attack in done.attacks}


@pytest.mark.slow
def test_a_model_that_remembers_its_users_gives_them_away(overfitted):
    found = areas(overfitted)
    assert found["loss"] > 0.75
    assert found["loss_over_popularity"] > 0.75
    assert found["loss_over_shadows"] > 0.9
    assert (overfitted.num_members, overfitted.num_non_members) == (60, 60)
    assert overfitted.report.lower_bound > 0.5
    assert "NO CLAIM" in overfitted.report.verdict


def test_a_private_model_does_not():
    # 60 members and 60 others: the area has a standard error of 0.05 by chance; 4 of them.
    done = audit(_PRIVATE)
    assert not done.report.accuses
    assert done.report.claimed_epsilon == pytest.approx(1.0, abs=0.01)
    for name, area in areas(done).items():
        assert 0.3 < area < 0.7, name


def test_fit_is_the_full_softmax_of_each_item_given_those_before():
    rng = np.random.default_rng(0)
    model = TwoTowerConfig(embedding_dim=4, history_length=2, num_blocks=0, temperature=0.5)
    embedding, bias = rng.normal(size=(6, 4)), rng.normal(size=6)
    weights = two_tower.TwoTowerWeights(
        two_tower.ItemRows(embedding.astype(np.float32), bias.astype(np.float32)), ()
    )
    users = [[3, 1, 4, 1], [5], [2, 0]]
    fit = membership_audit.measure_fit(model, weights, sequences.from_rows(users), 6)
    for user, items in enumerate(users):
        losses, ranks = [], []
        for i, item in enumerate(items):
            history = items[max(0, i - 2) : i]
            query = embedding[history].mean(axis=0) if history else np.zeros(4)
            logits = embedding @ query / 0.5 + bias
            losses.append(math.log(np.exp(logits).sum()) - logits[item])
            ranks.append(1.0 / (1 + np.sum(logits > logits[item])))
        assert fit.loss[user] == pytest.approx(np.mean(losses), rel=1e-5)
        assert fit.reciprocal_rank[user] == pytest.approx(np.mean(ranks), rel=1e-5)
