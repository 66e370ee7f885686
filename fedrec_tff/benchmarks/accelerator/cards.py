"""Accelerators as their makers publish them, and how to have XLA compile for them.

Peaks are those of float32, since client work asks for it: on NVIDIA's cards that of the plain
cores; on TPUs, whose matrix units multiply bfloat16, a sixth of theirs, for the six products that
XLA makes of one. Launches are an assumption, not a published figure: 5 microseconds a kernel on
NVIDIA's cards, and 2 where XLA hands a run of kernels to the driver at once (`--graphs`). A TPU is
handed the whole program: its compiler reckons with 1,800 cycles for the smallest kernels.
"""

# Tested in tests/benchmarks/accelerator/test_kernels.py.

import dataclasses
from typing import Any

LAUNCH_SECONDS = 5e-6
GRAPH_LAUNCH_SECONDS = 2e-6
_TPU_HERTZ = 1.5e9
_TPU_KERNEL_CYCLES = 1800
_BFLOAT16_PRODUCTS = 6


@dataclasses.dataclass(frozen=True)
class Card:
    """An accelerator.

    Attributes:
      title: Its name, for people.
      flops: Operations on float32 a second, a multiplication with an addition counted as two.
      bytes_per_second: Bandwidth of its memory.
      memory_bytes: Its memory.
      link_bytes_per_second: Bandwidth from and to the host, one way.
      source: Where the figures are published.
      target: What the worker's message `describe` takes to compile for it.
      clock_hertz: For TPUs, the clock that its compiler counts in; None for others.
      launch_seconds: Seconds between two kernels at the least.
      graph_launch_seconds: The same, where they are launched in runs.
    """

    title: str
    flops: float
    bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float
    source: str
    target: dict[str, Any]
    clock_hertz: float | None = None
    launch_seconds: float = LAUNCH_SECONDS
    graph_launch_seconds: float = GRAPH_LAUNCH_SECONDS


def _nvidia(name: str, capability: tuple[int, int], **limits: int | float) -> dict[str, Any]:
    """XLA's `GpuTargetConfigProto`, with what a chip has.

    H100 and A100 as in XLA's own files, xla/backends/gpu/target_config/specs; L4, which has none
    there, by what is known of its compute capability, 8.9.
    """
    device = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        **limits,
    }
    lines = [f"{key}: {value}" for key, value in device.items()]
    major, minor = capability
    config = (
        f"gpu_device_info {{ {' '.join(lines)} "
        f"cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } '
        f'runtime_version {{ major: 12 minor: 9 }} device_description_str: "{name}"'
    )
    return {"platform": "cuda", "topology": name, "target_config": config}


def _tpu(topology: str) -> dict[str, Any]:
    return {"platform": "tpu", "topology": topology, "target_config": None}


CARDS = {
    "h100": Card(
        title="H100 SXM",
        flops=67e12,
        bytes_per_second=3.35e12,
        memory_bytes=80e9,
        link_bytes_per_second=64e9,
        source="NVIDIA H100 Tensor Core GPU datasheet",
        target=_nvidia(
            "NVIDIA H100 80GB HBM3",
            (9, 0),
            core_count=132,
            fpus_per_core=128,
            threads_per_core_limit=2048,
            shared_memory_per_core=233472,
            shared_memory_per_block_optin=232448,
            l2_cache_size=50 * 2**20,
            memory_bandwidth=3_352_320_000_000,
            clock_rate_ghz=1.98,
            device_memory_size=84_942_979_072,
        ),
    ),
    "a100": Card(
        title="A100 SXM 80 GB",
        flops=19.5e12,
        bytes_per_second=2.039e12,
        memory_bytes=80e9,
        link_bytes_per_second=32e9,
        source="NVIDIA A100 Tensor Core GPU datasheet",
        target=_nvidia(
            "NVIDIA A100-SXM4-80GB",
            (8, 0),
            core_count=108,
            fpus_per_core=64,
            threads_per_core_limit=2048,
            shared_memory_per_core=167936,
            shared_memory_per_block_optin=166912,
            l2_cache_size=40 * 2**20,
            memory_bandwidth=2_039_040_000_000,
            clock_rate_ghz=1.41,
            device_memory_size=85_100_068_864,
        ),
    ),
    "l4": Card(
        title="L4",
        flops=30.3e12,
        bytes_per_second=300e9,
        memory_bytes=24e9,
        link_bytes_per_second=32e9,
        source="NVIDIA L4 Tensor Core GPU datasheet",
        target=_nvidia(
            "NVIDIA L4",
            (8, 9),
            core_count=58,
            fpus_per_core=128,
            threads_per_core_limit=1536,
            shared_memory_per_core=102400,
            shared_memory_per_block_optin=101376,
            l2_cache_size=48 * 2**20,
            memory_bandwidth=300_000_000_000,
            clock_rate_ghz=2.04,
            device_memory_size=23_000_000_000,
        ),
    ),
    "v5e": Card(
        title="TPU v5e, one chip",
        flops=197e12 / _BFLOAT16_PRODUCTS,
        bytes_per_second=819e9,
        memory_bytes=16e9,
        link_bytes_per_second=16e9,
        source="Google Cloud documentation, TPU v5e",
        target=_tpu("v5e:2x2"),
        # Four units of 128 by 128 make 197 TFLOP/s of a multiplication and an addition each.
        clock_hertz=_TPU_HERTZ,
        launch_seconds=_TPU_KERNEL_CYCLES / _TPU_HERTZ,
        graph_launch_seconds=_TPU_KERNEL_CYCLES / _TPU_HERTZ,
    ),
}
