"""Measures one row in a process of its own.

  python -m fedrec_tff.benchmarks.child ROW SECONDS

ROW is what `plan.Row.to_json` wrote. Out comes one line of JSON: the figures, or why there are
none.
"""

# Tested in tests/benchmarks/test_benchmark_child.py.

import dataclasses
import importlib
import json
import os
import sys
from typing import Any

from fedrec_tff.benchmarks import plan, timing

_MODULES = {
    plan.NATIVE: "federated_rounds",
    plan.COMPILED: "federated_rounds",
    plan.PJRT: "federated_rounds",
    plan.STOCK_TFF: "stock_tff",
    plan.TFRS_FIT: "tfrs_fit",
    plan.BARE_LOOP: "bare_loop",
    plan.RAY: "federated_rounds",
}


def main() -> None:
    """Reads the arguments, measures, prints."""
    row, seconds = plan.Row.from_json(sys.argv[1]), float(sys.argv[2])
    # The only thing on standard output is the result, whatever libraries print.
    result = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        outcome = {"measurement": dataclasses.asdict(_measure(row, timing.Budget(seconds)))}
    # A row that fails is a result too: the other rows go on.
    except Exception as error:
        outcome = {"error": _describe(error)}
    with os.fdopen(result, "w") as file:
        file.write(json.dumps(outcome))


def _measure(row: plan.Row, budget: timing.Budget) -> Any:
    import tensorflow as tf

    if row.num_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(row.num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(row.num_threads)
    module = importlib.import_module(f"fedrec_tff.benchmarks.{_MODULES[row.subject]}")
    return module.measure(row, budget)


def _describe(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


if __name__ == "__main__":
    main()
