"""The binary as its users meet it."""

import collections
import csv
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import forked_binaries
import pytest

from fedrec_tff.anonymization.config import AnonymizationConfig
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading, tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 300.0
KEY = "3f9a0c77d1e24b58a6"


def run_binary(*flags, key=KEY, prologue=""):
    environment = {k: v for k, v in os.environ.items() if k != "FEDREC_TFF_PSEUDONYM_KEY"}
    if key is not None:
        environment["FEDREC_TFF_PSEUDONYM_KEY"] = key
    command = ["-m", "experiments.anonymize"]
    if prologue:
        command = ["-c", prologue]
    return subprocess.run(
        [sys.executable, *command, *flags],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="module")
def flags_and_modules():
    """Flags as absl knows them, and what the import dragged in."""
    code = (
        "import json, sys\n"
        "from experiments import anonymize\n"
        "from absl import flags\n"
        "known = flags.FLAGS.flags_by_module_dict()['experiments.anonymize']\n"
        "print(json.dumps([{f.name: [f.default, f.help] for f in known}, sorted(sys.modules)]))\n"
    )
    return json.loads(run_binary(prologue=code).stdout)


def test_every_setting_is_a_flag_with_its_default(flags_and_modules):
    known, _ = flags_and_modules
    for field in dataclasses.fields(AnonymizationConfig):
        assert known[field.name][0] == field.default, field.name
    for field in dataclasses.fields(RunConfig):
        if field.name in known and field.name not in ("dataset", "insecure_deterministic_noise"):
            default, text = known[field.name]
            assert default == field.default
            assert text.endswith(field.metadata["spec"].help)


def test_flags_are_read_before_anything_heavy_is_imported(flags_and_modules):
    _, modules = flags_and_modules
    assert not {"tensorflow", "pandas", "pyarrow"} & set(modules)


def test_help_shows_every_flag(flags_and_modules):
    known, _ = flags_and_modules
    found = run_binary("--help").stdout
    for name in known:
        assert re.search(rf"--(\[no\])?{name}:", found), name


_MISTAKES = [
    (["--k=0"], ["--k=0", "at least 1"]),
    (["--k=4000"], ["--k=4000", "3,000 users only"]),
    (["--l=17", "--k=20"], ["--l=17", "16 values"]),
    (["--quasi_identifiers=height"], ["height", "there are: age_group"]),
    (["--quasi_identifiers=", "--k=3"], ["--k", "without quasi-identifiers"]),
    (["--age_bands=young"], ["--age_bands=young", "18,25,35"]),
    (["--item_epsilon=-1"], ["--item_epsilon=-1", "0.01 to 20"]),
    (["--item_epsilon=1", "--k_core=2"], ["--k_core", "--item_epsilon"]),
    (["--time_granularity=hour"], ["time_granularity", "month"]),
    (["--dataset=adjacency"], ["dataset", "ml-100k"]),
    (["--dataset=csv"], ["--data_dir"]),
    (["--dataset=csv", "--data_dir=/no/such.csv"], ["/no/such.csv"]),
    (["--dataset=ml-1m", "--synthetic_users=20"], ["--synthetic_users", "means nothing"]),
    (["--users_file=x.csv"], ["--users_file", "--dataset=csv"]),
    (["--key_file=/no/such.key"], ["/no/such.key", "openssl rand"]),
    (["k=7"], ["'k=7'", "--name=value"]),
    (["--output_dir=OCCUPIED"], ["something already"]),
    (["--output_dir=/proc/no/such"], ["/proc"]),
    (["--max_suppressed_fraction=1", "--k=2000"], ["would suppress all 3,000"]),
]


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """What became of each mistake, and the folder in which all were made."""
    root = tmp_path_factory.mktemp("mistakes")
    (root / "occupied").mkdir()
    (root / "occupied" / "thesis.tex").write_text("mine")
    commands = []
    for flags, _ in _MISTAKES:
        flags = [flag.replace("OCCUPIED", str(root / "occupied")) for flag in flags]
        if not any(flag.startswith("--output_dir") for flag in flags):
            flags.append(f"--output_dir={root / 'out'}")
        commands.append(flags)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FEDREC_TFF_PSEUDONYM_KEY", KEY)
        imports = ["fedrec_tff.datasets.loading", "fedrec_tff.studies.anonymization.session"]
        return root, forked_binaries.run_all("anonymize", commands, imports)


@pytest.mark.parametrize("number", range(len(_MISTAKES)), ids=[flags[-1] for flags, _ in _MISTAKES])
def test_mistakes_are_told_in_a_line(mistaken, number):
    root, ended = mistaken
    found = ended[number]
    assert found.returncode == 2, found.stdout
    assert "Traceback" not in found.stderr
    lines = found.stderr.splitlines()
    lines = [line for line in lines if not re.match(r" *\d+ s  ", line)]  # progress
    assert len(lines) == 1, found.stderr
    for part in _MISTAKES[number][1]:
        assert part in lines[0]
    assert [path.name for path in root.iterdir()] == ["occupied"]
    assert [path.name for path in (root / "occupied").iterdir()] == ["thesis.tex"]


def test_a_key_is_needed(tmp_path):
    found = run_binary(f"--output_dir={tmp_path / 'out'}", key=None)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "openssl rand" in found.stderr
    short = run_binary(f"--output_dir={tmp_path / 'out'}", key="hunter2")
    assert short.returncode == 2
    assert "hunter2" not in short.stderr


@dataclasses.dataclass(frozen=True)
class Export:
    folder: pathlib.Path
    stdout: str
    stderr: str
    modules: list


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One run, which says at its end what it has imported."""
    root = tmp_path_factory.mktemp("anonymized")
    folder = root / "new" / "export"
    modules = root / "modules.json"
    prologue = (
        "import atexit, json, runpy, sys\n"
        f"file = open({str(modules)!r}, 'w')\n"
        "atexit.register(lambda: json.dump(list(sys.modules), file))\n"
        "runpy.run_module('experiments.anonymize', run_name='__main__', alter_sys=True)\n"
    )
    found = run_binary(
        f"--output_dir={folder}",
        "--synthetic_users=400",
        "--k=30",
        "--l=4",
        "--decoys_per_user=2",
        "--keep_order",
        prologue=prologue,
    )
    assert found.returncode == 0, found.stderr
    return Export(folder, found.stdout, found.stderr, json.loads(modules.read_text()))


def test_tensorflow_is_never_imported(exported):
    assert "pandas" in exported.modules
    assert not {"tensorflow", "tensorflow_federated"} & set(exported.modules)


def test_the_files_hold_what_the_report_says(exported):
    names = ["anonymization_report.json", "interactions.csv", "users.csv"]
    assert sorted(path.name for path in exported.folder.iterdir()) == names
    assert [path.name for path in exported.folder.parent.iterdir()] == ["export"]
    report = json.loads((exported.folder / names[0]).read_text())
    with (exported.folder / "users.csv").open() as file:
        users = list(csv.DictReader(file))
    classes = collections.Counter(user["age_group"] for user in users)
    assert min(classes.values()) == report["k_anonymity"]["after"]["k"] >= 30
    assert report["l_diversity"]["after"]["distinct"] >= 4
    assert len(users) == report["counts"]["users"]["after"]
    with (exported.folder / "interactions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report["counts"]["interactions"]["after"]
    assert {row["user_id"] for row in rows} == {user["user_id"] for user in users}
    assert all(re.fullmatch("[0-9a-f]{32}", user["user_id"]) for user in users)
    assert report["source"] == exported.stdout.splitlines()[0]
    assert report["source"].startswith("synthetic: ")
    # Order is kept and decoys, which are random, are few: not all recall is lost, and what is won
    # is chance.
    markov = report["recall"]["markov"]
    assert 0.05 < markov["anonymized"]["recall@10"] < markov["raw"]["recall@10"] + 0.05


def test_the_key_is_nowhere(exported):
    texts = [path.read_text() for path in exported.folder.iterdir()]
    assert not any(KEY in text for text in [*texts, exported.stdout, exported.stderr])


def test_the_flags_that_it_names_load_the_result(exported):
    (line,) = (line for line in exported.stdout.splitlines() if line.startswith("train on it"))
    flags = dict(re.findall(r"--(\w+)=(\S+)", line))
    assert flags["dataset"] == "csv"
    data = loading.load(
        loading.DatasetConfig(
            name="csv",
            data_path=flags["data_dir"],
            columns=tables.TableColumns(
                RunConfig.user_column,
                RunConfig.item_column,
                flags["time_column"],
                flags["value_column"],
            ),
        )
    )
    report = json.loads((exported.folder / "anonymization_report.json").read_text())
    assert data.interactions.num_users == report["counts"]["users"]["after"]
    assert data.interactions.num_interactions == report["counts"]["interactions"]["after"]


def test_a_table_with_a_file_of_users(tmp_path):
    events, people = tmp_path / "events.csv", tmp_path / "people.csv"
    rows = [f"u{user},i{(user + step) % 7}" for user in range(12) for step in range(4)]
    events.write_text("who,what\n" + "\n".join(rows) + "\n")
    people.write_text("who,years,plz\n" + "".join(f"u{i},{20 + i},80{i:03}\n" for i in range(12)))
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    found = run_binary(
        "--dataset=csv",
        f"--data_dir={events}",
        "--user_column=who",
        "--item_column=what",
        f"--users_file={people}",
        "--quasi_identifiers=years,plz",
        "--age_column=years",
        "--zip_column=plz",
        "--k=2",
        f"--key_file={key}",
        f"--output_dir={tmp_path / 'out'}",
        key=None,
    )
    assert found.returncode == 0, found.stderr
    users = (tmp_path / "out" / "users.csv").read_text().splitlines()
    assert users[0] == "user_id,years,plz"
    # Ten and two people, each in a class of their own.
    assert collections.Counter(line.split(",", 1)[1] for line in users[1:]) == {
        "20-29,80*": 10,
        "30-39,80*": 2,
    }
    assert (tmp_path / "out" / "interactions.csv").read_text().splitlines()[0] == "user_id,item_id"
    assert "times: dropped" in found.stdout


@pytest.mark.real_data
def test_movielens(real_data_dir, tmp_path):
    found = run_binary(
        "--dataset=ml-100k",
        f"--data_dir={real_data_dir}",
        "--k=10",
        "--sensitive=occupation",
        "--l=3",
        f"--output_dir={tmp_path / 'out'}",
    )
    assert found.returncode == 0, found.stderr
    with (tmp_path / "out" / "users.csv").open() as file:
        users = list(csv.DictReader(file))
    assert list(users[0]) == ["user_id", "age", "gender", "zip_code", "occupation"]
    jobs = collections.defaultdict(list)
    for user in users:
        jobs[user["age"], user["gender"], user["zip_code"]].append(user["occupation"])
    assert min(len(group) for group in jobs.values()) >= 10
    assert min(len(set(group)) for group in jobs.values()) >= 3
    report = json.loads((tmp_path / "out" / "anonymization_report.json").read_text())
    assert report["counts"]["users"]["before"] == 943
    assert report["counts"]["users"]["suppressed"] <= 0.05 * 943
    # Nearly everybody is alone with their attributes before.
    assert report["k_anonymity"]["before"]["users_alone"] > 900
