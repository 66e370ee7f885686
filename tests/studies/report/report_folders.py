"""What the tests of reports share: folders of runs and studies, written by hand."""

import csv
import json

from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures

METRICS = ("recall@10", "ndcg@10", "mrr", "sampled_99/hit_rate@10", "sampled_99/ndcg@10")
ROUNDS = (2, 4, 6)
PLAIN = "NOT PRIVATE: this run has no differential privacy."
PRIVATE = "This run has (8.000, 1e-05)-differential privacy for each user."
# What follows from a cohort or from held-out interactions, as a private run marks it.
_EXACT = ("test/", "validation/", "popularity/", "references", "seconds", "users_per_second")


def write_run(
    folder,
    *,
    test=0.2,
    validation=0.25,
    curve=None,
    epsilon=None,
    departing=None,
    fingerprint="f",
    is_finished=True,
    changes=None,
    **flags,
):
    """A run that is private where it has an epsilon, with popularity at half of what it has."""
    folder.mkdir(parents=True)
    chosen = {"rounds": ROUNDS[-1], "dataset": "ml-1m", "data_dir": "somewhere", **flags}
    if epsilon is not None:
        chosen = {"target_epsilon": 8.0, **chosen}
    config = {
        "flags": {**run_config.to_flags(RunConfig()), **chosen},
        "chosen_by_preset": [],
        "derived": {"num_training_users": 6040, "num_items": 3883, "catalogue": "data"},
        "non_private/data": {"fingerprint": fingerprint, "num_interactions": 1234567},
    }
    (folder / "config.json").write_text(json.dumps(config))
    found = _find_departures(departing)
    _write_metrics(folder / "metrics.csv", curve or [0.1, 0.2, validation], epsilon, found)
    if is_finished:
        results = _create_results(test, validation, epsilon, found, chosen["rounds"])
        (folder / "results.json").write_text(json.dumps({**results, **(changes or {})}))
    return folder


def _find_departures(departing):
    return departures.find_departures(departures.Choices("dp_gaussian", **(departing or {})))


def _create_results(test, validation, epsilon, found, rounds):
    results = {
        "rounds": rounds,
        "released_round": rounds,
        "ended_by": "rounds",
        "delta": None if epsilon is None else 1e-5,
        "seconds": 61.0,
        "users_per_second": 321.0,
        "communication/download_megabytes": 10.0,
        "communication/upload_megabytes": 4.0,
        "privacy_statement": PLAIN if epsilon is None else PRIVATE,
        "git_revision": "abcdef",
        "versions": {"python": "3.11.7", "tensorflow": "2.14.1"},
    }
    for part, value in (("test", test), ("validation", validation)):
        results |= {f"{part}/{name}": value for name in METRICS}
        results |= {f"popularity/{part}/{name}": value / 2 for name in METRICS}
    if epsilon is None:
        return {**results, "epsilon": None}
    results = {f"non_private/{k}" if k.startswith(_EXACT) else k: v for k, v in results.items()}
    del results["communication/upload_megabytes"]
    return {**results, found.epsilon_name: epsilon, "departures": found.to_json()}


def _write_metrics(path, values, epsilon, found):
    mark = "" if epsilon is None else "non_private/"
    name = f"privacy/{found.epsilon_name}"
    rows = []
    for number, value in zip(ROUNDS, values, strict=True):
        row = {"round": number, f"{mark}validation/recall@10": value}
        if epsilon is not None:
            row[name] = float(epsilon) * number / ROUNDS[-1]
        # A round between validations.
        rows += [{"round": number - 1}, row]
    with path.open("w") as file:
        writer = csv.DictWriter(file, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)


def write_seeds(root, name, tests, validation=0.25, **options):
    """A run for each value of the test metrics, with seeds from 0."""
    return [
        write_run(
            root / f"{name}-{seed}",
            test=value,
            validation=validation + 0.01 * seed,
            seed=seed,
            **options,
        )
        for seed, value in enumerate(tests)
    ]


def write_baselines(folder, values, fingerprint="f", seed=0):
    """Baselines of ml-1m, whose validation is as their test."""
    from fedrec_tff.studies.baselines import config as baselines_config
    from fedrec_tff.studies.baselines.config import BaselinesConfig

    folder.mkdir(parents=True)
    found = {
        name: {
            "seconds": 3.2,
            "test": dict.fromkeys(METRICS, value),
            "validation": dict.fromkeys(METRICS, value),
        }
        for name, value in values.items()
    }
    flags = baselines_config.to_flags(
        BaselinesConfig(baselines=tuple(values)), RunConfig(dataset="ml-1m", seed=seed)
    )
    results = {
        "flags": flags,
        "baselines": found,
        "git_revision": "abcdef",
        "versions": {"numpy": "1.25.2"},
    }
    (folder / "config.json").write_text(json.dumps({"data": {"fingerprint": fingerprint}}))
    (folder / "baselines.json").write_text(json.dumps(results))
    return folder


def write_sweep(root, law="fixed", objective="validation/recall@10"):
    """A sweep of three trials over two seeds, of which the last failed."""
    (root / "trials").mkdir(parents=True)
    trials = []
    for number, mean in ((1, 0.3), (0, 0.2)):
        for seed in (0, 1):
            flags = {"client_learning_rate": 0.5 + number, "seed": seed}
            folder = root / "trials" / f"{number:03d}" / f"seed-{seed}"
            write_run(folder, validation=mean, curve=[0.1, 0.15, mean], **flags)
        values = {"client_learning_rate": 0.5 + number}
        trials.append(_create_trial(number, values, "finished", mean, 0.01))
    trials.append(_create_trial(2, {"client_learning_rate": 9.0}, "failed", None, None))
    contents = {
        "search": "grid",
        "objective": objective,
        "minimize": False,
        "seeds": [0, 1],
        "trials_distribution": law,
        "trials": trials,
        "best": {
            "trial": 1,
            "flags": ["--client_learning_rate=1.5"],
            "test_metrics": {"test/recall@10": [0.31, 0.29]},
        },
        "privacy": {"kind": "not_private", "statement": "What the choice costs."},
    }
    (root / "sweep.json").write_text(json.dumps(contents))
    (root / "study.json").write_text(json.dumps({"sweep": {"trials_distribution": law}}))
    return root


def _create_trial(number, values, status, objective, deviation):
    return {
        "number": number,
        "values": values,
        "status": status,
        "objective": objective,
        "deviation": deviation,
        "objectives": {},
        "reason": None,
        "last": None,
    }


def write_robustness(root, is_private=False):
    """A study of two aggregators under one attack."""
    root.mkdir(parents=True)
    mark = "non_private/" if is_private else ""
    cells = []
    for aggregator, attack, recall, kept in (
        ("mean", "clean", 0.2, 1.0),
        ("mean", "sign_flip", 0.02, 0.1),
        ("clip,median", "clean", 0.18, 0.9),
        ("clip,median", "sign_flip", 0.16, 0.8),
    ):
        measured = {"recall": recall, "ndcg": recall, "exposure": 0.25}
        measured |= {"recall_kept": kept, "recall_kept_of_mean": kept}
        cells.append(
            {
                "aggregator": aggregator,
                "attack": attack,
                "is_private": is_private,
                "has_diverged": False,
                "epsilon": 3.0004 if is_private else None,
                **{f"{mark}{name}": value for name, value in measured.items()},
            }
        )
    (root / "robustness.json").write_text(json.dumps({"cells": cells, "target_item": "<b>7"}))
    return root


def write_audit(root, lower_bound=0.1719, claimed=7.9991, departing=None):
    """A canary audit that proved so much; nothing is claimed where the claim is infinite."""
    from fedrec_tff.privacy.audit import checks, report
    from fedrec_tff.privacy.audit import lower_bound as bounds

    root.mkdir(parents=True)
    found = report.AuditReport(
        claimed_epsilon=claimed,
        delta=1e-5,
        confidence=0.95,
        estimates={"final_model": 5.9},
        bounds={"final_model": bounds.LowerBound(lower_bound, 0.0, 0.5, -1.0)},
        checks=(checks.Check("noise <level>", True, "as claimed"),),
        departures=_find_departures(departing),
    )
    written = {**found.to_json(), "audit": {"attack": "canary"}, "flags": {}}
    (root / "audit.json").write_text(json.dumps(written))
    return root


def write_ledger(folder, rounds, law="poisson"):
    """The ledger of a run that has executed so many rounds."""
    from fedrec_tff.privacy import ledger, mechanisms

    mechanism = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, 6040, 60, law)
    header = ledger.LedgerHeader("run-1", mechanism, 1e-5)
    with ledger.PrivacyLedger(folder / ledger.FILE_NAME, header) as opened:
        for number in range(1, rounds + 1):
            opened.append(number)
    return folder


def write_evaluation(root, is_private=True):
    """An evaluation of a run without privacy, and of another beside it, on 300 users."""
    root.mkdir(parents=True)
    runs = {
        "plain": _describe_evaluated(0.2, 0.1, is_private=False, compares=False),
        "<i>other": _describe_evaluated(0.15, 0.03, is_private, compares=True),
    }
    contents = {"flags": {"part": "test", "confidence": 0.95}, "runs": runs}
    (root / "evaluation.json").write_text(json.dumps(contents))
    return root


def _describe_evaluated(old, new, is_private, compares):
    mark = "non_private/" if is_private else ""
    recall = f"{mark}test/recall@10"
    mean = (2 * old + new) / 3
    groups = {
        "<b>old": _describe_group(recall, 200, old, 0.25 if compares else None),
        "new": _describe_group(recall, 100, new, 0.7 if compares else None),
    }
    gap = {"difference": old - new, "ratio": new / old, "worst": "new", "best": "<b>old"}
    described = {
        "folder": "runs/x",
        "epsilon": 7.9991 if is_private else None,
        "delta": 1e-5 if is_private else None,
        "privacy_statement": "said",
        f"{mark}data": {"summary": "", "num_users": 300, "num_items": 50},
        f"{mark}notes": [],
        "metrics": {
            recall: {"value": mean, "low": mean - 0.01, "high": mean + 0.01},
            f"{mark}test/recall@50": {"value": 0.9, "low": 0.8, "high": 1.0},
            f"{mark}test/coverage@10": {"value": 0.4},
            f"{mark}test/mrr": {"value": None, "low": None, "high": None},
        },
        "quantiles": {},
        "user_gini": {recall: 0.876},
        f"{mark}groups": {"tenure": {"groups": groups, "gaps": {recall: gap}, "pooled": []}},
        f"{mark}compared_with_first": None,
    }
    if compares:
        change = {
            "difference": {"value": -0.0567, "low": -0.07, "high": -0.04},
            "loss": {"value": 0.34, "low": 0.3, "high": 0.4},
            "p_value": 0.0005,
        }
        changes = {recall: change, f"{mark}test/coverage@10": change}
        described[f"{mark}compared_with_first"] = {"num_users": 290, "metrics": changes}
    return described


def _describe_group(recall, num_users, value, loss):
    losses = {} if loss is None else {recall: {"value": loss, "low": loss, "high": loss}}
    metrics = {recall: {"value": value, "low": value - 0.02, "high": value + 0.02}}
    return {"num_users": num_users, "metrics": metrics, "losses": losses}
