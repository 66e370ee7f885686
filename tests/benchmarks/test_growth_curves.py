"""Curves of rows that nobody measured."""

import dataclasses

import fake_rows
import pytest

from fedrec_tff.benchmarks import curves, plan
from fedrec_tff.benchmarks.report import RowResult


def _results(*names):
    rows = {row.name: row for row in plan.create_rows(plan.BenchmarkConfig(rows=names))}
    return [
        RowResult(rows[name], fake_rows.create_measurement(100.0, client_users=200.0))
        for name in names
    ]


def test_curves_are_of_groups_that_grow_and_have_two_measured_rows():
    results = _results("cohort_10", "cohort_100", "catalogue_4000", "native_dense")
    failed = dataclasses.replace(_results("catalogue_40000")[0], measurement=None, error="no more")
    found = curves.find_curves([*results, failed])
    assert {group: [r.row.name for r in rows] for group, rows in found.items()} == {
        "cohort": ["cohort_10", "cohort_100"]
    }


def test_a_curve_of_workers_begins_with_the_first():
    results = _results("shares_1_thread", "ray_1_worker", "ray_2_workers")
    (rows,) = curves.find_curves(results).values()
    assert [result.row.find_size() for result in rows] == [1, 2]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_file_has_a_panel_for_each_group(tmp_path, ending):
    results = _results("cohort_10", "cohort_100", "ray_1_worker", "ray_2_workers")
    path = tmp_path / f"curves.{ending}"
    curves.save_curves(path, results)
    before = path.read_bytes()
    if ending == "svg":
        for unit in ("users a round", "workers"):
            assert f"<!-- {unit} -->".encode() in before
    assert len(before) > 5000
