"""What the audit by adjacent data says of builds in which one user's data reach others."""

import dataclasses

import adjacent_faults
import numpy as np
import pytest

from fedrec_tff.privacy.audit import adjacency
from fedrec_tff.run.folder import run_identity
from fedrec_tff.studies.audit import adjacent_audit

_IDENTITY = run_identity.RunIdentity("audited", cohort_key=0x5EC2E7)
_PUBLISHED = {"dataset": "adjacency", "split": "published", "max_interactions_per_user": None}
# What a run may have before its sums, in turn for the seeds.
_VARIANTS = (
    {},
    {"split": "unseen_users"},
    _PUBLISHED,
    {"aggregator": "dp_hierarchical", "aggregator_param": ("num_edges=3",)},
    {"attack": "sign_flip", "failure": "dropout", "sampling": "fixed_size"},
    {"popularity_noise_multiplier": 1.0, "private_evaluation_noise_multiplier": 1.0},
    {"aggregator": "dp_tree", "min_separation": 3},
    {"aggregator": "ddp_skellam", "query_tower": "gru", "history_length": 20},
    {"personal_tower": "embedding", "item_features": ("genres",), "user_features": ("age_group",)},
    {"max_interactions_per_user": None, "catalogue": "data"},
)


def write_lists(folder, seed):
    """A published split of 40 users."""
    rng = np.random.default_rng(seed)
    for name, longest in (("train", 9), ("test", 3)):
        lines = [
            " ".join(map(str, [user, *rng.choice(60, rng.integers(1, longest), replace=False)]))
            for user in range(40)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return str(folder)


def audit(folder, **flags):
    """Which stages are accused."""
    config = dataclasses.replace(adjacent_faults.CONFIG, **flags)
    if config.dataset == "adjacency":
        config = dataclasses.replace(config, data_dir=write_lists(folder, config.seed))
    prepared = adjacent_audit.prepare_pairs(config, 1.0, folder, _IDENTITY)
    checks = adjacency.judge([adjacent_audit.compare(one) for one in prepared])
    assert {"population", "preparation", "split", "cohorts"} <= {check.name for check in checks}
    return {check.name: check.detail for check in checks if not check.passed}


@pytest.mark.parametrize("seed", range(20))
def test_an_honest_build_is_not_accused(tmp_path, seed):
    # Without chance: what is compared is equal or not.
    assert audit(tmp_path, seed=seed, **_VARIANTS[seed % len(_VARIANTS)]) == {}


@pytest.mark.parametrize(
    ("plant", "flags", "stages"),
    [
        (adjacent_faults.drop_short_users, {}, {"population"}),
        (
            adjacent_faults.split_by_rank,
            {"split": "unseen_users"},
            {"population", "split", "cohorts", "client data", "client seeds"},
        ),
        (
            adjacent_faults.draw_validation_items_from_a_stream,
            _PUBLISHED,
            {"split", "client data"},
        ),
        (
            adjacent_faults.pad_to_the_longest,
            {"max_interactions_per_user": None, "popularity_items_per_user": 50},
            {"client data"},
        ),
        (
            adjacent_faults.draw_secrets_by_rank,
            {},
            {"population", "cohorts", "client data", "client seeds"},
        ),
        (
            adjacent_faults.sample_from_a_stream,
            {},
            {"population", "cohorts", "client data", "client seeds"},
        ),
        (
            adjacent_faults.find_edges_by_rank,
            {"aggregator": "dp_hierarchical", "aggregator_param": ("num_edges=3",)},
            {"population", "edges"},
        ),
        (
            adjacent_faults.choose_attackers_by_rank,
            {"attack": "sign_flip"},
            {"population", "attackers and failures"},
        ),
        (
            # A rank by activity needs no patch: differential privacy refuses these failures.
            lambda patch: None,
            {"failure": "skewed_light", "failure_rate": 0.5},
            {"cohorts", "client data", "client seeds", "attackers and failures"},
        ),
        (
            adjacent_faults.count_popularity_by_rank,
            {"popularity_noise_multiplier": 1.0},
            {"population", "popularity"},
        ),
        (adjacent_faults.take_the_catalogue_from_data, {}, {"catalogue"}),
        (
            adjacent_faults.evaluate_every_other_user,
            {"private_evaluation_noise_multiplier": 1.0},
            {"split", "evaluation"},
        ),
    ],
)
def test_a_planted_fault_is_accused_and_its_stage_named(
    tmp_path, monkeypatch, plant, flags, stages
):
    plant(monkeypatch)
    accused = audit(tmp_path, **flags)
    assert stages <= set(accused)
    assert all("when one user" in detail for detail in accused.values())


# Keys and laws.


def test_keys_of_an_honest_build_differ_and_those_of_a_faulty_one_are_accused():
    honest = [run_identity.create(adjacent_faults.CONFIG) for _ in range(2)]
    assert [check.passed for check in adjacent_audit.check_keys(honest)] == [True]
    for keys in ((_IDENTITY.cohort_key,) * 2, (7, 8)):
        faulty = [run_identity.RunIdentity("run", key) for key in keys]
        accused = [c.name for c in adjacent_audit.check_keys(faulty) if not c.passed]
        assert accused == [adjacent_audit.KEYS]
    seeded = run_identity.RunIdentity("seeded")
    assert not list(adjacent_audit.check_keys([seeded, seeded]))


class TwiceAsMany:
    """A sampler that adds another cohort to each."""

    def __init__(self, inner):
        self._inner = inner

    def sample(self, round_number):
        drawn = [self._inner.sample(t) for t in (round_number, round_number + 1000)]
        return np.unique(np.concatenate(drawn))


def test_cohorts_of_another_law_are_accused(tmp_path):
    config = adjacent_faults.CONFIG
    session = adjacent_audit.prepare_pairs(config, 1.0, tmp_path, _IDENTITY)[0].first
    assert all(check.passed for check in adjacent_audit.check_cohorts(session))
    plan = dataclasses.replace(session.plan, sampler=TwiceAsMany(session.plan.sampler))
    faulty = dataclasses.replace(session, plan=plan)
    accused = {c.name for c in adjacent_audit.check_cohorts(faulty) if not c.passed}
    assert {"cohort sizes", "turns of clients"} <= accused
