"""What secrecy costs: one secure sum after the other over the same integers."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums import by_name

_BYTES_IN_THE_CLEAR = 4


@dataclasses.dataclass(frozen=True)
class SecureSumCost:
    """What was seen of one way to sum.

    Attributes:
      name: Name of the secure sum, as `--secure_sum` has it.
      num_weights: Integers that each client sends.
      seconds_per_client: Seconds of all parties together, by the clock, for each client.
      upload_bytes: Bytes that one client uploads, in the mean.
      download_bytes: Bytes that one client downloads, in the mean.
    """

    name: str
    num_weights: int
    seconds_per_client: float
    upload_bytes: float
    download_bytes: float


def measure(
    names: Sequence[str],
    sizes: Sequence[int],
    num_clients: int,
    bits: int,
    seed: int,
    done_fn: Callable[[SecureSumCost], None] = lambda cost: None,
    signed_keys: bool = False,
) -> list[SecureSumCost]:
    """Sums random integers, and checks the sums.

    Args:
      names: Names of secure sums, as `--secure_sum` has them.
      sizes: Numbers of integers that a client sends, one for each measurement.
      num_clients: Number of clients in a cohort.
      bits: Bits of an integer.
      seed: Seed of the integers.
      done_fn: Function that is told of each result.
      signed_keys: Whether clients of masked sums sign their keys.

    Returns:
      The costs, by size and then by name.
    """
    costs = []
    for size in sizes:
        rng = np.random.default_rng(seed)
        values = rng.integers(0, 2**bits, (num_clients, size), np.int64)
        for name in names:
            costs.append(_measure_one(name, values, bits, signed_keys))
            done_fn(costs[-1])
    return costs


def _measure_one(name: str, values: np.ndarray, bits: int, signed_keys: bool) -> SecureSumCost:
    num_clients, size = values.shape
    sums = by_name.create_secure_sum(name, signed_keys)
    sums = secure_sum.SumInTheClear() if sums is None else sums
    slots = [secure_sum.SecureSumSlot((size,), max_input=2**bits - 1)]
    start = time.perf_counter()
    sum_round = sums.start(slots, num_clients)
    for position in range(num_clients):
        sum_round.add([values[position : position + 1]], np.array([position]))
    (total,) = sum_round.finish()
    seconds = time.perf_counter() - start
    np.testing.assert_array_equal(total, values.sum(axis=0))
    costs = getattr(sums, "costs", None)
    in_the_clear = float(_BYTES_IN_THE_CLEAR * size)
    return SecureSumCost(
        name,
        size,
        seconds / num_clients,
        in_the_clear if costs is None else costs.upload_bytes,
        0.0 if costs is None else costs.download_bytes,
    )
