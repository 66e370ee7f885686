"""What driver and workers must have in common, for the same work to give the same bits."""

# Tested in tests/cluster/test_ray_connection.py.

import hashlib
import os
import pathlib
import platform

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


def describe() -> dict[str, str]:
    """The versions of what computes, by name; of this project's own code, a digest."""
    digest = hashlib.sha256()
    package = pathlib.Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(os.fspath(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return {
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
        "TensorFlow Federated": tff.__version__,
        "NumPy": np.__version__,
        "this project's code": digest.hexdigest()[:12],
    }


def find_difference(found: dict[str, str], expected: dict[str, str]) -> str | None:
    """The first difference, in words; None if there is none."""
    for name, version in expected.items():
        if found.get(name) != version:
            return f"{name} is {found.get(name, 'missing')} there and {version} here"
    return None
