"""Measures what an approximate index costs and misses, on a made-up catalogue of any size.

  python -m experiments.benchmark_index
  python -m experiments.benchmark_index --num_items=1000000 --index=faiss

An index is made of made-up item vectors, as experiments.export makes it of a model's, and its lists
are compared with the exact ones. Libraries are extras: pip install -r requirements-serving.txt.
"""

from absl import flags

from experiments import app
from fedrec_tff.run import notices
from fedrec_tff.serving import index_libraries

_INDEX = flags.DEFINE_multi_enum(
    "index",
    list(index_libraries.NAMES),
    index_libraries.NAMES,
    "Library of the approximate search; several times for several.",
)
_NUM_ITEMS = flags.DEFINE_integer(
    "num_items", 100_000, "Size of the catalogue.", lower_bound=100, upper_bound=50_000_000
)
_DIM = flags.DEFINE_integer("embedding_dim", 64, "Width of the vectors.", lower_bound=1)
_CENTRES = flags.DEFINE_integer(
    "num_centres",
    1000,
    "Number of centres that items are around; 0 for vectors without any groups, the worst case.",
    lower_bound=0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Fixes the vectors.", lower_bound=0)


def main(argv: list[str]) -> None:
    """Measures, and prints a table."""
    app.check_no_arguments(argv)
    for kind in _INDEX.value:
        index_libraries.load(kind)
    with notices.starting_tensorflow():
        from fedrec_tff.serving import index_costs

    model = index_costs.create_model(_NUM_ITEMS.value, _DIM.value, _CENTRES.value, _SEED.value)
    found = []
    for kind in _INDEX.value:
        notices.say(f"building an index of {_NUM_ITEMS.value:,} items by {kind}")
        found.append(index_costs.measure(kind, model))
    print(index_costs.describe(found))


if __name__ == "__main__":
    app.run(main)
