"""Planted secrets turn up nowhere but where they are said to be.

Raw ids of users, the key of the cohorts, keys of noise and of masks, keys and passwords of the
environment: none is in a log, configuration, ledger, traceback, event file, report or export.
`docs/security.md` has the places that do hold some, and why.
"""

import base64
import gzip
import os
import traceback

import binaries
import numpy as np
import pandas as pd
import planted
import pytest

from fedrec_tff import errors
from fedrec_tff.anonymization import keys
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading
from fedrec_tff.privacy import noise
from fedrec_tff.run import data, session
from fedrec_tff.run.display import summary
from fedrec_tff.run.finished import finished_run
from fedrec_tff.run.folder import model_file
from fedrec_tff.secure_sums.masking import identity, key_agreement

_STEM = "PlantedPerson"
_UUID = "0a1b2c3d-4e5f-4a6b-8c7d-9e8f7a6b5c4d"
_USER, _COHORT_KEY, _NOISE_KEY = "user ids", "cohort key", "noise key"
_PASSWORD = "correct-horse-battery-staple"
_NUM_USERS, _NUM_ITEMS = 24, 12
# What holds raw ids, and the key that draws cohorts; both are their owner's alone.
_IDS, _KEY_FILE = "ids/user_ids.csv", "cohort_key"


def _write_log(path, num_users=_NUM_USERS):
    """Users whose ids nobody could take for anything else."""
    rows = [
        (f"{_STEM}-{user:04d}@mail.invalid", f"item-{(user * 5 + step) % _NUM_ITEMS}", 1000 + step)
        for user in range(num_users)
        for step in range(5)
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    table.to_csv(path, index=False)
    return path


def _plant_users():
    secrets = planted.Planted()
    secrets.add_text(_USER, _STEM)
    return secrets


def _config(root, **flags):
    return RunConfig(
        dataset="csv",
        data_dir=str(root / "log.csv"),
        time_column="timestamp",
        embedding_dim=2,
        num_negatives=2,
        history_length=4,
        clients_per_round=8.0,
        rounds=2,
        rounds_per_evaluation=1,
        execution="debug",
        **flags,
    )


_MASKED = {
    "aggregator": "secure_mean",
    "secure_sum": "masked",
    "signed_keys": True,
    "sampling": "fixed_size",
}
_PRIVATE = {"noise_multiplier": 1.0, "catalogue": "data"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(_PRIVATE, id="dp"),
        pytest.param(_MASKED, id="masked", marks=pytest.mark.slow),
        pytest.param({"personal_tower": "embedding"}, id="personal", marks=pytest.mark.slow),
        pytest.param(
            {
                "personal_tower": "embedding",
                "personal_state": "persistent",
                **_PRIVATE,
                "popularity_noise_multiplier": 1.0,
                "private_evaluation_noise_multiplier": 1.0,
            },
            id="all",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"aggregator": "local_gaussian", "noise_multiplier": 1.0, "catalogue": "data"}
            | {"max_rounds_per_user": 2},
            id="local",
            marks=pytest.mark.slow,
        ),
    ],
)
def finished(request, tmp_path_factory):
    """A run, all that was drawn for it, and what it said."""
    root = tmp_path_factory.mktemp("planted")
    _write_log(root / "log.csv")
    secrets, private_keys = _plant_users(), []
    with pytest.MonkeyPatch.context() as patched:
        draws = planted.Draws(patched)
        # Read in the graph, where nothing else sees it: the kernel's answer is this one.
        (root / "uuid").write_text(f"{_UUID}\n")
        patched.setattr(noise, "_KERNEL_UUID", str(root / "uuid"))
        _note_keys(patched, private_keys)
        patched.setenv("WANDB_API_KEY", _PASSWORD)
        patched.setenv("MLFLOW_TRACKING_URI", f"https://somebody:{_PASSWORD}@tracking.invalid")
        patched.setenv(keys.ENVIRONMENT_VARIABLE, _PASSWORD)
        session.run(_config(root, **request.param), root / "run")
        for seed in noise.draw_secret_seed().numpy():
            secrets.add_word(_NOISE_KEY, int(seed))
    secrets.add_text(_NOISE_KEY, _UUID)
    secrets.add_text(_NOISE_KEY, _UUID.replace("-", ""))
    secrets.add_text("password", _PASSWORD)
    for key in private_keys:
        secrets.add_bytes("key of a mask", key)
    for caller, drawn in draws.by_caller.items():
        for one in drawn:
            secrets.add_bytes(caller, one)
    return root, request.param, secrets, draws, private_keys


def _note_keys(patched, found):
    """Keeps private keys of masked sums, which the library draws where Python does not see it."""
    create, pair = identity.create_identities, key_agreement.KeyPair.__init__

    def create_noting(number):
        made = create(number)
        found.extend(one.key.private_bytes_raw() for one in made)
        return made

    def make(self, private=None):
        pair(self, private)
        found.append(self.private)

    patched.setattr(identity, "create_identities", create_noting)
    patched.setattr(key_agreement.KeyPair, "__init__", make)


def test_nothing_secret_is_in_a_runs_folder(finished):
    root, flags, secrets, draws, private_keys = finished
    expected = {_IDS: {_USER}}
    if flags.get("catalogue") and "local" not in flags.get("aggregator", ""):
        expected[_KEY_FILE] = {"run/folder/run_identity.py"}
    assert secrets.find_in_folder(root / "run") == expected
    if flags is _MASKED:
        # Two identities of two keys each, a round of eight, and more.
        assert len(private_keys) >= 2 * 8 * 3
        assert any("masking" in caller for caller in draws.by_caller)


def test_nothing_secret_is_printed_or_put_in_a_report(finished, capfd, tmp_path):
    from fedrec_tff.studies.report import page

    root, _, secrets, _, _ = finished
    run = finished_run.find(root / "run")
    print(summary.describe_results(run.results, root / "run"))
    page.write([root / "run"], tmp_path / "report.html")
    out, err = capfd.readouterr()
    assert "recall" in out
    assert secrets.find((out + err).encode()) == set()
    assert secrets.find_in_folder(tmp_path) == {}


# The looking itself.


@pytest.mark.parametrize("layer", ["bytes", "zip", "gzip", "parquet", "array", "base64"])
def test_what_is_planted_is_found_in_whatever_it_is_packed(layer, tmp_path):
    secret, text = bytes(range(200, 232)), f"{_STEM}-0001@mail.invalid"
    secrets = _plant_users()
    secrets.add_bytes("key", secret)
    path = tmp_path / "found"
    words = np.frombuffer(secret, np.uint64)
    if layer == "bytes":
        path.write_bytes(b"...." + secret[8:24] + text.encode() + str(int(words[1])).encode())
    elif layer == "zip":
        with path.open("wb") as file:
            np.savez_compressed(file, words=words[::-1], names=np.array([text]))
    elif layer == "gzip":
        path.write_bytes(gzip.compress(f"{secret.hex()} {text}".encode()))
    elif layer == "parquet":
        pd.DataFrame({"name": [text] * 9, "key": [secret.hex()] * 9}).to_parquet(path)
    elif layer == "array":
        np.save(path.with_suffix(".npy"), np.array([text]))
        np.save(tmp_path / "found-2", words.astype(np.int64))
    else:
        path.write_bytes(base64.b64encode(b"x" + secret + text.encode()))
    found = secrets.find_in_folder(tmp_path)
    assert set().union(*found.values()) == {_USER, "key"}
    chance = np.random.default_rng(1).bytes(1 << 20)
    assert secrets.find(chance) == set()


# Errors.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("time", "{id},item-1,soon\n"),
        ("missing", "{id},,5\n"),
        ("columns", "{id},item-1\n"),
        ("more", "{id},item-1,5,6,7\n"),
    ],
)
def test_a_malformed_row_is_named_by_its_line(name, text, tmp_path):
    path = _write_log(tmp_path / "log.csv")
    with path.open("a") as file:
        file.write(text.format(id=f"{_STEM}-9999@mail.invalid"))
    with pytest.raises(errors.UserError) as caught:
        loading.load(data.create_dataset_config(_config(tmp_path)))
    message = str(caught.value)
    assert f"log.csv:{_NUM_USERS * 5 + 2}" in message
    assert _plant_users().find(message.encode()) == set()


@pytest.mark.slow
def test_a_traceback_shows_code_and_no_values(tmp_path, monkeypatch, capfd):
    def crash(*args):
        raise RuntimeError("a bug")

    _write_log(tmp_path / "log.csv")
    monkeypatch.setattr(model_file, "save", crash)
    with pytest.raises(RuntimeError) as caught:
        session.run(_config(tmp_path, **_PRIVATE), tmp_path / "run")
    traceback.print_exception(caught.value)
    out, err = capfd.readouterr()
    assert "Traceback" in err
    secrets = _plant_users()
    key = (tmp_path / "run" / _KEY_FILE).read_text()
    secrets.add_bytes(_COHORT_KEY, bytes.fromhex(key))
    assert secrets.find((out + err).encode()) == set()
    assert secrets.find_in_folder(tmp_path / "run") == {_IDS: {_USER}, _KEY_FILE: {_COHORT_KEY}}


# All that makes files, as its users start it.

_PLUG_IN = """
def build():
    raise RuntimeError("this plug-in has a mistake")
"""
# What holds raw ids of users, and must: docs/security.md says why. All are their owner's alone.
_HOLD_IDS = (
    # The maps of ids, one a run.
    "ids/user_ids.csv",
    # What each user got, by id, asked for by --user_metrics.
    "user_metrics.parquet",
    "user_metrics.csv",
    # The data themselves, prepared.
    "prepared/",
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Folders and outputs of each binary, one after the other."""
    root = tmp_path_factory.mktemp("chain")
    _write_log(root / "log.csv", 40)
    (root / "plug_in.py").write_text(_PLUG_IN)
    (root / "broken.csv").write_text(
        (root / "log.csv").read_text() + f"{_STEM}-9999@mail.invalid,item-1,soon\n"
    )
    (root / "key").write_text(f"{_PASSWORD}\n")
    (root / "key").chmod(0o600)
    made = root / "made"
    made.mkdir()
    log, times = root / "log.csv", "--time_column=timestamp"
    csv = ("--dataset=csv", f"--data_dir={log}", times)
    broken = ("--dataset=csv", f"--data_dir={root / 'broken.csv'}", times)
    small = ("--embedding_dim=2", "--num_negatives=2", "--history_length=4", "--rounds=2")
    small = (*small, "--clients_per_round=10")
    private = ("--target_epsilon=4", "--target_delta=1e-3", "--catalogue=data")
    private = (*private, "--popularity_noise_multiplier=3")
    run, plain, people = str(made / "run"), str(made / "plain"), str(made / "people.jsonl")
    shared = (*private, f"--population_ledger={people}")
    plug_in, key = f"--aggregator={root / 'plug_in.py'}:build", f"--key_file={root / 'key'}"

    def to(name):
        return f"--output_dir={made / name}"

    environment = {
        "WANDB_API_KEY": _PASSWORD,
        "MLFLOW_TRACKING_URI": f"https://somebody:{_PASSWORD}@tracking.invalid",
        keys.ENVIRONMENT_VARIABLE: _PASSWORD,
    }
    steps = {
        "look": ("data", str(log)),
        "create": ("ledger", "create", people, "--epsilon=8", "--delta=1e-2"),
        "train": ("train", *csv, *small, *shared, to("run")),
        "plain": ("train", *csv, *small, to("plain")),
        "broken row": ("train", *broken, *small, to("broken")),
        "plug-in": ("train", *csv, *small, plug_in, to("plug-in")),
        "evaluate": ("evaluate", run, plain, f"--output={made / 'evaluation'}"),
        "compare": ("compare", run, plain),
        "report": ("report", str(made), f"--output={made / 'report.html'}"),
        "export": ("export", run, to("export")),
        "compress": ("compress", run, to("compress")),
        "recommend": ("recommend", run, "--history=item-1;item-2", f"--output={made / 'l.csv'}"),
        "show": ("ledger", "show", people),
        "prepare": ("data", "prepare", str(log), times, to("prepared")),
        "sweep": ("sweep", *csv, *small, "--sweep=client_learning_rate=0.1,0.2", to("sweep")),
        "baselines": ("baselines", *csv, "--baselines=popularity,ease,ials", to("baselines")),
        "anonymize": ("anonymize", *csv, key, to("anonymized")),
    }
    said = {}
    for name, (binary, *arguments) in steps.items():
        said[name] = binaries.run(binary, *arguments, env={**os.environ, **environment})
    return made, said


@pytest.mark.slow
def test_no_binary_prints_or_writes_what_is_secret(chain):
    made, said = chain
    failing = {"broken row": 2, "plug-in": 2}
    ended_otherwise = {
        name: ended.stderr
        for name, ended in said.items()
        if ended.returncode != failing.get(name, 0)
    }
    assert ended_otherwise == {}
    assert "this plug-in has a mistake" in said["plug-in"].stderr
    secrets = _plant_users()
    secrets.add_text("password", _PASSWORD)
    secrets.add_bytes(_COHORT_KEY, bytes.fromhex((made / "run" / "cohort_key").read_text()))
    for name, ended in said.items():
        assert secrets.find((ended.stdout + ended.stderr).encode()) == set(), name
    found = secrets.find_in_folder(made)
    assert found.pop("run/cohort_key") == {_COHORT_KEY}
    holding = {path for path in found if any(known in path for known in _HOLD_IDS)}
    assert {path: found[path] for path in found.keys() - holding} == {}
    assert all(found[path] == {_USER} for path in holding)
    for path in holding:
        above = [made / path, *(made / path).parents]
        assert any(one.stat().st_mode & 0o077 == 0 for one in above[: len(path.split("/"))]), path
