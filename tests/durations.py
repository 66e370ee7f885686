"""Prints where the time of a test run went, from the XML that pytest's --junitxml writes.

python tests/durations.py build/test-times.xml
"""

import collections
import sys
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

_NUM_FILES = 60
_NUM_TESTS = 60


class Case(NamedTuple):
    """A test, and how long it took with the fixtures that were made for it.

    Attributes:
      seconds: Wall time.
      file: Dotted name of its module.
      name: Its name, with parameters.
    """

    seconds: float
    file: str
    name: str


def read_cases(path: str) -> list[Case]:
    """Reads the tests of a run.

    Args:
      path: The XML.

    Returns:
      The tests, in the file's order.
    """
    return [
        Case(float(case.get("time", 0.0)), case.get("classname", ""), case.get("name", ""))
        for case in ElementTree.parse(path).iter("testcase")
    ]


def describe(cases: list[Case], num_files: int = _NUM_FILES, num_tests: int = _NUM_TESTS) -> str:
    """Tells the time by file, and the slowest tests.

    Args:
      cases: The tests.
      num_files: How many files to list, the slowest first.
      num_tests: How many tests to list, likewise.

    Returns:
      The text.
    """
    seconds, counts = collections.Counter(), collections.Counter()
    for case in cases:
        seconds[case.file] += case.seconds
        counts[case.file] += 1
    lines = [f"{sum(seconds.values()):.1f} s in {len(cases)} tests of {len(counts)} files", ""]
    lines += ["seconds  tests  file"]
    lines += [
        f"{total:7.1f}  {counts[file]:5d}  {file}" for file, total in seconds.most_common(num_files)
    ]
    lines += ["", "seconds  test"]
    slowest = sorted(cases, key=lambda case: -case.seconds)[:num_tests]
    lines += [f"{case.seconds:7.1f}  {case.file}::{case.name}" for case in slowest]
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe(read_cases(sys.argv[1])))
