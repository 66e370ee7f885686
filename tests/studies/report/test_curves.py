import pytest

from fedrec_tff.studies.report import curves


def _write(folder, *lines):
    folder.mkdir()
    (folder / "metrics.csv").write_text("\n".join([*lines, ""]))
    return folder


def test_seeds_are_joined_where_all_have_a_value(tmp_path):
    header = "round,train/loss,validation/recall@10"
    one = _write(tmp_path / "1", header, "1,3.0,", "2,2.5,0.1", "4,2.0,0.2", "6,1.9,0.3")
    other = _write(tmp_path / "2", header, "2,2.4,0.3", "4,2.1,0.6")
    curve = curves.read([one, other], "recall@10")
    assert curve.rounds == (2, 4)
    assert curve.mean == pytest.approx((0.2, 0.4))
    assert curve.low == (0.1, 0.2)
    assert curve.high == (0.3, 0.6)
    assert curve.num_seeds == 2
    assert curve.epsilon is None
    assert not curve.is_marked
    assert not curve.is_noised
    assert curves.read([one], "mrr") is None
    assert curves.find_last_round(one) == 6


def test_a_round_that_was_executed_again_counts_once_and_a_torn_row_not_at_all(tmp_path):
    folder = _write(tmp_path / "1", "round,validation/mrr", "2,0.1", "4,0.2", "4,0.25")
    with (folder / "metrics.csv").open("a") as file:
        file.write("6,0.")
    curve = curves.read([folder], "mrr")
    assert (curve.rounds, curve.mean) == ((2, 4), (0.1, 0.25))


@pytest.mark.parametrize("name", ["epsilon", "insecure_epsilon", "simulated_epsilon"])
def test_exact_values_of_private_runs_are_marked_and_have_the_largest_epsilon(tmp_path, name):
    header = f"round,privacy/{name},non_private/validation/mrr"
    one = _write(tmp_path / "1", header, "2,1.0,0.1", "3,1.5,", "4,2.0,0.2")
    other = _write(tmp_path / "2", header, "2,1.25,0.1", "4,1.75,0.2")
    curve = curves.read([one, other], "mrr")
    assert curve.is_marked
    assert curve.epsilon == (1.25, 2.0)


def test_noised_values_stand_in_where_exact_ones_are_withheld(tmp_path):
    folder = _write(tmp_path / "1", "round,privacy/epsilon,private/mrr", "2,1.0,0.15", "4,2.0,")
    curve = curves.read([folder], "mrr")
    assert curve.is_noised
    assert not curve.is_marked
    assert (curve.rounds, curve.mean) == ((2,), (0.15,))
    assert curve.low is curve.high is None


def test_the_band_of_one_noised_run_is_the_interval_that_was_released(tmp_path):
    header = "round,private/mrr,private/mrr_low,private/mrr_high"
    one = _write(tmp_path / "1", header, "2,0.15,0.1,0.2", "4,0.25,0.2,0.3")
    curve = curves.read([one], "mrr")
    assert (curve.low, curve.high) == ((0.1, 0.2), (0.2, 0.3))
    other = _write(tmp_path / "2", header, "2,0.13,0.0,0.9", "4,0.35,0.0,0.9")
    curve = curves.read([one, other], "mrr")
    assert (curve.low, curve.high) == ((0.13, 0.25), (0.15, 0.35))


def test_a_run_that_has_written_nothing_has_no_curve(tmp_path):
    (tmp_path / "1").mkdir()
    assert curves.read([tmp_path / "1"], "mrr") is None
    assert curves.find_last_round(tmp_path / "1") == 0
