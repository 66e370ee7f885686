"""Measures what aggregators cost a round, and what secure sums cost a client.

  python -m experiments.benchmark_aggregators
  python -m experiments.benchmark_aggregators --secure_sums

Rounds are of the size of MovieLens 1M, compiled, in one process: each round under an aggregator is
paired with one of the same users under the mean. Secure sums are measured by themselves, over
random integers, all parties in this process; every sum is checked. Markdown goes to standard
output, or JSON with --json.
"""

import dataclasses
import json
import sys

from absl import flags

from experiments import app
from fedrec_tff import errors
from fedrec_tff.aggregators import chain
from fedrec_tff.benchmarks import plan
from fedrec_tff.config.server_config import SECURE_SUMS

_AGGREGATORS = flags.DEFINE_multi_string(
    "aggregator", None, "A chain to measure, as --aggregator of a run; may be repeated."
)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Timed rounds of each.", lower_bound=1)
_SECURE_SUMS = flags.DEFINE_bool("secure_sums", False, "Measure secure sums instead.")
_SIGNED_KEYS = flags.DEFINE_bool(
    "signed_keys", False, "Whether clients sign the keys of masked sums; with --secure_sums."
)
_NUM_WEIGHTS = flags.DEFINE_multi_integer(
    "num_weights", [1_000, 10_000, 100_000], "Integers that a client sends to a secure sum."
)
_NUM_CLIENTS = flags.DEFINE_integer("num_clients", 30, "Clients of a secure sum.", lower_bound=1)
_BITS = flags.DEFINE_integer("bits", 20, "Bits of each integer.", lower_bound=1, upper_bound=40)
_SEED = flags.DEFINE_integer("seed", 0, "Fixes users and integers.")
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")

_DEFAULT_CHAINS = (
    "mean",
    "weighted_mean",
    "dp_gaussian",
    "clip,mean",
    "adaptive_clip,mean",
    "adaptive_zeroing,mean",
    "centered_clip",
    "median",
    "trimmed_mean",
    "krum",
    "multi_krum",
    "geometric_median",
    "quantize,mean",
    "terngrad,mean",
    "top_k,mean",
    "low_rank,mean",
    "count_sketch,mean",
    "rotate,quantize,mean",
    "secure_mean",
)


def main(argv: list[str]) -> None:
    """Measures, and prints what was found."""
    app.check_no_arguments(argv)
    if _SECURE_SUMS.value and _AGGREGATORS.value:
        raise errors.UserError("--aggregator means nothing with --secure_sums: drop one of them")
    if _SIGNED_KEYS.value and not _SECURE_SUMS.value:
        raise errors.UserError("--signed_keys means nothing without --secure_sums: add that")
    names = _AGGREGATORS.value or _DEFAULT_CHAINS
    for name in names:
        chain.parse(name)
    costs = _measure_secure_sums() if _SECURE_SUMS.value else _measure_aggregators(names)

    from fedrec_tff.benchmarks import aggregator_report, machine

    if _JSON.value:
        found = {"machine": machine.describe(), "costs": [dataclasses.asdict(c) for c in costs]}
        print(json.dumps(found, indent=2))
        return
    print(aggregator_report.to_markdown(costs))


def _measure_aggregators(names: list[str]) -> list:
    from fedrec_tff.benchmarks import aggregator_rounds

    setting = plan.Setting(seed=_SEED.value)
    return aggregator_rounds.measure(names, setting, _ROUNDS.value, _tell)


def _measure_secure_sums() -> list:
    from fedrec_tff.benchmarks import secure_sum_costs

    return secure_sum_costs.measure(
        SECURE_SUMS,
        _NUM_WEIGHTS.value,
        _NUM_CLIENTS.value,
        _BITS.value,
        _SEED.value,
        _tell,
        _SIGNED_KEYS.value,
    )


def _tell(cost: object) -> None:
    print(f"measured {cost.name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app.run(main)
