"""Stands in for `experiments.train` where a sweep is tested: the flags say how it ends.

The objective follows from client_learning_rate and seed; embedding_dim=13 is refused and
embedding_dim=14 crashes, unless there is a file `healthy` beside the trials; rounds=99 lasts until
a signal. With rounds_per_evaluation it writes what it shows by round, as a run does; with an
objective below 0.3 it then waits after half of the rounds for a signal, unless `healthy` is there.
"""

import json
import pathlib
import signal
import sys
import time

flags = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
root = pathlib.Path(flags["output_dir"])
root.mkdir(parents=True, exist_ok=True)
with (root / "starts").open("a") as file:
    file.write(json.dumps(flags) + "\n")
is_healthy = (root.parents[2] / "healthy").exists()
if flags.get("embedding_dim") == "13" and not is_healthy:
    print("a warning\ntrain: training has diverged [NaN]", file=sys.stderr)
    sys.exit(2)
if flags.get("embedding_dim") == "14" and not is_healthy:
    raise MemoryError("too large")
if flags.get("rounds") == "99" and not is_healthy:

    def stop(signum, frame):
        (root / "saved").write_text(str(signum))
        sys.exit(130)

    signal.signal(signal.SIGINT, stop)
    (root / "ready").touch()
    time.sleep(1200)
rate = float(flags.get("client_learning_rate", "0.5"))
recall = 0.5 - (rate - 0.3) ** 2 + 0.01 * int(flags["seed"])
rounds = int(flags["rounds"])


def show(first, last):
    """Rounds in `metrics.csv`, each with a validation that rises to the objective."""
    with (root / "metrics.csv").open("a") as file:
        if first == 1:
            file.write("round,train/loss,validation/recall@10\n")
        for number in range(first, last + 1):
            file.write(f"{number},1.0,{recall * number / rounds}\n")


def leave(signum, frame):
    """Finishes the round that is going on, and saves."""
    show(rounds // 2 + 1, rounds // 2 + 1)
    with (root / "saved").open("a") as file:
        file.write(f"{int(signum)}\n")
    sys.exit(130)


if "rounds_per_evaluation" in flags:
    signal.signal(signal.SIGINT, leave)
    show(1, rounds // 2)
    if recall < 0.3 and not is_healthy:
        time.sleep(1200)
    show(rounds // 2 + 1, rounds)
results = {"rounds": rounds, "validation/recall@10": recall, "test/recall@10": recall / 2}
(root / "config.json").write_text(json.dumps({"flags": flags}))
(root / "results.json").write_text(json.dumps(results))
