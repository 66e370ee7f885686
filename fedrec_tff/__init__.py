"""Private federated recommendation on TensorFlow Federated.

  import fedrec_tff

  run = fedrec_tff.train(events, user_column="user", item_column="item", time_column="time",
                         target_epsilon=8, output_dir="runs/mine")
  run.recommend(["item 7", "item 3"], k=10)
  run = fedrec_tff.load("runs/mine")

What is public is `train`, `load`, `TrainedRun`, `UserError` and `__version__`: these stay as they
are. The subpackages are not public, and change with any version; what their docstrings offer for
files of one's own (aggregators, models) is told in docs/aggregators.md and docs/custom_models.md.

Importing this takes milliseconds. TensorFlow, which takes ten seconds, is imported when it is
needed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fedrec_tff.errors import UserError

if TYPE_CHECKING:
    from fedrec_tff.notebook.trained_run import TrainedRun, load
    from fedrec_tff.notebook.training import train

__version__ = "0.1.0"
__all__ = ["TrainedRun", "UserError", "__version__", "load", "train"]

# Where each public name is that is not imported before somebody asks for it (PEP 562).
_HOMES = {
    "TrainedRun": "fedrec_tff.notebook.trained_run",
    "load": "fedrec_tff.notebook.trained_run",
    "train": "fedrec_tff.notebook.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
