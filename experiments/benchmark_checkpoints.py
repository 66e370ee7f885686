"""Measures how long checkpoints of a large catalogue take, and how large they are.

  python -m experiments.benchmark_checkpoints
  python -m experiments.benchmark_checkpoints --num_items=100000 --num_checkpoints=3

A made-up model is trained by users who are new in each round, and saved after each and after every
tenth round: as runs save it, whole or as what changed, and as a SavedModel by TFF's own manager.
Needs a few gigabytes of disk for temporary files, in the folder that TMPDIR names.
"""

import dataclasses
import itertools
import json
import pathlib
import tempfile

from absl import flags

from experiments import app

_NUM_ITEMS = flags.DEFINE_integer("num_items", 1_000_000, "Size of the catalogue.", lower_bound=200)
_NUM_USERS = flags.DEFINE_integer(
    "clients_per_round", 1000, "Users of a round; a tenth of them too is measured.", lower_bound=10
)
_DIM = flags.DEFINE_integer("embedding_dim", 64, "Width of the model.", lower_bound=1)
_NUM_CHECKPOINTS = flags.DEFINE_integer(
    "num_checkpoints", 10, "Checkpoints to write for each row of the table.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Fixes users and weights.", lower_bound=0)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")

_ROUNDS_APART = (1, 10)


def main(argv: list[str]) -> None:
    """Measures, and prints what was found."""
    app.check_no_arguments(argv)
    from fedrec_tff.benchmarks import checkpoint_costs, machine, plan

    setting = plan.Setting(
        num_items=_NUM_ITEMS.value,
        embedding_dim=_DIM.value,
        is_private=False,
        seed=_SEED.value,
    )
    most = _NUM_USERS.value
    rows = [
        *itertools.product(["lazy_adam"], (most, most // 10), _ROUNDS_APART),
        ("adam", most, 1),
    ]
    costs = []
    for optimizer, num_users, period in rows:
        chosen = dataclasses.replace(
            setting, server_optimizer=optimizer, clients_per_round=num_users
        )
        with tempfile.TemporaryDirectory() as folder:
            cost = checkpoint_costs.measure(
                chosen, period, _NUM_CHECKPOINTS.value, pathlib.Path(folder)
            )
        costs.append(cost)
    if _JSON.value:
        found = [dataclasses.asdict(cost) for cost in costs]
        print(json.dumps({"machine": machine.describe(), "costs": found}, indent=2))
        return
    print(checkpoint_costs.describe(costs))


if __name__ == "__main__":
    app.run(main)
