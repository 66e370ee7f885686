"""Bytes that are cut off or flipped, in any file: the same result, or one line that names the file.

Every byte of a ledger is tried in `tests/privacy/test_ledger.py`.
"""

import os
import random
import re

import filmed_work
import pytest
from faulty_runs import FLAGS, read_model, read_outcome, to_argv

_SEED = 2
_MOMENT = "before rename checkpoints/program_state_4"
# What sessions write and do not read, or only to show it: whatever is in it, the model is the same.
_SHOWN = ("events.out", "ids/", ".lock")
_METRICS = "metrics.csv"
_SUMMED = re.compile("communication/|private/")
_NUM_FLIPS = int(os.environ.get("FEDREC_TFF_FAULTS_FLIPS", "8"))


def _damage(content, rng):
    """Kinds of damage, and what each leaves."""
    sizes = sorted({0, 1, len(content) // 2, len(content) - 1} - {len(content)})
    for size in sizes:
        yield f"cut to {size} bytes", content[:size]
    for _ in range(_NUM_FLIPS):
        place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= bit
        yield f"bit {bit} of byte {place}", bytes(flipped)


def _check(server, left_alone, name):
    session = server.train(left_alone.root)
    session.check_is_clean()
    if session.status != 0:
        named = (name, str(left_alone.root))
        assert session.status == 2, session.stderr
        assert any(part in session.last_line for part in named), session.last_line
        return "refused"
    expected = left_alone.outcome
    if name == _METRICS:
        # Rows that are gone are missed. It is written for people, has no digest, and of numbers in
        # it nobody knows what they were: neither model nor privacy rest on them, but what the
        # results sum up of rounds does.
        found = read_outcome(server, left_alone.root)
        assert found.model == expected.model
        assert found.spent == expected.spent
        assert found.ledger.startswith(left_alone.find(_MOMENT)[0]["privacy_ledger.jsonl"])
        assert {n: v for n, v in found.results.items() if not _SUMMED.search(n)} == {
            n: v for n, v in expected.results.items() if not _SUMMED.search(n)
        }
        return "told" if f"{_METRICS} lacks" in session.stderr else "the model is the same"
    found = read_outcome(server, left_alone.root)
    assert found.model == expected.model
    assert found.results == expected.results
    if not name.startswith(_SHOWN):
        found.check_is(expected)
    return "the same"


def _check_files(server, left_alone, state, names, seed):
    rng, failures, counts = random.Random(seed), [], {}
    for name in names:
        for kind, content in _damage(state[name], rng):
            left_alone.restore({**state, name: content})
            try:
                outcome = _check(server, left_alone, name)
            except AssertionError as error:
                outcome = "wrong"
                failures.append(f"{name}, {kind}: {str(error)[:1500]}")
                print(failures[-1], flush=True)
            counts.setdefault(name, {}).setdefault(outcome, 0)
            counts[name][outcome] += 1
    for name, found in counts.items():
        print(name, found)
    assert not failures, "\n\n".join(failures)


def _list_files(state, *starts):
    return [n for n, c in state.items() if c and any(n.startswith(start) for start in starts)]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["config.json", "privacy_ledger", "metrics.csv", "events", "ids"])
def test_damage_of_a_run_that_was_cut_short(server, left_alone, start):
    (state,) = left_alone.find(_MOMENT)
    names = _list_files(state, start)
    assert names
    _check_files(server, left_alone, state, names, _SEED)


@pytest.mark.slow
def test_damage_of_the_newest_checkpoint(server, left_alone):
    (state,) = left_alone.find(_MOMENT)
    _check_files(server, left_alone, state, ["checkpoints/program_state_3"], _SEED)


@pytest.mark.slow
def test_damage_of_a_complete_run(server, left_alone):
    """`results.json` makes it complete; what else it has is not read again."""
    state = left_alone.snapshots[-1].state
    for kind, content in _damage(state["results.json"], random.Random(_SEED)):
        left_alone.restore({**state, "results.json": content})
        session = server.train(left_alone.root)
        session.check_is_clean()
        assert session.status in (0, 2), kind
        if session.status == 2:
            assert "results.json" in session.last_line


@pytest.mark.slow
def test_lines_of_the_ledger_that_were_cut_off_are_missed(server, left_alone):
    """Also where no checkpoint is as young: by the rounds that were released."""
    (state,) = left_alone.find(_MOMENT)
    lines = state["privacy_ledger.jsonl"].splitlines(keepends=True)
    for num_left in range(len(lines)):
        without = {n: c for n, c in state.items() if not n.startswith("checkpoints/")}
        for files in (state, without):
            left_alone.restore({**files, "privacy_ledger.jsonl": b"".join(lines[:num_left])})
            server.train(left_alone.root).check_is_refused("privacy_ledger.jsonl")


@pytest.mark.slow
def test_damage_of_what_devices_keep(server, tmp_path):
    """The digest behind it tells; what is the same without it is taken."""
    root = tmp_path / "run"
    root.mkdir()
    kept = {"personal_tower": "scale_and_shift", "personal_state": "persistent"}
    flags = {n: v for n, v in FLAGS.items() if not n.startswith("private_evaluation")} | kept
    flags |= {"rounds": 2, "resume_copy": True}
    work = filmed_work.film(server, "train", to_argv(flags, root), root)
    state, expected = work.find("before rename checkpoints/program_state_2"), read_model(root)
    assert state["devices/round_1.npy"]

    def check(content):
        work.restore({**state, "devices/round_1.npy": content})
        session = work.run()
        if session.status != 0:
            session.check_is_refused("round_1.npy")
            return "refused"
        session.check_is_clean()
        assert read_model(root) == expected
        return "the same"

    cases = list(_damage(state["devices/round_1.npy"], random.Random(_SEED)))
    filmed_work.check_each(cases, check)


@pytest.fixture(scope="module", params=["table", "prepared"])
def data(request, server, tmp_path_factory):
    """A run over a table that was cut short, and the files that it reads."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(_SEED)
    rows = [
        f"u{user},i{item},{time}"
        for user in range(40)
        for time, item in enumerate(rng.sample(range(30), 8))
    ]
    table = folder / "table.csv"
    table.write_text("\n".join(["user_id,item_id,time", *rows]) + "\n")
    columns = {"dataset": "csv", "data_dir": table, "time_column": "time"}
    if request.param == "prepared":
        prepared = folder / "prepared"
        argv = [f"--{name}={value}" for name, value in columns.items() if name == "time_column"]
        argv = ["prepare", table, f"--output_dir={prepared}", "--for_private_runs", *argv]
        session = server.run("data", argv, folder)
        assert session.status == 0, session.stderr
        columns = {"dataset": "prepared", "data_dir": prepared}
    kept = {n: v for n, v in FLAGS.items() if not n.startswith(("synth", "private", "insecure"))}
    flags = {**kept, **columns, "noise_multiplier": 0.0, "catalogue": "data"}
    del flags["max_interactions_per_user"]
    flags |= {"rounds": 1, "rounds_per_evaluation": 1}
    root = folder / "run"
    session = server.train(root, flags)
    assert session.status == 0, session.stderr
    files = [table] if request.param == "table" else sorted(prepared.iterdir())
    return root, flags, [path for path in files if path.name != ".lock"]


@pytest.mark.slow
def test_damage_of_data(server, data):
    """No other data are taken for those that the run was begun with."""
    root, flags, files = data
    rng, failures, counts = random.Random(_SEED), [], {"refused": 0, "the same": 0}
    expected = read_model(root)
    (root / "results.json").unlink()
    for path in files:
        content = path.read_bytes()
        for kind, damaged in _damage(content, rng):
            path.write_bytes(damaged)
            session = server.run("train", to_argv(flags, root), root)
            try:
                session.check_is_clean()
                if session.status == 0:
                    counts["the same"] += 1
                    assert read_model(root) == expected
                else:
                    session.check_is_refused(path.name, str(path.parent), str(root))
                    counts["refused"] += 1
            except AssertionError as error:
                failures.append(f"{path.name}, {kind}: {str(error)[:1500]}")
                print(failures[-1], flush=True)
            (root / "results.json").unlink(missing_ok=True)
        path.write_bytes(content)
    print(counts)
    assert not failures, "\n\n".join(failures)
