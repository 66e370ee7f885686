import asyncio
import math

import pytest
import tensorflow as tf

from fedrec_tff.run.tracking import round_events
from tests.run.tracking import events


def _row(number):
    metrics = {
        "validation/recall@10": number / 100,
        "train/num_clients": 7.0,
        "time/round_seconds": 0.5 + number,
        "privacy/epsilon": math.sqrt(number),
        # It changes with a round that is to be computed again.
        "communication/upload_megabytes": 1.0 if number < 5 else 2.0,
    }
    return metrics if number % 2 == 0 else {n: v for n, v in metrics.items() if "valid" not in n}


def _train(folder, earlier, last, stops_after=None):
    with round_events.RoundEventsReleaseManager(folder, earlier, 8, 2) as manager:
        for number in range(len(earlier) + 1, last + 1):
            asyncio.run(manager.release(_row(number), number))
            if number == stops_after:
                raise KeyboardInterrupt


def _rows(last):
    return [(number, _row(number)) for number in range(1, last + 1)]


def test_a_run_that_was_resumed_is_as_one_that_was_not(tmp_path):
    _train(tmp_path / "whole", [], 8)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "resumed", [], 8, stops_after=6)
    # The checkpoint was that of round 3.
    _train(tmp_path / "resumed", _rows(3), 8)
    whole = events.read_scalars(tmp_path / "whole")
    assert whole == events.read_scalars(tmp_path / "resumed")
    assert [step for step, _ in whole["1 validation/recall@10"]] == [2, 4, 6, 8]
    for tag in ("5 time/round_seconds", "4 communication/upload_megabytes"):
        assert [step for step, _ in whole[tag]] == list(range(1, 9))
    assert whole["1 validation/recall@10"][-1][1] == pytest.approx(0.08)


def test_what_never_changes_is_a_text_and_no_curve(tmp_path):
    _train(tmp_path, [], 8)
    assert not [tag for tag in events.read_scalars(tmp_path) if "num_clients" in tag]
    ((step, text),) = events.read_texts(tmp_path)["configuration/constant_metrics"]
    assert step == 8
    assert "| train/num_clients | `7` |" in text


def test_epsilon_is_a_picture_and_a_table_which_nothing_smooths(tmp_path):
    _train(tmp_path, [], 7)
    assert not [tag for tag in events.read_scalars(tmp_path) if "epsilon" in tag]
    found = events.accumulate(tmp_path)
    pictures = found.Tensors("2 privacy/epsilon")
    # After every second round, and at the end.
    assert [picture.step for picture in pictures] == [2, 4, 6, 7]
    png = tf.make_ndarray(pictures[-1].tensor_proto)[2]
    assert tf.io.decode_png(png).shape[2] == 3
    step, table = events.read_texts(tmp_path)["privacy/epsilon"][-1]
    assert (step, table.splitlines()[-1]) == (7, "| 7 | 2.646 |")


def test_no_noise_has_no_picture(tmp_path):
    with round_events.RoundEventsReleaseManager(tmp_path, [], 2, 1) as manager:
        asyncio.run(manager.release({"privacy/epsilon": math.inf}, 1))
    assert events.find_tags(tmp_path, "images") == set()
    assert "| 1 | inf |" in events.read_texts(tmp_path)["privacy/epsilon"][0][1]


def test_cards_have_descriptions(tmp_path):
    _train(tmp_path, [], 2)
    metadata = events.accumulate(tmp_path).SummaryMetadata("1 validation/recall@10")
    assert metadata.summary_description.startswith("Share of a user's held-out items")


def test_rounds_are_read_up_to_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.csv"
    assert round_events.read_rounds(path, 3) == []
    path.write_text("round,a,b\n1,0.5,\n2,0.25,inf\n3,1,2\n")
    assert round_events.read_rounds(path, 2) == [(1, {"a": 0.5}), (2, {"a": 0.25, "b": math.inf})]
