"""Seconds of a block on a card: each kernel takes what bounds it, one after the other.

    seconds of a kernel = max(launch, bytes / bandwidth, flops / peak)

It is what a card could do at its published figures, so the least that it takes: kernels reach less
than the whole bandwidth and peak, and small ones leave most of a card idle.
"""

# Tested in tests/benchmarks/accelerator/test_kernels.py.

import collections
import dataclasses
from collections.abc import Sequence

from fedrec_tff.benchmarks.accelerator.kernels import Kernel

LAUNCHES, MEMORY, ARITHMETIC, COMPILER = "launches", "memory", "arithmetic", "compiler's estimate"


@dataclasses.dataclass(frozen=True)
class Rates:
    """What bounds a kernel.

    Attributes:
      flops: Operations a second in products of matrices; half as many for single elements, where
        no addition comes with a multiplication.
      bytes_per_second: Bandwidth of memory.
      launch_seconds: Seconds between two kernels at the least.
      clock_hertz: The clock that a compiler's estimate counts in; None where there are none.
    """

    flops: float
    bytes_per_second: float
    launch_seconds: float
    clock_hertz: float | None = None


@dataclasses.dataclass(frozen=True)
class BlockSeconds:
    """What a block takes.

    Attributes:
      seconds: Seconds in all.
      num_launches: Number of kernels that are launched.
      num_bytes: Bytes that they move.
      num_flops: Operations.
      shares: Fractions of the seconds by what bounds them.
    """

    seconds: float
    num_launches: int
    num_bytes: float
    num_flops: float
    shares: dict[str, float]

    @property
    def bound(self) -> str:
        """What most of the seconds are bound by."""
        return max(self.shares, key=self.shares.__getitem__)


def predict(kernels: Sequence[Kernel], rates: Rates) -> BlockSeconds:
    """Predicts a block.

    Args:
      kernels: What its program launches.
      rates: What the card can do.

    Returns:
      Its seconds.
    """
    seconds: collections.Counter[str] = collections.Counter()
    for kernel in kernels:
        bound, once = _predict_kernel(kernel, rates)
        seconds[bound] += once * kernel.executions
    total = sum(seconds.values())
    return BlockSeconds(
        total,
        sum(kernel.executions for kernel in kernels),
        sum(kernel.executions * kernel.num_bytes for kernel in kernels),
        sum(kernel.executions * (kernel.product_flops + kernel.other_flops) for kernel in kernels),
        {bound: part / total for bound, part in seconds.most_common()},
    )


def _predict_kernel(kernel: Kernel, rates: Rates) -> tuple[str, float]:
    if rates.clock_hertz is not None and kernel.cycles is not None:
        return COMPILER, kernel.cycles / rates.clock_hertz
    arithmetic = (kernel.product_flops + 2 * kernel.other_flops) / rates.flops
    bounds = {
        LAUNCHES: rates.launch_seconds,
        MEMORY: kernel.num_bytes / rates.bytes_per_second,
        ARITHMETIC: arithmetic,
    }
    bound = max(bounds, key=bounds.__getitem__)
    return bound, bounds[bound]
