"""What trackers get of whole runs, private ones among them."""

import dataclasses
import json

import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session
from fedrec_tff.run.metrics import round_metrics
from fedrec_tff.run.tracking import tracker_packages
from tests.run.tracking import events

_CONFIG = RunConfig(
    preset="basic",
    synthetic_users=30,
    synthetic_items=40,
    max_interactions_per_user=10,
    embedding_dim=4,
    num_negatives=8,
    clients_per_round=10.0,
    rounds=2,
    rounds_per_evaluation=1,
    execution="debug",
)
# Writes down all that it is given.
_RECORDER = """
import json
import tensorflow_federated as tff


class Recorder(tff.program.ReleaseManager):
    def __init__(self, run, path):
        self._path = path
        self._write({"name": run.name, "id": run.run_id, "flags": dict(run.flags)})

    def _write(self, value):
        with open(self._path, "a") as file:
            file.write(json.dumps(value) + "\\n")

    async def release(self, value, key):
        self._write([key, dict(value)])

    def close(self):
        self._write("closed")


def build(run, path: str):
    return Recorder(run, path)


class Failing(tff.program.ReleaseManager):
    async def release(self, value, key):
        raise ConnectionError("no route to host")


def build_failing(run):
    return Failing()


def build_nothing(run):
    return 3
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "recorder.py"
    path.write_text(_RECORDER)
    return path


@pytest.fixture(scope="module")
def private(plugin, tmp_path_factory):
    """A private run, and what a tracker got of it."""
    folder = tmp_path_factory.mktemp("private")
    config = dataclasses.replace(
        _CONFIG,
        noise_multiplier=1.0,
        report_to=(f"{plugin}:build", f"{plugin}:build_failing"),
        report_to_param=(f"path={folder / 'got.jsonl'}",),
    )
    outcome = session.run(config, folder / "run")
    got = [json.loads(line) for line in (folder / "got.jsonl").read_text().splitlines()]
    return folder / "run", outcome.results, got


def test_a_tracker_is_told_of_the_run_as_tensorboard_is(private):
    root, _, got = private
    name, flags = events.read_session(root / "end")
    assert got[0]["name"] == name == "run"
    assert got[0]["id"] == json.loads((root / "config.json").read_text())["derived"]["run_id"]
    told = got[0]["flags"]
    numbers = {n: v for n, v in told.items() if n in flags and isinstance(v, int | float)}
    assert "noise_multiplier" in numbers
    assert {name: flags[name] for name in numbers} == pytest.approx(numbers)
    for name in told.keys() - flags.keys():
        assert f"--{name}=" in flags["other flags"]


def test_what_leaves_is_what_tensorboard_gets_and_nothing_else(private):
    root, results, got = private
    *rounds, end = got[1:-1]
    assert got[-1] == "closed"
    assert [number for number, _ in (*rounds, end)] == [1, 2, 2]
    for _, metrics in (*rounds, end):
        for name in metrics:
            assert round_metrics.classify(name) in ("public", "aggregate", "noised", "non_private")
            # Of the cohort nothing was asked for.
            assert not name.startswith(
                ("non_private/train", "non_private/time/round", "train/loss")
            )
    scalars = events.read_scalars(root)
    texts = events.read_texts(root)
    constants = texts["configuration/constant_metrics"][0][1]
    for number, metrics in rounds:
        for name, value in metrics.items():
            if name == "privacy/epsilon":
                assert f"| {number} | {value:.4g} |" in texts["privacy/epsilon"][-1][1]
            elif f"| {name} |" not in constants:
                (tag,) = (tag for tag in scalars if tag.partition(" ")[2] == name)
                assert dict(scalars[tag])[number] == pytest.approx(value, rel=1e-6)
    shown = {tag.partition(" ")[2]: p[0][1] for tag, p in events.read_scalars(root / "end").items()}
    assert end[1] == pytest.approx(shown, rel=1e-6)
    assert end[1]["privacy/epsilon"] == results["epsilon"]


def test_a_tracker_that_fails_does_not_end_the_run(private):
    _, results, _ = private
    assert results["ended_by"] == "rounds"


def test_a_builder_that_returns_something_else_is_told_before_a_round(plugin, tmp_path):
    config = dataclasses.replace(_CONFIG, report_to=(f"{plugin}:build_nothing",))
    with pytest.raises(errors.UserError, match=r"returned int; it must return a tff\.program"):
        session.run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(tracker_packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        errors.UserError, match=r"--report_to=wandb: the package wandb .*-r requirements-tracking"
    ):
        tracker_packages.check(("wandb",))
    tracker_packages.check(("mine.py:build",))
