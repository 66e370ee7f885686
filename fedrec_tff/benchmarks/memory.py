"""Memory of this process and of those that it started, as Linux counts it."""

import os
import pathlib

_PEAK = "VmHWM"
_RESIDENT = "VmRSS"
_BYTES_PER_UNIT = 1024


def peak_bytes() -> int:
    """The peaks of this process and of its descendants that are alive, added up.

    What TFF's worker process needs is counted with what its client needs. The peaks need not be at
    the same moment, so the sum is an upper bound.
    """
    return _add_up(_PEAK)


def resident_bytes() -> int:
    """What this process and its descendants have now."""
    return _add_up(_RESIDENT)


def _add_up(field: str) -> int:
    status = _read_all()
    members = _find_family(os.getpid(), {pid: entry["PPid"] for pid, entry in status.items()})
    # A process that is about to end has no memory left to tell of.
    return _BYTES_PER_UNIT * sum(status[pid].get(field, 0) for pid in members)


def _find_family(root: int, parents: dict[int, int]) -> set[int]:
    """A process and its descendants."""
    family, generation = {root}, {root}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation} - family
        family |= generation
    return family


def _read_all() -> dict[int, dict[str, int]]:
    """For each process, its parent and its memory in KiB."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue  # It has ended.
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        found[int(path.parent.name)] = {
            name: int(value.split()[0])
            for name, value in pairs
            if name in ("PPid", _PEAK, _RESIDENT)
        }
    return found
