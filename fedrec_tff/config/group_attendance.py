"""In how many of their rounds users of a group take part: `--group_attendance`.

Where a group is small, a model learns little from it. Under differential privacy nobody may count
for more than the clip, but others may come less often.
"""

# Tested in tests/run/test_group_attendance.py.

import dataclasses

from fedrec_tff import errors

_FLAG = "--group_attendance"


@dataclasses.dataclass(frozen=True)
class GroupAttendance:
    """Shares of rounds by what is known of a user.

    Attributes:
      column: Column of the users' table.
      shares: Value of the column, and the share of rounds, in (0, 1], of users who have it. All
        others come to all of theirs.
    """

    column: str
    shares: tuple[tuple[str, float], ...]


def parse(text: str) -> GroupAttendance:
    """Reads the flag.

    Args:
      text: The flag's value, `gender:M=0.5` or `age:25=0.5,35=0.7`.

    Returns:
      What it says.

    Raises:
      UserError: If it says nothing that can be read.
    """
    column, colon, groups = text.partition(":")
    if not (column.strip() and colon and groups.strip()):
        raise errors.UserError(
            f"{_FLAG}={text!r}: name a column of the users' table, and values of it with the share "
            "of rounds that such users take part in, as in gender:M=0.5"
        )
    shares = tuple(_parse_share(text, part) for part in groups.split(","))
    if len(dict(shares)) < len(shares):
        raise errors.UserError(f"{_FLAG}={text!r}: a value is named twice")
    return GroupAttendance(column.strip(), shares)


def _parse_share(text: str, part: str) -> tuple[str, float]:
    value, _, number = part.rpartition("=")
    try:
        share = float(number)
    except ValueError:
        share = 0.0
    if not value.strip() or not 0.0 < share <= 1.0:
        raise errors.UserError(
            f"{_FLAG}={text!r}: {part.strip()!r} must be a value and a share above 0 and at most "
            "1, as in M=0.5"
        )
    return value.strip(), share
