"""The binary as its users meet it."""

import json
import re

import binaries
import forked_binaries
import pytest

_TINY = [
    "--synthetic_users=100",
    "--synthetic_items=160",
    "--max_interactions_per_user=12",
    "--embedding_dim=8",
    "--num_blocks=0",
    "--num_negatives=16",
    "--batch_size=0",
    "--clients_per_round=30",
    "--rounds=10",
    "--execution=debug",
]
# What forks need not import again.
_IMPORTS = [
    "fedrec_tff.studies.audit.session",
    "fedrec_tff.studies.audit.canary_audit",
    "fedrec_tff.studies.audit.membership_audit",
    "fedrec_tff.studies.audit.adjacent_audit",
    "fedrec_tff.studies.audit.plots",
]


def start(*flags):
    return binaries.start("audit", *flags, umask=0)


_CANARY = ["--num_canaries=100", "--target_epsilon=8", *_TINY]
_PREDICTABLE = ["--insecure_deterministic_noise", *_CANARY, "--rounds=2"]
_OTHER_ATTACKS = {
    "members": ["--attack=membership", *_TINY],
    "adjacent": [
        *("--attack=adjacent", "--num_runs=12", "--rounds_per_run=1", *_TINY),
        *("--noise_multiplier=1", "--clients_per_round=10"),
    ],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Audits by canaries: of a sound run, and of one with predictable noise."""
    root = tmp_path_factory.mktemp("audits")
    sound = start(f"--output_dir={root / 'sound'}", *_CANARY)
    found = _run_in_forks(root, {"predictable": _PREDICTABLE})
    return found | {"sound": (root / "sound", *binaries.finish(sound))}


@pytest.fixture(scope="module")
def finished_later(tmp_path_factory):
    """Audits of members, and by adjacent data."""
    return _run_in_forks(tmp_path_factory.mktemp("audits"), _OTHER_ATTACKS)


def _run_in_forks(root, flags):
    """Of each audit: its folder, status and what it printed."""
    commands = [[f"--output_dir={root / name}", *own] for name, own in flags.items()]
    ended = forked_binaries.run_all("audit", commands, _IMPORTS)
    return {
        name: (root / name, one.returncode, one.stdout, one.stderr)
        for name, one in zip(flags, ended, strict=True)
    }


def test_a_sound_run_exits_with_zero_and_leaves_its_files(finished):
    root, status, stdout, stderr = finished["sound"]
    assert status == 0, stderr
    assert "NO VIOLATION FOUND" in stdout
    assert "claimed, at delta 1e-05" in stdout
    found = json.loads((root / "audit.json").read_text())
    assert not found["accuses"]
    # What was found of users is the owner's alone.
    assert root.stat().st_mode & 0o077 == 0
    assert (root / "audit.json").stat().st_mode & 0o077 == 0
    assert 7.9 < found["epsilon_claimed"] <= 8.0
    assert found["epsilon_lower_bound"] < found["epsilon_claimed"]
    assert found["audit"]["num_canaries"] == 100
    assert found["flags"]["target_epsilon"] == 8.0
    assert {"noise level", "clipping", "turns of clients"} <= {c["name"] for c in found["checks"]}
    assert (root / "canary.png").read_bytes().startswith(b"\x89PNG")
    # No warnings, no logs: the data, the progress.
    assert re.fullmatch(r"synthetic:.*\nstarting TensorFlow\n(round \d+/10 .*\n){5}", stderr)


def test_an_accused_run_exits_with_one(finished):
    root, status, stdout, _ = finished["predictable"]
    assert status == 1
    assert "VIOLATION: the run does not keep what it claims. noise of two runs" in stdout
    found = json.loads((root / "audit.json").read_text())
    assert found["accuses"]
    # Noise of the seed gives nobody an epsilon, claimed or not.
    assert 7.9 < found["insecure_epsilon_claimed"] <= 8.0
    assert "epsilon_claimed" not in found
    assert "claimed, insecure, at delta 1e-05" in stdout


@pytest.mark.slow
def test_membership(finished_later):
    root, status, stdout, stderr = finished_later["members"]
    assert status == 0, stderr
    assert "loss_over_popularity" in stdout
    assert "NO CLAIM" in stdout
    found = json.loads((root / "audit.json").read_text())
    assert found["epsilon_claimed"] == "inf"
    assert set(found["attacks"]) == {"loss", "rank", "loss_over_popularity"}
    assert 0.0 <= found["attacks"]["loss"]["auc"] <= 1.0
    assert (root / "membership.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_adjacent_data(finished_later):
    root, status, stdout, stderr = finished_later["adjacent"]
    assert status == 0, stderr
    assert "NO VIOLATION FOUND" in stdout
    found = json.loads((root / "audit.json").read_text())
    names = {check["name"] for check in found["checks"]}
    assert {"population", "split", "cohorts", "sum of updates", "noise level"} <= names
    assert len(found["comparisons"]) == 5
    assert not any(ids for one in found["comparisons"] for ids in one["affected"].values())
    names = [departure["name"] for departure in found["departures"]]
    assert names == ["trusted_server", "secret_cohorts", "users_from_data"]
    # The claim is that of a round.
    assert found["bounds"]["whole_runs"]["epsilon"] < found["epsilon_claimed"] < 2.0
    assert (root / "adjacent.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"run 24/24 ", stderr)


def test_tensorboard_shows_it(finished):
    from tensorboard.backend.event_processing import event_accumulator

    root = finished["sound"][0]
    events = event_accumulator.EventAccumulator(str(root))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    # What was found is exact, and epsilon covers none of it.
    for name in ("epsilon_lower_bound", "cosines/canaries", "canary"):
        tag = f"2 non_private/audit/{name}"
        assert tag in tags
        assert "epsilon does not cover it" in events.SummaryMetadata(tag).summary_description
    assert tags >= {"2 audit/epsilon_claimed", "audit/verdict", "configuration/flags"}


# Without TensorFlow.


_MISTAKES = [
    (["--attack=phishing"], "attack"),
    (["--num_canaries=1"], "--num_canaries=1"),
    (["--num_canaries=1.5"], "num_canaries"),
    (["--attack=membership", "--num_canaries=5000"], "--num_canaries means nothing"),
    (["--attack=membership", "--num_shadow_models=3"], "--num_shadow_models=3"),
    (["--target_epsilon=nan"], "--target_epsilon=nan"),
    (["--clients_per_round=4500"], "--clients_per_round=4500"),
    (["--aggregator=dp_hierarchical", "--noise_multiplier=1"], "adjacent audits edges"),
    (["--attack=adjacent"], "this one makes none"),
    (["--attack=adjacent", "--noise_multiplier=1", "--num_runs=5"], "--num_runs=5"),
    (["--num_runs=50"], "--num_runs means nothing"),
    (["rounds=3"], "'rounds=3'"),
]


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """What became of each mistake, and a folder in which nothing may be left."""
    root = tmp_path_factory.mktemp("mistakes")
    commands = [[f"--output_dir={root / 'audit'}", *flags] for flags, _ in _MISTAKES]
    return root, forked_binaries.run_all("audit", commands, _IMPORTS[:1])


@pytest.mark.parametrize("number", range(len(_MISTAKES)), ids=[said for _, said in _MISTAKES])
def test_mistakes_are_told_in_a_line(mistaken, number):
    root, ended = mistaken
    assert ended[number].returncode == 2
    stderr = ended[number].stderr
    lines = [line for line in stderr.splitlines() if not line.startswith("synthetic:")]
    assert len(lines) == 1, stderr
    assert _MISTAKES[number][1] in lines[0]
    assert not (root / "audit" / "audit.json").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    status, _, stderr = binaries.finish(start(f"--output_dir={tmp_path}"))
    assert status == 2
    assert "not empty" in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
