"""Many rounds in a process of their own: what is compiled, traced and kept in memory.

Prints one line of JSON; XLA's own log, on standard error, says what it compiled. Whoever starts
this sets the allocator so that memory which nobody needs any more goes back to the system.
"""

import gc
import json
import os

import learning_runs
import numpy as np
import tensorflow as tf

from fedrec_tff.execution import compiled, debug

NUM_SHARDS = 2
LENGTHS = (6, 10)
EARLY_ROUND, LATE_ROUND = 50, 150
# So many that 100 forgotten states would be seen: 0.8 MB each, and more with the optimizer's.
_NUM_ITEMS = 20_000
# So many that all else is small beside them.
BIG_NUM_ITEMS, BIG_DIM = 1_000_000, 32
# Below, at and above what two shards' blocks of 8 hold.
_SIZES = (1, 5, 0, 8, 2, 16, 17, 3, 24, 9)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _peak_bytes() -> int:
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _create_context():
    options = compiled.CompiledOptions(num_parallel_shards=NUM_SHARDS, clients_per_block=8)
    return compiled.CompiledContext(options)


class _TraceCounter:
    """Counts the graphs that TensorFlow traces."""

    def __init__(self):
        self.count = 0
        graph_class = tf.__internal__.FuncGraph
        original = graph_class.__init__

        def count_and_call(graph, *args, **kwargs):
            self.count += 1
            original(graph, *args, **kwargs)

        graph_class.__init__ = count_and_call


def run_many_rounds(context, num_rounds: int, traces: _TraceCounter) -> dict[str, list[int]]:
    """Runs rounds of changing size; memory and the number of traced graphs after each."""
    cohorts = learning_runs.create_cohorts(LENGTHS, _SIZES)
    resident, traced = [], []
    with context.install():
        process = learning_runs.build_process(
            "dp_adaptive", server=learning_runs.ADAM, num_items=_NUM_ITEMS
        )
        state = process.initialize()
        for index in range(num_rounds):
            output = process.next(state, cohorts[index % len(cohorts)])
            state = output.state
            # As a training run would look at it.
            weights = process.get_model_weights(state)
            assert np.isfinite(weights.trainable.items.bias).all()
            resident.append(_resident_bytes())
            traced.append(traces.count)
    return {"resident": resident, "traced": traced}


def run_big_rounds(num_rounds: int) -> dict[str, int]:
    """Runs rounds over a table that is much larger than all else; how far memory rises."""
    (cohort,) = learning_runs.create_cohorts(LENGTHS[:1], sizes=[10])
    process = learning_runs.build_process(
        num_items=BIG_NUM_ITEMS, model=learning_runs.build_model(BIG_DIM)
    )
    with _create_context().install():
        state = process.initialize()
        gc.collect()
        before = _resident_bytes()
        for _ in range(num_rounds):
            state = process.next(state, cohort).state
            gc.collect()
        return {"before": before, "peak": _peak_bytes(), "after": _resident_bytes()}


def main() -> None:
    """Runs everything."""
    traces = _TraceCounter()
    report = {
        "compiled": run_many_rounds(_create_context(), LATE_ROUND, traces),
        "debug": run_many_rounds(debug.DebugContext(), 2 * len(_SIZES), traces),
        "num_sizes": len(_SIZES),
        "big": run_big_rounds(4),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
