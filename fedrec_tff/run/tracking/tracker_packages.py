"""Whether the packages of trackers are installed; light, so that it is told at once."""

# Tested in tests/run/tracking/test_reporting.py.

import importlib.util
from collections.abc import Iterable

from fedrec_tff import errors
from fedrec_tff.config import report_config

REQUIREMENTS = "requirements-tracking.txt"


def check(names: Iterable[str]) -> None:
    """Refuses trackers whose package is missing; imports none.

    Args:
      names: Names of trackers, as `--report_to` has them.

    Raises:
      UserError: If a package is missing.
    """
    for name in names:
        if name in report_config.TRACKERS and importlib.util.find_spec(name) is None:
            raise errors.UserError(
                f"--report_to={name}: the package {name} is not installed: .venv/bin/python -m pip "
                f"install --no-deps -r {REQUIREMENTS}"
            )
