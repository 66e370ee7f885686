"""Ratios, tables, JSON and Markdown of rows that nobody measured."""

import json
import re

import fake_rows
import pytest

from fedrec_tff.benchmarks import report

_EXPECTED = {
    "compiled_over_native_ratio": 3000 / 50,
    "compiled_over_native_dense_ratio": 500 / 20,
    "compiled_over_stock_tff_ratio": 3000 / 75,
    "compiled_over_default_stock_tff_ratio": 3000 / 15,
    "compiled_over_tfrs_fit_16_ratio": 500_000 / 10_000,
    "compiled_over_tfrs_fit_1024_ratio": 500_000 / 200_000,
    "compiled_over_bare_loop_ratio": 330_000 / 660_000,
    "compiled_client_work_over_bare_loop_ratio": 2400 / 3200,
    "all_shards_over_one_shard_ratio": 3000 / 2000,
    "compiled_over_native_attention_ratio": 26_000 / 1_300,
    "pjrt_loop_over_compiled_small_ratio": 4000 / 5000,
    "pjrt_block_over_loop_small_ratio": 3200 / 4000,
    "pjrt_loop_over_compiled_attention_ratio": 1000 / 800,
    "pjrt_block_over_loop_attention_ratio": 1500 / 1000,
    "lazy_million_over_4000_ratio": 1400 / 2000,
    "noise_million_over_4000_ratio": 400 / 1600,
    "shares_over_one_share_ratio": 1500 / 2000,
    "one_worker_over_one_thread_ratio": 1200 / 1500,
    "two_workers_over_one_ratio": 2100 / 1200,
    "two_workers_over_all_threads_ratio": 2100 / 2800,
    "row_sparse_over_dense_ratio": 3000 / 500,
}


def test_ratios_are_quotients_of_medians():
    ratios = report.compute_ratios(fake_rows.create_report().results)
    assert ratios == pytest.approx(_EXPECTED)


def test_a_failed_row_takes_its_own_ratios_only():
    ratios = report.compute_ratios(fake_rows.create_report(failed=["bare_loop"]).results)
    missing = {name for name, value in ratios.items() if value is None}
    assert missing == {name for name in _EXPECTED if "bare_loop" in name}
    ratios = report.compute_ratios(fake_rows.create_report(names=["bare_loop"]).results)
    assert set(ratios.values()) == {None}


def test_json_is_one_object_with_everything():
    found = json.loads(fake_rows.create_report(failed=["native_dense"]).to_json())
    assert found["compiled_over_native_ratio"] == found["ratios"]["compiled_over_native_ratio"]
    assert found["compiled_over_native_ratio"] == 60.0
    assert found["ratios"]["compiled_over_native_dense_ratio"] is None
    assert list(found["rows"]) == list(fake_rows.FIGURES)
    row = found["rows"]["compiled_row_sparse"]
    assert row["users_per_second"] == {"lower": 2250.0, "median": 3000.0, "upper": 4500.0}
    assert row["stage_seconds"]["server"] == 0.003
    assert row["setting"]["num_items"] == 3706
    assert row["group"] == "round"
    assert row["error"] is None
    failed = found["rows"]["native_dense"]
    assert failed["error"] == "MemoryError: no more"
    assert "users_per_second" not in failed
    assert found["command"] == "python -m some.command --seed=3"
    assert found["seed"] == 3
    assert found["machine"] == fake_rows.MACHINE


@pytest.mark.parametrize(
    ("names", "failed", "lacks"),
    [
        (["native_row_sparse", "compiled_row_sparse"], [], False),
        (["native_row_sparse", "compiled_row_sparse"], ["native_row_sparse"], True),
        (["native_row_sparse", "compiled_row_sparse", "bare_loop"], ["bare_loop"], False),
        (["bare_loop"], [], False),
        (["compiled_row_sparse"], ["compiled_row_sparse"], False),
    ],
)
def test_the_headline_is_missed_only_where_it_was_asked_for(names, failed, lacks):
    assert fake_rows.create_report(failed, names).lacks_headline == lacks


def read_markdown_rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_markdown_has_the_figures_the_command_and_the_machine():
    text = fake_rows.create_report(failed=["stock_tff"]).to_markdown()
    first_line = text.splitlines()[0]
    for part in ("`python -m some.command --seed=3`", "seed 3", "3 cores of Abacus 9", "1.5 GiB"):
        assert part in first_line
    rows = read_markdown_rows(text)
    assert rows["compiled, row-sparse, all shards"] == [
        "3,000", "500,000", "-25% to +50%", "3.25", "1,234", "99", "12",
    ]  # fmt: skip
    assert rows["TFRS fit, batch 16"][:3] == ["-", "10,000", "-25% to +50%"]
    assert rows["10 users a round"] == [
        "800", "1,600", "500.0", "20.0", "3.0", "3.25", "1,234", "12",
    ]  # fmt: skip
    assert rows["stock TFF, default client loop"] == ["failed", *["-"] * 6]
    assert "- stock TFF, default client loop (stock_tff) failed: MemoryError: no more" in text
    assert rows["compiled over native, row-sparse, users/s"] == ["60.00"]
    assert "compiled over stock TFF, default client loop, users/s" not in rows


def test_every_table_of_markdown_is_rectangular():
    text = fake_rows.create_report(failed=["cohort_10"]).to_markdown()
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 9
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_text_is_aligned():
    text = fake_rows.create_report(failed=["tfrs_fit_16"]).to_text()
    assert "failed: MemoryError: no more" in text
    # Numbers end where their column's title ends.
    lines = text.splitlines()
    header = next(line for line in lines if "users/s" in line)
    end = re.search("users/s", header).end()
    measured = [line for line in lines if line.strip().startswith(("native,", "compiled, "))][:5]
    assert len(measured) == 5
    for line in measured:
        assert re.match(r"[\d,]*\d$", line[:end].split()[-1]), line
        assert line[end : end + 1] == " "
    assert all(len(line) <= 120 or "Abacus" in line for line in lines)


def test_without_any_ratio_there_is_no_table_of_ratios():
    assert "Ratios" not in fake_rows.create_report(names=["bare_loop"]).to_text()
