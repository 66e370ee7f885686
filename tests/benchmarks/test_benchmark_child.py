"""How a child sets itself up; what it measures is replaced."""

import json
import sys

from fedrec_tff import child_processes
from fedrec_tff.benchmarks import plan

# Instead of measuring: prints where nothing may be printed, and fails with what it found.
CODE = """
import sys, types
from fedrec_tff.benchmarks import child

def measure(row, budget):
    import tensorflow as tf
    threads = tf.config.threading
    print("a library prints")
    found = threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()
    raise ValueError(f"{row.name} {budget.seconds} {found}\\nmore")

module = types.ModuleType("bare_loop")
module.measure = measure
sys.modules["fedrec_tff.benchmarks.bare_loop"] = module
child.main()
"""
_ROWS = {row.name: row for row in plan.create_rows(plan.BenchmarkConfig())}


def test_a_child_reads_its_row_limits_threads_and_prints_one_line():
    command = [sys.executable, "-c", CODE, _ROWS["bare_loop"].to_json(), "2.5"]
    found = child_processes.run(command, 120.0)
    assert json.loads(found.stdout) == {"error": "ValueError: bare_loop 2.5 (1, 1)"}
    assert "a library prints" in found.stderr
    assert found.status == 0
