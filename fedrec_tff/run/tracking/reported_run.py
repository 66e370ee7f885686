"""What the builder of a release manager is told of the run that it is to follow."""

# Tested in tests/run/tracking/test_reporting.py.

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """A run, as a tracker is told of it.

    Attributes:
      name: Name of the run: that of its folder.
      run_id: Identity of the run, the same in each of its sessions.
      folder: Folder of the run, for files of the tracker's own.
      flags: Values of the flags that differ from their defaults, as in TensorBoard's HParams.
      is_private: Whether the run claims differential privacy.
    """

    name: str
    run_id: str
    folder: pathlib.Path
    flags: Mapping[str, Any]
    is_private: bool
