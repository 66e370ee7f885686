"""A quality that a run is timed by: `--target_quality`."""

# Tested in tests/config/checks/test_device_checks.py.

import dataclasses
import math

from fedrec_tff import errors

_FLAG = "--target_quality"


@dataclasses.dataclass(frozen=True)
class TargetQuality:
    """A value of a validation metric.

    Attributes:
      metric: Name of the metric, as in `ndcg@10`.
      value: Value that counts as reached, and all above it.
    """

    metric: str
    value: float


def parse(text: str) -> TargetQuality:
    """Reads the flag.

    Args:
      text: The flag's value, such as `ndcg@10=0.05`.

    Returns:
      What it says.

    Raises:
      UserError: If it is no metric and number.
    """
    metric, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not metric.strip() or not math.isfinite(value):
        raise errors.UserError(
            f"{_FLAG}={text}: name a validation metric and the value to reach, as in ndcg@10=0.05"
        )
    return TargetQuality(metric.strip(), value)
