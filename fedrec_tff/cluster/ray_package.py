"""Ray, which is an extra, imported where it is needed and quietly."""

# Tested in tests/cluster/test_ray_connection.py.

import importlib.util
import os
from typing import Any

from fedrec_tff import errors

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SCHEDULER_EVENTS": "0",
}


def check_is_installed(flag: str) -> None:
    """Refuses a flag that needs Ray where there is none.

    Args:
      flag: The flag as it was given.

    Raises:
      UserError: If Ray is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("ray") is None:
        raise errors.UserError(
            f"{flag} needs Ray, which is not installed: "
            "python -m pip install --no-deps -r requirements-ray.txt"
        )


def import_ray() -> Any:
    """Imports Ray; it tells nobody that it is used, unless the environment says otherwise."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    return ray
