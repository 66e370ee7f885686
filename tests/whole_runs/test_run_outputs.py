"""What a run leaves in its folder, against computations of its own."""

import csv
import itertools
import json
import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from scipy import stats
from training_runs import DETERMINISTIC, TINY, Run, to_argv, train_step

from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.privacy import departures, sampling
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import data
from fedrec_tff.run.metrics import round_metrics

# A cohort of one on average: some rounds have nobody.
RELEASED = {
    **TINY,
    "insecure_seeded_cohorts": True,
    "noise_multiplier": 1.5,
    "clients_per_round": 1,
    "rounds": 6,
    "release_non_private_metrics": True,
    "references": "markov",
}
# Nothing in these is about what is compiled.
UNCOMPILED = {**TINY, "execution": "debug"}
NOT_PRIVATE = {**UNCOMPILED, "rounds": 3, "references": "ease,markov"}
ADAPTIVE = {**UNCOMPILED, "rounds": 4, "target_epsilon": 5.0, "aggregator": "dp_adaptive"}
RELEASES = {
    **UNCOMPILED,
    # Some users have more items than the released popularity takes of each.
    "max_interactions_per_user": 200,
    "rounds": 3,
    "rounds_per_evaluation": 2,
    "aggregator": "dp_banded_mf",
    "min_separation": 4,
    "target_epsilon": 20.0,
    "popularity_noise_multiplier": 2.0,
    "initial_bias": "popularity",
    "negative_sampling": "popularity",
    "private_evaluation_noise_multiplier": 1.0,
    "averaging_decay": 0.5,
    "rounds_per_checkpoint": 1,
}
LOCAL = {
    **UNCOMPILED,
    "rounds": 2,
    "noise_multiplier": 5.0,
    "aggregator": "local_gaussian",
    "max_rounds_per_user": 1,
}
DISTRIBUTED = {
    **UNCOMPILED,
    "rounds": 6,
    "noise_multiplier": 3.0,
    "aggregator": "ddp_skellam",
}
SIMULATED = {
    **UNCOMPILED,
    "withhold_held_out_metrics": True,
    "rounds": 2,
    "target_epsilon": 2.0,
    "noise_cohort_size": 2_000,
    "noise_population_size": 1_000_000,
}
# The noise drowns all else, and the server only subtracts it.
LOUD = {
    **UNCOMPILED,
    "noise_multiplier": 100.0,
    "rounds": 2,
    "rounds_per_checkpoint": 1,
    "server_optimizer": "sgd",
    "server_learning_rate": 1.0,
    "clip_norm": 0.25,
}
SELECTED = {
    **UNCOMPILED,
    "catalogue": "selected",
    "catalogue_noise_multiplier": 0.25,
    "target_epsilon": 60.0,
    "rounds": 1,
}
NOISELESS = {**UNCOMPILED, "noise_multiplier": 0.0, "rounds": 2, "sampling": "fixed_size"}

VALIDATION = {
    "validation/recall@10",
    "validation/ndcg@10",
    "validation/hit_rate@10",
    "validation/map@10",
    "validation/mrr",
    "validation/sampled_99/hit_rate@10",
    "validation/sampled_99/ndcg@10",
    "validation/sampled_99/mrr",
    "time/evaluation_seconds",
}
# As private runs call them.
MARKED = {f"non_private/{name}" for name in VALIDATION}
PUBLIC = {
    "round",
    "communication/download_megabytes",
    "communication/download_entropy_coded_megabytes",
    "privacy/epsilon",
    "train/update_rejected",
}
INSECURE = "privacy/insecure_epsilon"
COHORT = {
    "train/num_clients",
    "train/num_examples",
    "train/num_rejected_clients",
    "train/loss",
    "communication/upload_megabytes",
    "time/round_seconds",
    "time/users_per_second",
    "time/examples_per_second",
}


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory, uninterrupted_process, server):
    """One short run for each of the configurations above."""
    root = tmp_path_factory.mktemp("outputs")
    names = ("RELEASED", "NOT_PRIVATE", "ADAPTIVE", "LOUD", "NOISELESS", "RELEASES", "SIMULATED")
    names += ("SELECTED",)
    # Which look at these alone, and are slow.
    if any(item.name == _OF_DEVICES for item in request.session.items):
        names += ("LOCAL", "DISTRIBUTED")
    chains = {name: server.start([train_step(globals()[name], root / name)]) for name in names}
    for name, chain in chains.items():
        assert server.wait(chain) == [0], server.stderr(chain)
        assert server.stderr(chain).count("Traceback") == 0, name
    # Nothing of held-out interactions is left to print.
    assert "withheld" in server.stdout(chains["SIMULATED"])
    assert "recall" not in server.stdout(chains["SIMULATED"])
    return {name: Run(root / name, server) for name in names}


_OF_DEVICES = "test_devices_that_do_not_trust_the_server_are_accounted_by_their_turns"


def load_split(flags):
    return data.load_data(RunConfig(**flags)).split


@pytest.fixture(scope="module")
def split():
    return load_split(DETERMINISTIC)


def names_of(run):
    return {name for row in run.rows for name in row}


def pld_epsilon(noise_multiplier, probability, rounds, delta=1e-5):
    event = dp_accounting.PoissonSampledDpEvent(
        probability, dp_accounting.GaussianDpEvent(noise_multiplier)
    )
    accountant = pld.PLDAccountant(value_discretization_interval=1e-4)
    return accountant.compose(event, rounds).get_epsilon(delta)


# The folder.


def test_binary_ends_well_and_says_little(uninterrupted, split):
    assert uninterrupted.status == 0, uninterrupted.stderr
    lines = uninterrupted.stderr.splitlines()
    assert len(lines) == 6, lines
    # What is public, and no count of interactions.
    assert split.num_items == 300
    assert lines[0] == ("synthetic: 100 training users of the data, 300 items of the item table")
    assert lines[1] == "starting TensorFlow"
    assert "held-out" in lines[2]
    assert "NOT PRIVATE" in lines[3]
    assert [line.split()[:2] for line in lines[4:]] == [["round", "4/8"], ["round", "8/8"]]
    assert all("insecure_epsilon" in line and "recall@10* 0." in line for line in lines[4:])
    results = uninterrupted.run.results
    assert f"{results['non_private/test/recall@10']:.4f}" in uninterrupted.stdout
    assert f"{results['non_private/test/ndcg@10']:.4f}" in uninterrupted.stdout
    assert "this model* " in uninterrupted.stdout
    assert "not covered by epsilon" in uninterrupted.stdout
    assert results["privacy_statement"] in uninterrupted.stdout
    assert str(uninterrupted.run.root / "results.json") in uninterrupted.stdout
    logdir = uninterrupted.stdout.rpartition("--logdir ")[2].strip()
    assert logdir in (str(uninterrupted.run.root), str(uninterrupted.run.root.parent))


def _list_folder(run):
    """Names in a run's folder; of TensorBoard's files, the ends of their names."""
    names = {path.name for path in run.root.iterdir()} - {".lock"}
    return {n.rpartition(".")[2] if n.startswith("events.out.tfevents.") else n for n in names}


def test_folder_has_what_is_documented_and_no_leftovers(uninterrupted, runs):
    names = {"config.json", "results.json", "metrics.csv", "model.npz"}
    names |= {"checkpoints", "ids", "end", "description", "rounds"}
    assert _list_folder(uninterrupted.run) == {*names, "privacy_ledger.jsonl"}
    # Popularity may be known where nobody is protected.
    assert _list_folder(runs["NOT_PRIVATE"]) == {*names, "popularity"}
    assert uninterrupted.run.checkpoint_rounds == [3, 6, 8]


def test_config_has_every_flag_and_what_follows_from_them(uninterrupted, split):
    config = uninterrupted.run.config
    assert config["flags"] == run_config.to_flags(RunConfig(preset="basic", **DETERMINISTIC))
    run_id = ledger_lib.read_ledger(uninterrupted.run.ledger_path).header.run_id
    assert config["derived"] == {
        "run_id": run_id,
        "population_ledger_id": None,
        "aggregator": "dp_gaussian",
        "plugins": {},
        "model_digest": None,
        "loss_digest": None,
        "initial_model_digest": None,
        "sampling": "poisson",
        "sampling_probability": 0.2,
        "noise_multiplier": 1.5,
        "num_training_users": 100,
        "num_items": split.num_items,
        "catalogue": "table",
        "roster_digest": None,
    }


def test_ids_map_back(uninterrupted, split):
    for name, size in (("user_ids.csv", 100), ("item_ids.csv", split.num_items)):
        lines = (uninterrupted.run.root / "ids" / name).read_text().splitlines()
        assert len(lines) == size + 1


def test_results_have_the_promised_keys(uninterrupted):
    results = uninterrupted.run.results
    metrics = ["recall@10", "ndcg@10", "mrr", "sampled_99/hit_rate@10", "sampled_99/ndcg@10"]
    for prefix in ("non_private/test/", "non_private/validation/"):
        for metric in metrics:
            assert 0.0 <= results[prefix + metric] <= 1.0
    assert (results["rounds"], results["delta"], results["noise_multiplier"]) == (8, 1e-5, 1.5)
    assert results["non_private/seconds"] > 0.0
    rate = 8 * 20 / results["non_private/seconds"]
    assert results["non_private/users_per_second"] == pytest.approx(rate, rel=1e-6)
    assert {"python", "tensorflow", "tensorflow-federated", "dp-accounting"} <= set(
        results["versions"]
    )
    assert "git_revision" in results


def test_last_validation_is_that_of_the_final_model(uninterrupted):
    results, last = uninterrupted.run.results, uninterrupted.run.rows[-1]
    for name in MARKED - {"non_private/time/evaluation_seconds"}:
        assert last[name] == results[name]


def rank_pessimistically(scores, history, target):
    """Position of the target among what is not in the history; ties go before it."""
    candidates = np.setdiff1d(np.arange(len(scores)), [*history, target])
    return 1 + np.sum(scores[candidates] >= scores[target])


def full_metrics(score, evaluation_set):
    ranks = np.array(
        [
            rank_pessimistically(
                score(evaluation_set.history.row(row)),
                evaluation_set.history.row(row),
                evaluation_set.targets.row(row)[0],
            )
            for row in range(evaluation_set.history.num_rows)
        ]
    )
    hits = ranks <= 10
    return {
        "recall@10": hits.mean(),
        "ndcg@10": np.where(hits, 1 / np.log2(ranks + 1), 0.0).mean(),
        "mrr": (1 / ranks).mean(),
    }


def test_popularity_in_the_results_is_brute_forces(uninterrupted, runs):
    split = load_split(NOT_PRIVATE)
    counts = np.zeros(split.num_items)
    for row in range(split.train.num_rows):
        for item in split.train.row(row):
            counts[item] += 1
    for name in ("validation", "test"):
        expected = full_metrics(lambda _: counts, getattr(split, name))
        for metric, value in expected.items():
            found = runs["NOT_PRIVATE"].results[f"popularity/{name}/{metric}"]
            assert found == pytest.approx(value)
    # Exact counts of training data are not private.
    assert not [key for key in uninterrupted.run.results if "popularity" in key]


def test_references_stand_beside_the_model_and_are_marked_in_a_private_run(runs):
    split = load_split(NOT_PRIVATE)
    found = runs["NOT_PRIVATE"].results["references"]
    assert list(found) == ["ease", "markov"]
    assert found["ease"]["num_tried"] == 3
    popularity = np.bincount(split.train.items, minlength=split.num_items)
    follows = np.zeros((split.num_items, split.num_items))
    for row in range(split.train.num_rows):
        np.add.at(follows, tuple(zip(*itertools.pairwise(split.train.row(row)), strict=True)), 1)
    behind = found["markov"]["parameters"]["popularity_weight"] * popularity / popularity.max()
    # As floats of 32 bits, which decide what ties.
    scores = follows.astype(np.float32) + behind.astype(np.float32)
    for name in ("validation", "test"):
        expected = full_metrics(lambda history: scores[history[-1]], getattr(split, name))
        for metric, value in expected.items():
            assert found["markov"][name][metric] == pytest.approx(value)
    released = runs["RELEASED"].results
    assert list(released["non_private/references"]) == ["markov"]
    assert "references" not in released


def test_metrics_in_the_results_are_brute_forces_on_the_last_checkpoint(uninterrupted, split):
    embedding, bias, kernel_in, bias_in, kernel_out, bias_out, *_ = uninterrupted.run.checkpoint(8)

    def score(history):
        query = embedding[history[-20:]].mean(axis=0)
        query = query + np.maximum(query @ kernel_in + bias_in, 0.0) @ kernel_out + bias_out
        return embedding @ query + bias

    for name in ("validation", "test"):
        for metric, value in full_metrics(score, getattr(split, name)).items():
            found = uninterrupted.run.results[f"non_private/{name}/{metric}"]
            assert found == pytest.approx(value, abs=2e-3), (name, metric)


# What leaves.


def test_private_runs_release_nothing_of_the_cohort(uninterrupted, runs):
    assert names_of(uninterrupted.run) == (PUBLIC - {"privacy/epsilon"}) | {INSECURE} | MARKED
    adaptive = names_of(runs["ADAPTIVE"])
    assert adaptive == PUBLIC | MARKED | {"privacy/clip_norm"}
    # Of the rest there is no curve: it never changes, or is epsilon.
    shown = {tag for tag, _, _ in uninterrupted.run.events["scalars"]}
    assert names_of(uninterrupted.run) - {"round"} - shown == {
        *(INSECURE, "communication/download_megabytes", "train/update_rejected")
    }
    assert shown <= names_of(uninterrupted.run)


def test_exact_sums_are_marked_when_they_are_released(runs):
    expected = PUBLIC - {"privacy/epsilon"} | {INSECURE} | MARKED
    assert names_of(runs["RELEASED"]) == expected | {f"non_private/{name}" for name in COHORT}


def test_runs_without_privacy_have_plain_names(runs):
    expected = (PUBLIC - {"privacy/epsilon"}) | VALIDATION | COHORT
    assert names_of(runs["NOT_PRIVATE"]) == expected


def test_exact_sums_are_those_of_the_cohort(runs, split):
    draws = keyed_draws.KeyedDraws(data.load_data(RunConfig(**TINY)).train_user_ids, 0)
    for name, prefix, flags in (("RELEASED", "non_private/", RELEASED),
                                ("NOT_PRIVATE", "", NOT_PRIVATE)):  # fmt: skip
        sampler = sampling.PoissonSampler(draws, flags["clients_per_round"] / 100)
        rows = runs[name].rows
        cohorts = [sampler.sample(int(row["round"])) for row in rows]
        assert [row[f"{prefix}train/num_clients"] for row in rows] == list(map(len, cohorts))
        # One example for each item, the first with an empty history.
        examples = [int(np.sum(split.train.lengths[cohort])) for cohort in cohorts]
        assert [row[f"{prefix}train/num_examples"] for row in rows] == examples
        assert all(row[f"{prefix}train/num_rejected_clients"] == 0.0 for row in rows)


def test_rounds_without_anybody_are_rounds(runs):
    """They are noised and counted like others; only the mean of nothing is left out."""
    rows = runs["RELEASED"].rows
    empty = [row for row in rows if row["non_private/train/num_clients"] == 0]
    assert 0 < len(empty) < len(rows) == 6
    for row in rows:
        assert ("non_private/train/loss" in row) == (row not in empty)
        assert row["train/update_rejected"] == 0.0
    assert len(ledger_lib.read_ledger(runs["RELEASED"].ledger_path).entries) == 6


def test_download_is_the_model_times_the_expected_cohort(uninterrupted, split):
    weights = split.num_items * (8 + 1) + 2 * (8 * 8 + 8)
    for row in uninterrupted.run.rows:
        assert row["communication/download_megabytes"] == pytest.approx(weights * 4 * 20 / 1e6)


def test_every_metric_has_a_class_and_none_that_leaves_is_exact(uninterrupted, runs):
    """What DP runs release, by class; the cohort's own sums are in runs without DP alone."""
    intervals = {f"private/{m}{e}" for m in ("recall@10", "ndcg@10", "mrr") for e in ("", "_low", "_high")}  # fmt: skip  # noqa: E501
    expected = {
        "public": {
            "communication/download_megabytes",
            "privacy/epsilon",
            "privacy/simulated_epsilon",
            INSECURE,
        },
        "aggregate": {
            "train/update_rejected",
            "privacy/clip_norm",
            "communication/download_entropy_coded_megabytes",
        },
        "noised": intervals | {"private/num_users"},
        "non_private": MARKED | {f"non_private/{name}" for name in COHORT},
    }
    private = [uninterrupted.run, *(runs[n] for n in ("RELEASED", "ADAPTIVE", "RELEASES", "SIMULATED"))]  # fmt: skip  # noqa: E501
    found = {}
    for name in set().union(*map(names_of, private)) - {"round"}:
        found.setdefault(round_metrics.classify(name), set()).add(name)
    assert found == expected
    plain = names_of(runs["NOT_PRIVATE"])
    for metric_class, names in (("cohort", COHORT), ("held_out", VALIDATION)):
        # The clock of evaluations goes with them.
        assert {n for n in plain if round_metrics.classify(n) == metric_class} == names
    for name in ("test/mrr", "popularity/test/mrr", "personalized/validation/mrr"):
        with pytest.raises(ValueError, match=name):
            round_metrics.check({name: 1.0}, is_private=True)
    with pytest.raises(ValueError, match="train/loss"):
        round_metrics.check({"train/loss": 1.0}, is_private=True)
    with pytest.raises(ValueError, match="brand/new"):
        round_metrics.check({"brand/new": 1.0}, is_private=True)


def test_releases_are_in_the_ledger_in_their_order_and_in_epsilon(runs):
    run = runs["RELEASES"]
    entries = ledger_lib.read_ledger(run.ledger_path).entries
    assert [entry.release or entry.round_number for entry in entries] == [
        "popularity", 1, 2, "evaluation", 3, "evaluation",
    ]  # fmt: skip
    assert run.results["privacy_ledger_digest"] in run.ledger_path.read_text().splitlines()[-1]
    # One turn of a user in 4 rounds, 4 groups of 100 users, 20 of the 25 of a group expected.
    accountant = pld.PLDAccountant(value_discretization_interval=1e-4)
    turn = dp_accounting.GaussianDpEvent(run.results["noise_multiplier"])
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.8, turn))
    accountant.compose(dp_accounting.GaussianDpEvent(2.0))
    accountant.compose(dp_accounting.GaussianDpEvent(1.0), 2)
    direct = accountant.get_epsilon(1e-5)
    assert direct * 0.999 <= run.results["epsilon"] <= min(20.0, direct * 1.03)
    assert run.results["epsilon"] > 19.0


def test_released_popularity_is_noised_counts_and_the_baseline_is_its_ranking(runs):
    run, split = runs["RELEASES"], load_split(RELEASES)
    released = np.load(run.root / "private_popularity.npy")
    counts = np.zeros(split.num_items)
    for row in range(split.train.num_rows):
        counts[np.unique(split.train.row(row))] += 1
    assert max(len(np.unique(split.train.row(r))) for r in range(split.train.num_rows)) > 50
    noise = released - counts
    # The stddev is 2 times the root of 50; a few users had items left out.
    assert 0.8 * 2 * 50**0.5 < noise.std() < 1.4 * 2 * 50**0.5
    expected = full_metrics(lambda _: released, split.test)
    for metric, value in expected.items():
        name = f"non_private/private_popularity/test/{metric}"
        assert run.results[name] == pytest.approx(value)


def test_kept_model_is_the_average_of_the_rounds_models(runs):
    run = runs["RELEASES"]
    with np.load(run.root / "model.npz") as arrays:
        model = {name: arrays[name] for name in arrays.files}
    assert {"items/bias", "tower/0", "tower/3"} <= model.keys()
    # Half of the weight of the round after, each; together one.
    weights = np.array([1, 2, 4]) / 7
    embeddings = [run.checkpoint(number)[0] for number in (1, 2, 3)]
    expected = np.tensordot(weights, embeddings, 1)
    np.testing.assert_allclose(model["items/embedding"], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(embeddings[2] - expected).max() > 1e-4


@pytest.mark.slow
def test_devices_that_do_not_trust_the_server_are_accounted_by_their_turns(runs):
    # One report, of a user who may be replaced: half the multiplier.
    results = runs["LOCAL"].results
    direct = pld_epsilon(2.5, 1.0, 1)
    assert direct * 0.999 <= results["epsilon"] <= direct * 1.03
    # Six rounds are two orders of all users: two reports. Rounding costs a little; and everybody
    # knows one of a cohort's shares of noise.
    results = runs["DISTRIBUTED"].results
    multiplier = 1.5 * np.sqrt(1.0 - 1.0 / DISTRIBUTED["clients_per_round"])
    gaussian = rdp.RdpAccountant().compose(dp_accounting.GaussianDpEvent(multiplier), 2)
    gaussian = gaussian.get_epsilon(1e-5)
    assert "up to 1 client of each cohort" in results["privacy_statement"]
    assert gaussian <= results["epsilon"] <= gaussian * 1.05
    for name in ("LOCAL", "DISTRIBUTED"):
        assert names_of(runs[name]) <= PUBLIC | MARKED
    # Where users are not sampled, nothing rests on a key of cohorts.
    assert not (runs["LOCAL"].root / "cohort_key").exists()


def test_no_exact_number_leaves_a_private_run_without_its_mark(uninterrupted, runs):
    """In the table of rounds, the results and TensorBoard alike."""
    covered = {"public", "aggregate", "noised", "about", "non_private"}
    private = {name: run for name, run in runs.items() if name != "NOT_PRIVATE"}
    for name, run in {**private, "DETERMINISTIC": uninterrupted.run}.items():
        tags = {tag for kind in ("scalars", "end") for tag, _, _ in run.events[kind]}
        for metric in (names_of(run) - {"round"}) | tags | run.results.keys():
            assert round_metrics.classify(metric) in covered, (name, metric)


def test_withheld_metrics_are_nowhere(runs):
    run = runs["SIMULATED"]
    tags = {tag for kind in ("scalars", "end") for tag, _, _ in run.events[kind]}
    names = names_of(run) | tags | run.results.keys()
    assert not [name for name in names if name.startswith("private/")]
    assert {name for name in names if name.startswith("non_private/")} == {
        "non_private/seconds",
        "non_private/users_per_second",
    }


def test_noised_validation_is_in_the_results_as_it_was_released_last(runs):
    run = runs["RELEASES"]
    released = {k: v for k, v in run.rows[-1].items() if k.startswith("private/")}
    assert len(released) == 10
    # The table of rounds is of fewer digits.
    found = {k: v for k, v in run.results.items() if k.startswith("private/")}
    assert found == pytest.approx(released)


def test_what_is_secret_is_its_owners_alone_whatever_the_umask(uninterrupted, runs):
    """The runs have a umask of 0, which would let everybody read and write everything."""
    for run in (runs["RELEASES"], uninterrupted.run):
        found = {path.name: path.stat().st_mode & 0o777 for path in run.root.iterdir()}
        secret = {"config.json": 0o600, "checkpoints": 0o700, "ids": 0o700}
        if "cohort_key" in found:
            secret["cohort_key"] = 0o600
        assert {name: found.pop(name) for name in secret} == secret
        public = {"metrics.csv", "results.json", "model.npz", ".lock"}
        of_tensorboard = {name for name in found if "tfevents" in name or "." not in name}
        assert of_tensorboard >= {"end"}
        released = {"private_popularity.npy", "private_popularity.npy.sha256"}
        rest = found.keys() - of_tensorboard - released - {"privacy_ledger.jsonl"}
        assert rest == public
        assert all(mode & 0o044 == 0o044 for mode in found.values())


def test_secret_cohorts_have_a_key(uninterrupted, runs):
    path = runs["RELEASES"].root / "cohort_key"
    assert 0 < int(path.read_text(), 16) < 2**128
    # Tests want cohorts of the seed.
    assert not (uninterrupted.run.root / "cohort_key").exists()


def test_simulation_claims_nothing_for_these_users(runs):
    results = runs["SIMULATED"].results
    assert "epsilon" not in results
    direct = pld_epsilon(results["noise_multiplier"], 0.002, 2)
    assert direct * 0.99 <= results["simulated_epsilon"] <= 2.0
    assert results["privacy_statement"].startswith("SIMULATED")
    assert "privacy/epsilon" not in names_of(runs["SIMULATED"])


# What it cost.


def test_epsilon_is_one_number_everywhere(uninterrupted, runs):
    for name, run in (
        ("insecure_epsilon", uninterrupted.run),
        ("epsilon", runs["ADAPTIVE"]),
        ("insecure_epsilon", runs["RELEASED"]),
    ):
        epsilon = run.results[name]
        replayed = ledger_lib.read_ledger(run.ledger_path).accountant().epsilon()
        assert epsilon == run.rows[-1][f"privacy/{name}"] == replayed
        scalars = {tag: value for tag, _, value in run.events["end"]}
        ((_, _, row),) = run.events["hparams"]
        if name == "epsilon":
            assert scalars["privacy/epsilon"] == pytest.approx(epsilon)
            assert row["privacy"] == name
        else:
            # A number that is nobody's is a word in the row, and no promise.
            assert scalars["privacy/epsilon"] == math.inf
            assert row["privacy"] == f"{name} {epsilon:.4g}"
        # One number, one name, and the ledger says what it assumes too.
        found = departures.Departures.from_json(run.results["departures"])
        assert found == ledger_lib.read_ledger(run.ledger_path).header.departures
        names = {"epsilon", "insecure_epsilon", "simulated_epsilon"}
        assert names & run.results.keys() == {found.epsilon_name} == {name}


def test_epsilon_is_dp_accountings_in_every_round(uninterrupted):
    rows = uninterrupted.run.rows
    assert [row["round"] for row in rows] == list(range(1, 9))
    for row in rows:
        direct = pld_epsilon(1.5, 0.2, int(row["round"]))
        assert direct * 0.999 <= row[INSECURE] <= direct * 1.03


def test_target_is_met_and_not_wasted(runs):
    results = runs["ADAPTIVE"].results
    assert results["rounds"] == 4
    assert 4.9 < results["epsilon"] <= 5.0
    # Sum and clipped count, both on one sample, are one Gaussian mechanism on it. Renyi's bound on
    # the two is looser.
    direct = pld_epsilon(results["noise_multiplier"], 0.2, 4)
    assert direct * 0.999 <= results["epsilon"] <= direct * 1.03
    count = 0.05 * 20 / 0.5
    value = (results["noise_multiplier"] ** -2 - count**-2) ** -0.5
    both = [dp_accounting.GaussianDpEvent(value), dp_accounting.GaussianDpEvent(count)]
    event = dp_accounting.PoissonSampledDpEvent(0.2, dp_accounting.ComposedDpEvent(both))
    assert results["epsilon"] < rdp.RdpAccountant().compose(event, 4).get_epsilon(1e-5)


def test_clip_adapts(runs):
    clips = [row["privacy/clip_norm"] for row in runs["ADAPTIVE"].rows]
    assert len(set(clips)) == 4
    # By a factor of exp(0.2) at most, but for the noise.
    assert all(abs(math.log(b / a)) < 0.4 for a, b in itertools.pairwise(clips))


def test_noise_of_the_claimed_size_is_in_the_model(runs):
    first, second = (runs["LOUD"].checkpoint(number)[:6] for number in (1, 2))
    moved = np.concatenate([(b - a).ravel() for a, b in zip(first, second, strict=True)])
    expected = 100.0 * 0.25 / 20
    # 2,844 numbers: 1.3 percent of relative standard error.
    assert np.std(moved) == pytest.approx(expected, rel=0.08)
    assert abs(np.mean(moved)) < 5 * expected / math.sqrt(len(moved))
    # Not the noise of the other round: the two are independent.
    before = np.concatenate([array.ravel() for array in first])
    assert abs(np.corrcoef(before, moved)[0, 1]) < 0.1


def test_no_noise_means_no_privacy(runs):
    run = runs["NOISELESS"]
    assert run.results["epsilon"] == "inf"
    assert all(math.isinf(row["privacy/epsilon"]) for row in run.rows)
    assert "NOT PRIVATE" in run.results["privacy_statement"]


def test_runs_without_privacy_claim_none(runs):
    results = runs["NOT_PRIVATE"].results
    assert (results["epsilon"], results["delta"], results["noise_multiplier"]) == (None, None, None)
    assert "NOT PRIVATE" in results["privacy_statement"]


# TensorBoard.


def test_tensorboard_shows_what_the_table_has(runs):
    for name in ("NOT_PRIVATE", "RELEASED"):
        run = runs[name]
        shown = {(tag, step): value for tag, step, value in run.events["scalars"]}
        columns = {}
        for row in run.rows:
            for column in row.keys() - {"round"}:
                columns.setdefault(column, {})[int(row["round"])] = row[column]
        # What never changes is a text, unless it is quality or the loss; epsilon is a picture.
        curves = {
            column
            for column, values in columns.items()
            if len(set(values.values())) > 1 or "/validation/" in f"/{column}" or "loss" in column
        } - {"privacy/insecure_epsilon"}
        assert {tag for tag, _ in shown} == curves
        for column in curves:
            for number, value in columns[column].items():
                assert shown[column, number] == pytest.approx(value, rel=1e-6), column
        assert len(shown) == sum(len(columns[column]) for column in curves)
        texts = {tag: text for tag, _, text in run.events["texts"]}
        for column in columns.keys() - curves - {"privacy/insecure_epsilon"}:
            assert f"| {column} | `" in texts["configuration/constant_metrics"]


def test_tensorboard_has_texts_and_hyperparameters(uninterrupted, runs):
    for run, last, aggregator in (
        (uninterrupted.run, 8, "dp_gaussian"),
        (runs["ADAPTIVE"], 4, "dp_adaptive"),
    ):
        events = run.events
        texts = {(tag, step): text for tag, step, text in events["texts"]}
        assert texts["privacy/statement", last] == run.results["privacy_statement"]
        # Nothing went wrong, so what was planned is what came: never less.
        planned = texts["privacy/statement", 0].removeprefix("As planned: ")
        assert planned == run.results["privacy_statement"]
        assert "non_private/validation/" in texts["privacy/names", 0]
        assert "| `--embedding_dim` | `8` | `32` |" in texts["configuration/flags", 0]
        assert "| sampling_probability | `0.2` |" in texts["configuration/derived", 0]
        ((tag, _, session),) = events["hparams"]
        assert tag.endswith("/session_start_info")
        # What was chosen where no flag chose: aggregator and calibrated noise.
        chosen = {"aggregator": aggregator, "noise_multiplier": run.results["noise_multiplier"]}
        defaults = run_config.to_flags(RunConfig())
        flags = {**run.config["flags"], **chosen}
        others = session["other flags"].split()
        named = {name: v for name, v in session.items() if name not in ("other flags", "privacy")}
        assert named == {name: flags[name] for name in named}
        left = {name for name, v in flags.items() if v != defaults[name]} - named.keys()
        assert {other.partition("=")[0] for other in others} == {
            f"--{name}" for name in left - {"target_epsilon"}
        }


# The second time.


def test_complete_runs_are_not_computed_again(uninterrupted, server):
    before = {
        path: path.stat().st_mtime_ns
        for path in uninterrupted.run.root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    chain = server.start([train_step(DETERMINISTIC, uninterrupted.run.root)])
    assert server.wait(chain) == [0]
    assert "is complete" in server.stderr(chain)
    # But for the folder of TensorBoard, which depends on what else is around.
    said = (text.rpartition("--logdir")[0] for text in (server.stdout(chain), uninterrupted.stdout))
    assert len({tuple(text.split()) for text in said}) == 1
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_other_flags_are_refused_in_one_line(uninterrupted, server):
    flags = {**DETERMINISTIC, "embedding_dim": 9}
    chain = server.start([train_step(flags, uninterrupted.run.root)])
    assert server.wait(chain) == [2]
    (line,) = server.stderr(chain).splitlines()
    assert "--embedding_dim=9 (there: 8)" in line
    assert to_argv({}, uninterrupted.run.root)[0].split("=")[1] in line


def test_a_catalogue_is_chosen_of_what_enough_users_took(runs):
    run = runs["SELECTED"]
    chosen = json.loads((run.root / "private_catalogue.json").read_text())
    log = data.load_data(RunConfig(**SELECTED)).interactions
    # Nobody has more items than count, so a user's vector is even over all of them.
    taken = np.zeros([log.num_users, log.num_items])
    taken[log.user_index, log.item_index] = 1.0
    sums = (taken / np.sqrt(taken.sum(axis=1, keepdims=True))).sum(axis=0)
    # The worst of one user's items is one of weight 1, with so little noise.
    threshold = 1.0 + 0.25 * stats.norm.isf(1e-6)
    # Nine standard deviations of the noise either way: chance alone fails once in 1e18.
    assert set(log.item_ids[sums > threshold + 2.25]) <= set(chosen)
    assert not set(log.item_ids[sums < threshold - 2.25]) & set(chosen)
    assert 0 < len(chosen) < log.num_items
    with np.load(run.root / "model.npz") as weights:
        assert weights["items/embedding"].shape[0] == len(chosen)
    with (run.root / "ids" / "item_ids.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == chosen


def test_a_chosen_catalogue_is_a_part_of_epsilon(runs):
    run = runs["SELECTED"]
    contents = ledger_lib.read_ledger(run.root / "privacy_ledger.jsonl")
    assert [e.release for e in contents.entries] == ["catalogue", None]
    alone = pld_epsilon(0.25, 1.0, 1, delta=9e-6)
    assert alone < run.results["epsilon"] <= 60.0
    said = run.results["privacy_statement"]
    assert "with noise: catalogue (once)" in said
    assert "catalogue is taken from the data" not in said
    # How many items were taken at all is told nowhere but under its mark.
    assert run.config["derived"]["num_items"] is None
