"""Makes one context that of all of TFF's own tests; `run_tff_tests` has it beside them as conftest.

FEDREC_TFF_CONTEXT is `native` (TFF's own runtime, secure sums in the clear), `compiled` or `debug`.
"""

import importlib
import os
import pathlib

import pytest
import tensorflow_federated as tff
from tensorflow_federated.python.core.backends.native import execution_contexts as native_contexts
from tensorflow_federated.python.core.backends.test import execution_contexts as test_contexts

from fedrec_tff.execution import compiled, debug

_SUPPORT = pathlib.Path(__file__).parent / "support"


def _create_context(name):
    if name == "native":
        # One client where the cohort's size is unknown, as the tests of distributors want.
        return test_contexts.create_sync_test_cpp_execution_context(default_num_clients=1)
    return {"compiled": compiled.CompiledContext, "debug": debug.DebugContext}[name]()


def _find_support():
    """Lets tests import the modules for tests that TFF's wheel leaves out."""
    for folder in sorted({path.parent for path in _SUPPORT.rglob("*.py")}):
        name = ".".join(["tensorflow_federated.python", *folder.relative_to(_SUPPORT).parts])
        importlib.import_module(name).__path__.append(str(folder))


_context = _create_context(os.environ["FEDREC_TFF_CONTEXT"])
# Also while tests are collected.
tff.framework.set_default_context(_context)


@pytest.fixture(autouse=True)
def _begin_in_context():
    """Those that are about asynchronous contexts choose one, and leave it."""
    tff.framework.set_default_context(_context)


# Some tests choose TFF's own runtime before they begin.
native_contexts.set_sync_local_cpp_execution_context = lambda **_: None
test_contexts.set_sync_test_cpp_execution_context = lambda **_: None
_find_support()
