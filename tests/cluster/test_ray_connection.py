"""Clusters that cannot be joined, in one line each."""

import importlib.util
import signal

import pytest

from fedrec_tff import errors
from fedrec_tff.cluster import connection, versions
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session
from fedrec_tff.run.metrics import round_metrics


def _message(address):
    with pytest.raises(errors.UserError) as caught, connection.connect(address):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_ray_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = _message("local")
    assert message.startswith("--ray_address=local needs Ray, which is not installed")
    assert "requirements-ray.txt" in message


def test_a_run_asks_for_ray_before_it_begins(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UserError, match="--execution=ray needs Ray"):
        session.run(RunConfig(execution="ray"), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_an_address_at_which_nobody_answers(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    ray = type("ray", (), {"is_initialized": staticmethod(lambda: False)})
    monkeypatch.setattr(connection.ray_package, "import_ray", lambda: ray)
    message = _message("127.0.0.1:1")
    assert "--ray_address=127.0.0.1:1: nobody answers there" in message


def test_a_version_that_differs_is_named():
    ours = versions.describe()
    assert versions.find_difference(ours, ours) is None
    theirs = {**ours, "TensorFlow": "2.13.0"}
    assert versions.find_difference(theirs, ours) == (
        f"TensorFlow is 2.13.0 there and {ours['TensorFlow']} here"
    )


def test_a_connection_that_somebody_has_is_used_and_kept(ray):
    before = signal.getsignal(signal.SIGTERM)
    with connection.connect("auto") as module:
        assert module is ray
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_workers_do_in_a_second_follows_from_the_cohort_and_is_withheld_as_that_is():
    metrics = round_metrics.create_worker_metrics({0: 10.0, 1: 0.0})
    assert metrics == {
        "time/users_per_second_of_worker/0": 10.0,
        "time/users_per_second_of_worker/1": 0.0,
    }
    for name in metrics:
        assert round_metrics.classify(name) == round_metrics.COHORT
