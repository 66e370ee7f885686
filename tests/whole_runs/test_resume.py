"""Runs that are cut short and resumed, against a run that was left alone."""

import json
import shutil
import signal

import numpy as np
import pytest
from training_runs import DETERMINISTIC, TINY, Run, kill, train_step, without_times

from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.privacy import population_ledger

pytestmark = pytest.mark.slow

KILLED = -signal.SIGKILL
INSECURE = "privacy/insecure_epsilon"
# Without --insecure_deterministic_noise.
SECRET = {**TINY, "noise_multiplier": 1.5}
BUDGET = {
    **TINY,
    "target_epsilon": 2.0,
    "rounds": 10,
    "clients_per_round": 50,
    "execution": "debug",
}
ONE_ROUND = {**TINY, "target_epsilon": 2.0, "rounds": 1, "execution": "debug"}
# Where sessions end, one after the other, until the last one comes through. Checkpoints are due
# after rounds 3, 6 and 8.
CUTS = {
    "round by round": [
        # In round 1, before anything was computed.
        kill("after_ledger_append", 1),
        # Round 2 is computed and released, and lost.
        kill("after_release", 2),
        # Between the ledger's line of round 5 and the checkpoint of round 6.
        kill("after_ledger_append", 5),
        # Some of the checkpoint of round 6 is written.
        kill("in_save", 3),
    ],
    "at the seams": [
        # The checkpoint of round 3 is there, and no other was removed.
        kill("before_pruning", 1),
        # Round 5 is computed and not released, and a row of the table is torn.
        kill("before_release", 4, tear="metrics.csv"),
        # All is done, but for the results.
        kill("before_write_json", 1),
    ],
    "asked to": [
        {"point": "after_ledger_append", "call": 2, "number": int(signal.SIGINT)},
        {"point": "after_ledger_append", "call": 3, "number": int(signal.SIGTERM)},
    ],
}


def steps(flags, root, cuts):
    cuts = [{**c, "tear": str(root / c["tear"])} if "tear" in c else c for c in cuts]
    return [*(train_step(flags, root, **cut) for cut in cuts), train_step(flags, root)]


@pytest.fixture(scope="module")
def chains(tmp_path_factory, uninterrupted_process, server):
    """Starts all runs of this module; name to (folder, chain)."""
    root = tmp_path_factory.mktemp("resumed")
    wanted = {name: (DETERMINISTIC, cuts) for name, cuts in CUTS.items()}
    population = {"population_ledger": root / "users.jsonl", "population_epsilon": 40.0}
    wanted["secret"] = ({**SECRET, **population}, [kill("after_ledger_append", 5)])
    wanted["budget"] = (BUDGET, [kill("after_release", 5)])
    wanted["one round"] = (ONE_ROUND, [kill("after_ledger_append", 1)])
    return {
        name: (root / name, server.start(steps(flags, root / name, cuts)))
        for name, (flags, cuts) in wanted.items()
    }


def _mark(event):
    """What tells one point from another: of what a clock told its place alone."""
    tag, step, value = event
    has_value = "/time/" not in tag and tag != "_hparams_/session_start_info"
    return (tag, step, value if has_value else None)


def finish(server, chains, name):
    root, chain = chains[name]
    return Run(root, server), server.wait(chain), chain


@pytest.mark.parametrize("name", CUTS)
def test_resumed_run_is_the_uninterrupted_one(uninterrupted, server, chains, name):
    run, statuses, chain = finish(server, chains, name)
    cut = 130 if name == "asked to" else KILLED
    assert statuses == [*[cut] * len(CUTS[name]), 0], server.stderr(chain)

    for found, expected in zip(run.checkpoint(8), uninterrupted.run.checkpoint(8), strict=True):
        np.testing.assert_array_equal(found, expected)

    measured = {"non_private/seconds", "non_private/users_per_second"}
    measured |= {"git_revision", "privacy_statement"}
    measured.add("privacy_ledger_digest")
    expected = {k: v for k, v in uninterrupted.run.results.items() if k not in measured}
    assert {k: v for k, v in run.results.items() if k not in measured} == expected

    found, expected = without_times(run.rows), without_times(uninterrupted.run.rows)
    assert len(found) == 8
    for ours, theirs in zip(found, expected, strict=True):
        # A round that ran again is released with what had been spent by then.
        assert ours.pop(INSECURE) >= theirs.pop(INSECURE)
        assert ours == theirs
    assert run.rows[-1][INSECURE] == uninterrupted.run.rows[-1][INSECURE]
    # TensorBoard has each round once, whichever sessions computed it.
    for kind in ("scalars", "end", "hparams"):
        found, expected = (sorted(map(_mark, r.events[kind])) for r in (run, uninterrupted.run))
        assert found == expected
    config, expected = run.config, uninterrupted.run.config
    # Two runs, of the same flags.
    assert config["derived"].pop("run_id") != expected["derived"].pop("run_id")
    assert config == expected


def test_every_execution_is_in_the_ledger(server, chains):
    run, _, _ = finish(server, chains, "round by round")
    entries = ledger_lib.read_ledger(run.ledger_path).entries
    rounds = [entry.round_number for entry in entries]
    assert rounds == [1, 1, 2, 1, 2, 3, 4, 5, 4, 5, 6, 4, 5, 6, 7, 8]
    assert len({entry.execution for entry in entries}) == len(entries)
    assert "executed 16 times" in run.results["privacy_statement"]


def test_a_stop_saves_and_tells(server, chains):
    run, statuses, chain = finish(server, chains, "asked to")
    assert statuses == [130, 130, 0]
    for step, last in ((0, 2), (1, 5)):
        assert f"stopped after round {last}; the same command resumes" in server.stderr(chain, step)
        assert "Traceback" not in server.stderr(chain, step)
        assert server.stdout(chain, step) == ""
        assert f"resuming after round {last}" in server.stderr(chain, step + 1)
    # Nothing was lost, so nothing ran again.
    entries = ledger_lib.read_ledger(run.ledger_path).entries
    assert [entry.round_number for entry in entries] == list(range(1, 9))


def test_time_is_that_of_all_sessions(server, chains):
    run, _, chain = finish(server, chains, "asked to")
    evaluations = sum(row.get("non_private/time/evaluation_seconds", 0.0) for row in run.rows)
    assert run.results["non_private/seconds"] > evaluations > 0.0
    assert "8 rounds, " in server.stdout(chain)


def test_secret_noise_that_was_drawn_again_costs_again(uninterrupted, server, chains):
    run, statuses, chain = finish(server, chains, "secret")
    assert statuses == [KILLED, 0], server.stderr(chain)
    contents = ledger_lib.read_ledger(run.ledger_path)
    assert [entry.round_number for entry in contents.entries] == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8]
    assert (
        run.results["epsilon"] == contents.accountant().epsilon() == run.rows[-1]["privacy/epsilon"]
    )
    # The same flags but for the noise's source.
    assert run.results["epsilon"] > 1.02 * uninterrupted.run.results["insecure_epsilon"]
    assert "executed 10 times" in run.results["privacy_statement"]
    assert run.results["rounds"] == 8


def test_a_run_settles_with_its_population_what_it_spent(server, chains):
    run, statuses, chain = finish(server, chains, "secret")
    assert statuses == [KILLED, 0], server.stderr(chain)
    population = population_ledger.read_population(run.root.parent / "users.jsonl")
    (entry,) = population.entries
    contents = ledger_lib.read_ledger(run.ledger_path)
    assert (entry.state, entry.kind, entry.folder) == ("settled", "training", str(run.root))
    # Two of the rounds were executed twice: more than was reserved, and asked for.
    assert dict(entry.events) == dict(contents.spent_events())
    assert (entry.run_id, entry.ledger_digest) == (contents.header.run_id, contents.digest)


def test_a_ledger_that_was_cut_short_is_told_by_the_checkpoint(server, chains, tmp_path):
    run, _, _ = finish(server, chains, "secret")
    root = tmp_path / "run"
    shutil.copytree(run.root, root)
    (root / "results.json").unlink()
    # Which would tell by itself.
    (root / "metrics.csv").unlink()
    path = root / run.ledger_path.name
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    config = json.loads((root / "config.json").read_text())
    config["derived"]["population_ledger_id"] = None
    (root / "config.json").write_text(json.dumps(config))
    chain = server.start([train_step({**SECRET, "resume_copy": True}, root)])
    assert server.wait(chain) == [2], server.stderr(chain)
    line = server.stderr(chain).splitlines()[-1]
    assert "lacks the line that was its last when the checkpoint of round 8 was written" in line


def test_secret_noise_is_none_that_the_seed_gives_away(uninterrupted, server, chains):
    run, _, _ = finish(server, chains, "secret")
    ours, seeded = run.checkpoint(3)[0], uninterrupted.run.checkpoint(3)[0]
    assert np.abs(ours - seeded).max() > 1e-3


def test_the_budget_is_never_passed(server, chains):
    run, statuses, chain = finish(server, chains, "budget")
    assert statuses == [KILLED, 0], server.stderr(chain)
    contents = ledger_lib.read_ledger(run.ledger_path)
    rounds = [entry.round_number for entry in contents.entries]
    assert rounds[:7] == [1, 2, 3, 4, 5, 4, 5]
    assert rounds[-1] == run.results["rounds"] < 10
    accountant = contents.accountant()
    assert accountant.epsilon() == run.results["epsilon"] <= 2.0
    # One more would have passed it: nothing was left unused.
    assert accountant.epsilon_after(rounds[-1] + 1) > 2.0
    assert f"stopped after round {rounds[-1]} of 10" in server.stderr(chain)
    # The model that is reported is saved, though its round was no round for a checkpoint.
    assert run.checkpoint_rounds[-1] == rounds[-1]


def test_a_budget_spent_on_nothing_is_said(server, chains):
    run, statuses, chain = finish(server, chains, "one round")
    assert statuses == [KILLED, 0], server.stderr(chain)
    assert run.results["rounds"] == 0
    assert 1.9 < run.results["epsilon"] <= 2.0
    assert "stopped after round 0 of 1" in server.stderr(chain)


def test_damaged_checkpoint_is_named_and_the_one_before_does(uninterrupted, server, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(uninterrupted.run.root, root)
    (root / "results.json").unlink()
    run = Run(root, server)
    latest = root / "checkpoints" / "program_state_8"
    latest.write_bytes(latest.read_bytes()[:100])
    # What a power cut can leave.
    (root / "metrics.csv").write_bytes(b"")

    chain = server.start([train_step({**DETERMINISTIC, "resume_copy": True}, root)])
    assert server.wait(chain) == [2], server.stderr(chain)
    assert "Traceback" not in server.stderr(chain)
    assert "checkpoints/program_state_8" in server.stderr(chain).splitlines()[-1]

    latest.unlink()
    chain = server.start([train_step(DETERMINISTIC, root)])
    assert server.wait(chain) == [0], server.stderr(chain)
    for found, expected in zip(run.checkpoint(8), uninterrupted.run.checkpoint(8), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [row["round"] for row in run.rows] == [7, 8]


def test_other_data_are_refused(uninterrupted, server, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(uninterrupted.run.root, root)
    (root / "results.json").unlink()
    config = uninterrupted.run.config
    config["non_private/data"]["fingerprint"] = "another"
    (root / "config.json").write_text(json.dumps(config))
    chain = server.start([train_step({**DETERMINISTIC, "resume_copy": True}, root)])
    assert server.wait(chain) == [2]
    assert "the data are not those" in server.stderr(chain).splitlines()[-1]
