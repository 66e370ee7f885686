"""Command lines that are wrong, as people type them: a status, and one line of errors."""

import json
import shutil

import forked_binaries
import numpy as np
import pytest

from tests.serving import shipped_models


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    """Files that are damaged in one way each."""
    root = tmp_path_factory.mktemp("bad")
    run = shipped_models.write_run(root / "run")
    for name in ("json", "model", "ids", "stranger"):
        shutil.copytree(run.root, root / name)
    (root / "json" / "config.json").write_text('{"flags": [')
    (root / "model" / "model.npz").write_bytes(b"PK\x03\x04\0\0")
    (root / "ids" / "ids" / "item_ids.csv").write_bytes(b"\xff\xfe\0")
    config = json.loads(run.config.read_text())
    config["flags"]["model"] = "tower.py:build"
    (root / "stranger" / "config.json").write_text(json.dumps(config))
    (root / "events.csv").write_bytes(b"user,item\n\x1b[31ma,b\n\xff,c\n")
    (root / "empty.csv").write_bytes(b"\xef\xbb\xbf")
    (root / "flags.cfg").write_bytes(b"--seed=1\n--rounds=\xff\n")
    (root / "ledger.jsonl").write_bytes(b'{"population_ledger": 2}\n')
    (root / "loop.cfg").write_text("--no_such_flag=a\nb\n")
    np.save(root / "array.npy", np.zeros(3))
    return root


def _check(ended, names):
    for one, name in zip(ended, names, strict=True):
        # What a binary says that it does is no error.
        lines = [line for line in one.stderr.splitlines() if line != "starting TensorFlow"]
        assert one.returncode == 2, (one.args, lines)
        assert len(lines) == 1, (one.args, lines)
        assert name in lines[0]
        assert lines[0].isprintable()
        assert not one.stdout


def _run_all(binary, cases):
    _check(
        forked_binaries.run_all(binary, [arguments for arguments, _ in cases]),
        [name for _, name in cases],
    )


def test_train(folder, tmp_path):
    out = f"--output_dir={tmp_path / 'out'}"
    table = ["--dataset=csv", "--user_column=user", "--item_column=item", out]
    _run_all(
        "train",
        [
            ([], "--output_dir is required"),
            ([out, "--seed=a"], "seed"),
            ([out, "--no_such=1"], "no_such"),
            ([out, "--rounds=1e3"], "rounds"),
            ([out, "--clip_norm=nan", "--noise_multiplier=1"], "--clip_norm=nan"),
            ([out, "--target_epsilon=-1"], "--target_epsilon"),
            ([out, "--aggregator=no.such:thing"], "--aggregator"),
            ([out, "--aggregator=\n"], "--aggregator"),
            ([out, "--model=nowhere.py:build"], "--model: there is no file nowhere.py"),
            ([out, "more"], "'more' is no flag"),
            ([out, f"--flagfile={folder / 'flags.cfg'}"], "--flagfile"),
            ([out, f"--flagfile={folder / 'loop.cfg'}"], "no_such_flag"),
            ([out, f"--flagfile={folder / 'nowhere.cfg'}"], "nowhere.cfg"),
            ([out, f"--flagfile={folder}"], "flagfile"),
            ([*table, f"--data_dir={folder / 'events.csv'}"], "events.csv:3: byte 0xff"),
            ([*table, f"--data_dir={folder / 'empty.csv'}"], "empty.csv is empty"),
            ([*table, f"--data_dir={folder / 'nowhere.csv'}"], "nowhere.csv"),
            ([*table, f"--data_dir={folder / 'array.npy'}"], "array.npy"),
            ([*table, f"--data_dir={folder / 'events.csv'}", "--encoding=hex"], "encoding"),
            ([f"--output_dir={folder / 'json'}"], "config.json"),
        ],
    )
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.parametrize("binary", ["recommend", pytest.param("export", marks=pytest.mark.slow)])
def test_what_opens_a_run(folder, tmp_path, binary):
    more = ["--history=i5"] if binary == "recommend" else [f"--output_dir={tmp_path / 'export'}"]
    before = sorted(folder.rglob("*"))
    _run_all(
        binary,
        [
            (more, "name"),
            ([str(folder / "nowhere"), *more], "nowhere"),
            ([str(folder / "json"), *more], "config.json"),
            ([str(folder / "stranger"), *more], "--model=tower.py:build"),
            ([str(folder / "events.csv"), *more], "events.csv"),
        ],
    )
    assert sorted(folder.rglob("*")) == before
    assert not list(tmp_path.iterdir())


def test_ledgers_and_reports(folder, tmp_path):
    _run_all(
        "ledger",
        [
            ([], "write one of"),
            (["show", str(folder / "ledger.jsonl")], "ledger.jsonl:1"),
            (["show", str(folder / "nowhere.jsonl")], "nowhere.jsonl"),
            (["show", str(folder)], str(folder)),
            (["settle", str(folder / "ledger.jsonl"), str(folder / "run")], "no private run"),
            (["create", str(tmp_path / "l"), "--epsilon=nan", "--delta=1e-5"], "epsilon"),
        ],
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_files_of_a_model_that_are_damaged(folder):
    """TensorFlow is imported before these are looked at."""
    _run_all(
        "recommend",
        [
            ([str(folder / "model"), "--history=i5"], "model.npz"),
            ([str(folder / "ids"), "--history=i5"], "item_ids.csv"),
        ],
    )
