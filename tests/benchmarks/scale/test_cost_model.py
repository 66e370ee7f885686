import pathlib
import re

import numpy as np
import pytest

from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.report import RowResult
from fedrec_tff.benchmarks.scale import cost_model, held_against, recorded_rows
from tests.benchmarks import fake_rows

_PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "performance.md"
_NUMBER = re.compile(r"[\d,]+\.?\d*")


def _read_page():
    """The rows of the page with a round, its stages and its memory, by their titles."""
    found = {}
    for line in _PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and _NUMBER.fullmatch(cells[3]):
            found[cells[0]] = [float(cells[i].replace(",", "")) for i in (3, 4, 5, 7)]
    return found


def test_recorded_rows_are_those_of_the_page():
    page, rows = _read_page(), plan.create_rows(plan.BenchmarkConfig())
    titles = {row.name: row.title for row in rows}
    for row in recorded_rows.ROWS:
        assert page[titles[row.name]] == [row.round_ms, row.clients_ms, row.server_ms, row.peak_mb]
    assert recorded_rows.COMMAND in _PAGE.read_text()


def test_a_round_by_hand():
    size = cost_model.RoundSize(1000, 200.0, 10, 2_000_000, 4)
    cost = cost_model.predict(size)
    # 200,000 examples of (0.77 + 0.54 + 0.0163) microseconds on four cores.
    clients = 0.010 + 50_000 * 1.3263e-6 + 2e6 * 0.27e-9
    server = 0.0055 + 2e6 * 14.6e-9
    assert cost.clients_seconds == pytest.approx(clients)
    assert cost.server_seconds == pytest.approx(server)
    assert cost.seconds == pytest.approx(clients + server + 0.0035)
    assert cost.peak_bytes == pytest.approx(960e6 + 7.0 * 8e6)


def test_the_formulas_are_near_what_they_were_read_off():
    ratios = held_against.compare_recorded()
    assert len(ratios) == len(recorded_rows.ROWS)
    for kind in ("seconds", "clients", "server", "memory"):
        low, high = held_against.find_range(ratios, kind)
        assert 0.7 < low <= 1.0 <= high < 1.25
    # And a slope that is not: a row of the page that nothing was read off, on one thread.
    [row] = plan.create_rows(plan.BenchmarkConfig(rows=("compiled_row_sparse_1_shard",)))
    measured = 100 / 1632
    assert held_against.predict(row.setting, 1).seconds == pytest.approx(measured, rel=0.15)


def test_measured_rows_are_compared_and_others_left_out():
    row = plan.create_rows(plan.BenchmarkConfig(rows=("cohort_100",)))[0]
    predicted = held_against.predict(row.setting, 2)
    found = fake_rows.create_measurement(50.0, client_users=60.0)
    without = fake_rows.create_measurement(50.0)
    results = [RowResult(row, found), RowResult(row, without), RowResult(row, error="no")]
    [ratio] = held_against.compare_measured(results, 2)
    np.testing.assert_allclose(
        [ratio.seconds, ratio.clients, ratio.server, ratio.memory],
        [
            predicted.seconds / 0.5,
            predicted.clients_seconds / 0.02,
            predicted.server_seconds / 0.003,
            predicted.peak_bytes / 1234e6,
        ],
    )


def test_speed_is_what_ratios_have_in_common():
    slow = [
        held_against.Ratio("a", 0.1, 0.2, 1.0, 1.0),
        held_against.Ratio("b", 0.4, 0.2, 4.0, 1.0),
    ]
    found = held_against.divide_by_speed(slow)
    np.testing.assert_allclose([found[0].seconds, found[1].seconds], [0.5, 2.0])
    np.testing.assert_allclose([found[0].clients, found[1].server], [1.0, 2.0])
