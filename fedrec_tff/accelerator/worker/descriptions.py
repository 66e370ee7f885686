"""What XLA makes of a block's program: for a device that is here, or for one that is not.

For one that is not, it needs the compiler of that kind of device in this environment, `jax[cuda12]`
or `jax[tpu]`, and no device. JAX's CUDA package wants a driver unless JAX_PLATFORMS leaves it out.
"""

# Tested in tests/accelerator/test_descriptions.py.

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from fedrec_tff.accelerator.worker import blocks
from fedrec_tff.accelerator.worker.errors import NoDeviceError

_MATRIX_SIZE = 2048
_COPIED_NUMBERS = 2**26
_NUM_STEPS = 20_000
_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Description:
    """A program as it was compiled.

    Attributes:
      text: The program after XLA's optimisations.
      device: The device's name.
      num_operations: Number of operations before XLA's optimisations.
      num_loops: Number of loops among these.
      lowering_seconds: Seconds of a processor until XLA had it.
      compile_seconds: Seconds of a processor in XLA, over all threads.
      scratch_bytes: Memory that it needs besides what goes in and comes out.
    """

    text: str
    device: str
    num_operations: int
    num_loops: int
    lowering_seconds: float
    compile_seconds: float
    scratch_bytes: int


def find_absent_device(platform: str, topology: str, target_config: str | None) -> Any:
    """A device to compile for that is not here.

    Args:
      platform: `cuda` or `tpu`.
      topology: Name of the topology; for TPUs one that its compiler knows, as `v5e:2x2`.
      target_config: For CUDA, a `GpuTargetConfigProto` of XLA as text.

    Returns:
      The device.

    Raises:
      NoDeviceError: If its compiler is not installed, or does not know it.
    """
    options = {"target_config": target_config, "topology": "1x1x1"} if target_config else {}
    try:
        found = topologies.get_topology_desc(topology, platform, **options)
    # Each compiler has errors of its own.
    except Exception as error:
        raise NoDeviceError(
            f"programs for {platform} cannot be compiled here: {str(error).splitlines()[0]}"
        ) from error
    return found.devices[0]


def describe(
    program: blocks.BlockProgram,
    totals: blocks.Totals,
    block: blocks.Block,
    prepared: blocks.Arrays,
    device: Any,
) -> Description:
    """Compiles a program.

    Args:
      program: The program.
      totals: Totals; of these and of what follows, only shapes and dtypes matter.
      block: A block of clients.
      prepared: What the server sends.
      device: The device, here or not.

    Returns:
      What came out.
    """
    sharding = jax.sharding.SingleDeviceSharding(device)

    def forget(array: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    start = _processor_seconds()
    lowered = program.lower(*jax.tree.map(forget, (totals, block, prepared)))
    middle = _processor_seconds()
    before = lowered.as_text()
    compiled = lowered.compile()
    end = _processor_seconds()
    return Description(
        compiled.as_text(),
        device.device_kind,
        before.count("= stablehlo."),
        before.count("= stablehlo.while("),
        middle - start,
        end - middle,
        compiled.memory_analysis().temp_size_in_bytes,
    )


def time_block(
    program: blocks.BlockProgram,
    zero: blocks.Totals,
    block: blocks.Block,
    prepared: blocks.Arrays,
    device: Any,
) -> float:
    """Seconds of the fastest of some runs of a block, on a device that is here.

    Of a CPU, these are seconds of one processor, over all threads; so are those of its rates.
    """
    clock, seconds = _choose_clock(device), []
    for _ in range(_REPEATS + 1):
        arguments = jax.block_until_ready(jax.device_put((zero, block, prepared), device))
        start = clock()
        jax.block_until_ready(program.run(*arguments))
        seconds.append(clock() - start)
    return min(seconds[1:])


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended, such as an assembler."""
    return sum(os.times()[:4])


def _choose_clock(device: Any) -> Callable[[], float]:
    return time.process_time if device.platform == "cpu" else time.monotonic


def measure_rates(device: Any) -> dict[str, float]:
    """What a device that is here can do.

    Args:
      device: The device.

    Returns:
      `flops`, of a product of large matrices of float32; `bytes_per_second`, of adding 1 to a large
      array, in place; `launch_seconds`, half of a loop's step that does next to nothing, since a
      step is a condition and a body.
    """
    clock = _choose_clock(device)
    with jax.default_device(device):
        matrix = jnp.full([_MATRIX_SIZE, _MATRIX_SIZE], 1 / _MATRIX_SIZE, jnp.float32)
        numbers = jnp.ones([_COPIED_NUMBERS], jnp.float32)
        multiply = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
        add = jax.jit(lambda x: x + 1, donate_argnums=0)
        loop = jax.jit(lambda x: jax.lax.fori_loop(0, _NUM_STEPS, lambda i, y: jnp.sort(-y), x))
        return {
            "flops": 2 * _MATRIX_SIZE**3 / _fastest(clock, multiply, matrix),
            "bytes_per_second": 2 * 4 * _COPIED_NUMBERS / _fastest(clock, add, numbers),
            "launch_seconds": _fastest(clock, loop, jnp.ones([2])) / _NUM_STEPS / 2,
        }


def _fastest(clock: Callable[[], float], function: Any, value: jax.Array) -> float:
    """Seconds of the fastest call; each takes what the one before it made."""
    seconds = []
    for _ in range(_REPEATS + 1):
        start = clock()
        value = jax.block_until_ready(function(value))
        seconds.append(clock() - start)
    return min(seconds[1:])
