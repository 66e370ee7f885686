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
      name: Name of the check.
      text: Finding in a sentence.
    """

    status: str
    name: str
    text: str
