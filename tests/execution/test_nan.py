"""Tests that NaN of a client goes the same way in every context."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SCRIPT = pathlib.Path(__file__).with_name("nan_probe.py")


@pytest.fixture(scope="module")
def found():
    """What a fresh process printed, in whose environment nobody has set flags."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    finished = subprocess.run(
        [sys.executable, str(_SCRIPT)],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.parametrize("context", ["compiled", "debug"])
def test_nan_is_kept_as_in_the_runtime_of_tff(found, context):
    assert found[context] == found["native"]
    # Not in vain: most of these are NaN.
    assert sum("nan" in values for values in found["native"].values()) >= 8
