"""Measures how long the evaluation of a large catalogue takes, and how much memory.

  python -m experiments.benchmark_evaluation
  python -m experiments.benchmark_evaluation --num_items=100000 --num_users=1000

A made-up model ranks the whole catalogue for made-up users, in blocks, and is measured as
experiments.evaluate does it: targets among all items and among 99, lists of 10, what these are
like, and intervals of it all.
"""

import dataclasses
import json

from absl import flags

from experiments import app

_NUM_ITEMS = flags.DEFINE_integer(
    "num_items", 1_000_000, "Size of the catalogue.", lower_bound=200, upper_bound=50_000_000
)
_NUM_USERS = flags.DEFINE_integer("num_users", 10_000, "Number of users.", lower_bound=1)
_DIM = flags.DEFINE_integer("embedding_dim", 32, "Width of the model.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Fixes users and weights.", lower_bound=0)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")


def main(argv: list[str]) -> None:
    """Measures, and prints what was found."""
    app.check_no_arguments(argv)
    from fedrec_tff.benchmarks import evaluation_speed, machine

    found = evaluation_speed.measure(_NUM_ITEMS.value, _NUM_USERS.value, _DIM.value, _SEED.value)
    if _JSON.value:
        print(json.dumps({"machine": machine.describe(), **dataclasses.asdict(found)}, indent=2))
        return
    print(evaluation_speed.describe(found))


if __name__ == "__main__":
    app.run(main)
