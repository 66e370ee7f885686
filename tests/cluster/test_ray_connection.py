"""Clusters that cannot be joined, in one line each."""

import importlib.util
import signal

import pytest

from fedrec_tff import errors
from fedrec_tff.cluster import connection, versions


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
