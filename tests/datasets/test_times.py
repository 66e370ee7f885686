"""Tests of times: exact to the nanosecond, against rational arithmetic."""

import datetime
import fractions
import math

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from fedrec_tff.datasets import times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1198195200", (1198195200, 0)),
        ("1700000000123", (1700000000123, 0)),
        ("1700000000123456789", (1700000000123456789, 0)),
        ("9223372036854775807", (2**63 - 1, 0)),
        ("1198195200.9", (1198195200, 900_000_000)),
        ("1700000000.123456789", (1700000000, 123_456_789)),
        ("1700000000.1234567899", (1700000000, 123_456_789)),
        ("9223372036854775807.999999999999", (2**63 - 1, 999_999_999)),
        ("-0.5", (-1, 500_000_000)),
        ("1.5e9", (1_500_000_000, 0)),
        ("1970-01-02", (86400, 0)),
        ("1970-01-01 00:01:00", (60, 0)),
        ("1970-01-01T02:00:00+01:00", (3600, 0)),
        ("1970-01-01T00:00:05.7Z", (5, 700_000_000)),
        ("1970-01-01T00:00:05,7", (5, 700_000_000)),
        ("1969-12-31T23:59:59.123456789Z", (-1, 123_456_789)),
        ("2023-11-14T22:13:20.1234567891+00:00", (1700000000, 123_456_789)),
        ("2023-11-14T22:13:20.1234567", (1700000000, 123_456_700)),
        ("9999-12-31T23:59:59.999999999", (253402300799, 999_999_999)),
    ],
)
def test_a_time_is_what_its_text_says(text, expected):
    assert times.parse(text) == expected


@hypothesis.given(st.decimals(-(2**62), 2**62, allow_nan=False, places=12))
def test_decimals_are_cut_below_a_nanosecond(number):
    hypothesis.assume("." in f"{number:f}")
    nanoseconds = math.floor(fractions.Fraction(f"{number:f}") * 10**9)
    assert times.parse(f"{number:f}") == divmod(nanoseconds, 10**9)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "nan", "inf", "1e400", "1e999999999", "9223372036854775808", "1e19", "2023-13-01"],
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match=r"is neither seconds nor|does not fit"):
        times.parse(text)


@hypothesis.given(st.lists(st.floats(-(2.0**52), 2.0**52), min_size=1))
def test_floats_are_cut_below_a_nanosecond(numbers):
    whole, billionths, bad = times.convert(pa.chunked_array([pa.array(numbers, pa.float64())]))
    assert not bad.any()
    for number, found in zip(numbers, zip(whole, billionths, strict=True), strict=True):
        exact = math.floor(fractions.Fraction(number) * 10**9)
        # The product of fraction and billion is rounded once: by far less than a nanosecond.
        assert abs(int(found[0]) * 10**9 + int(found[1]) - exact) <= 1


@pytest.mark.parametrize("number", [None, math.nan, math.inf, 2.0**53])
def test_floats_that_are_no_times(number):
    _, _, bad = times.convert(pa.chunked_array([pa.array([1.0, number])]))
    assert bad.tolist() == [False, True]


def test_dates_and_nulls():
    days = pa.chunked_array([pa.array([datetime.date(1969, 12, 31), None])])
    whole, billionths, bad = times.convert(days)
    assert (whole[0], billionths[0]) == (-86400, 0)
    assert bad.tolist() == [False, True]
    assert billionths.dtype == np.int32
    assert times.convert(pa.chunked_array([pa.array([True])])) is None
