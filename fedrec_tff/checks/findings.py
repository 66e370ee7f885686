"""What a check finds."""

# Tested in tests/checks/test_aggregator_check.py.

import dataclasses

OK = "OK"
WARN = "WARN"
FAIL = "FAIL"
SKIP = "SKIP"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
      status: `OK`, `WARN`, `FAIL`, or `SKIP` where it could not be checked.
      name: Of the check.
      text: A sentence.
    """

    status: str
    name: str
    text: str
