"""What a benchmark ran on: enough to judge its figures, and nothing that names the machine."""

import importlib.metadata
import os
import pathlib
import sys
from typing import Any

_PACKAGES = ("tensorflow", "tensorflow-federated", "tensorflow-recommenders", "numpy")
_BYTES_PER_GIB = 2**30


def describe() -> dict[str, Any]:
    """CPU model, cores that this process may use, memory, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _find_cpu_model(pathlib.Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / _BYTES_PER_GIB, 1),
        "python": sys.version.split()[0],
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _find_cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown"
