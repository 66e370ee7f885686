import pytest

from fedrec_tff.studies.report import scales


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 0.194, 5, [0.0, 0.05, 0.1, 0.15, 0.2]),
        (0.0, 150.0, 8, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0]),
        (0.0, 20.0, 8, [0.0, 5.0, 10.0, 15.0, 20.0]),
        (0.0, 8.0, 8, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
        (-0.03, 0.04, 4, [-0.04, -0.02, 0.0, 0.02, 0.04]),
        (0.0, 0.0, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 3e-7, 5, [0.0, 1e-7, 2e-7, 3e-7]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, most, expected):
    assert scales.find_ticks(low, high, most) == expected


def test_ticks_have_the_decimals_that_they_need():
    assert scales.format_ticks([0.0, 0.05, 0.1]) == ["0.00", "0.05", "0.10"]
    assert scales.format_ticks([0.0, 500.0, 1000.0]) == ["0", "500", "1,000"]
    assert scales.format_ticks([0.0, 0.5]) == ["0.0", "0.5"]
