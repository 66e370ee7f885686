"""What `make test-times` prints of a test run."""

import pathlib
import subprocess
import sys

import durations

_XML = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" tests="4" time="9.0">
<testcase classname="tests.room.test_one" name="test_a[x-1]" time="1.25" />
<testcase classname="tests.room.test_one" name="test_b" time="0.5"><skipped /></testcase>
<testcase classname="tests.test_two" name="test_c" time="4.0" />
<testcase classname="tests.test_three" name="test_d" time="0.25" />
</testsuite></testsuites>
"""


def test_time_is_told_by_file_and_of_the_slowest_tests(tmp_path):
    path = tmp_path / "times.xml"
    path.write_text(_XML)
    text = durations.describe(durations.read_cases(path), num_files=2, num_tests=3)
    assert text.splitlines() == [
        "6.0 s in 4 tests of 3 files",
        "",
        "seconds  tests  file",
        "    4.0      1  tests.test_two",
        "    1.8      2  tests.room.test_one",
        "",
        "seconds  test",
        "    4.0  tests.test_two::test_c",
        "    1.2  tests.room.test_one::test_a[x-1]",
        "    0.5  tests.room.test_one::test_b",
    ]


def test_it_is_a_script(tmp_path):
    path = tmp_path / "times.xml"
    path.write_text(_XML)
    script = pathlib.Path(durations.__file__)
    printed = subprocess.run(
        [sys.executable, "-S", script, path], capture_output=True, text=True, check=True
    ).stdout
    assert "6.0 s in 4 tests of 3 files" in printed
