"""What a card says of a run, and what it keeps to itself."""

import pytest
import shipped_models

from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving import model_card
from fedrec_tff.serving.item_index import About
from fedrec_tff.serving.lite_model import LiteFile

_PRIVATE = {"target_epsilon": 8.0, "clients_per_round": 9.0}
_CONTENTS = model_card.Contents(
    num_bytes={"items.csv": 1234567, "tflite/encoder_int8.tflite": 99, "index": 4},
    lite_files=[LiteFile("encoder_int8.tflite", 99, 0.98765)],
    index=About("hnswlib", 0.9712),
    command=["python", "-m", "experiments.export", ".../run", "--output_dir=.../it's"],
)


def _write(folder, results=None, shows_non_private=False, **flags):
    directory = shipped_models.write_run(folder / "run", results, **flags)
    return model_card.write(finished_run.find(directory.root), _CONTENTS, shows_non_private)


def test_a_card_tells_of_the_model_its_files_and_its_making(tmp_path):
    card = _write(
        tmp_path,
        {"test/recall@10": 0.12345, "popularity/test/mrr": 0.5, "validation/mrr": 0.77777},
        rounds=7,
        data_dir="/home/ann/clinic/events.csv",
        dataset="csv",
        item_features=("genre",),
        seed=5,
        aggregator="quantize,trimmed_mean",
        aggregator_param=("bits=4", "fraction=0.1"),
    )
    assert "the tower `mean` reads the newest 5 items" in card
    assert "with 57 items" in card
    assert "in 3 rounds" in card
    assert "| `test/recall@10` | 0.1235 |" in card
    assert "| `popularity/test/mrr` | 0.5000 |" in card
    assert "0.7778" not in card
    assert "NOT PRIVATE" in card
    assert "who has it may find out" in card
    assert "| `items.csv` | 1,234,567 |  |" in card
    assert "| `tflite/encoder_int8.tflite` | 99 | 0.988 |" in card
    assert "| `index` | 4 | 0.971 |" in card
    assert "--data_dir=.../events.csv" in card
    assert "clinic" not in card
    assert "--aggregator_param=bits=4 --aggregator_param=fraction=0.1" in card
    assert "--item_features=genre" in card
    assert "--seed=5" in card
    assert "'--output_dir=.../it'\"'\"'s'" in card


_MEASURED = {
    "privacy_statement": "This run has (8, 1e-05)-differential privacy.",
    "private/recall@10": 0.21,
    "private/recall@10_low": 0.19,
    "non_private/test/recall@10": 0.3456,
    "non_private/private_popularity/test/mrr": 0.4567,
    "non_private/validation/mrr": 0.6789,
    "non_private/seconds": 12.3,
    # Of an earlier version, whose names were plain.
    "test/ndcg@10": 0.5678,
}


def test_a_private_card_shows_what_epsilon_covers(tmp_path):
    card = _write(tmp_path, _MEASURED, seed=61803, **_PRIVATE)
    assert "| `private/recall@10` | 0.2100 |" in card
    for hidden in ("0.3456", "0.4567", "0.6789", "12.3", "0.5678", "61803", "non_private/"):
        assert hidden not in card
    assert "with the aggregator `dp_gaussian`" in card
    assert "differential privacy." in card


def test_exact_metrics_are_shown_if_asked_for_and_called_what_they_are(tmp_path):
    card = _write(tmp_path, _MEASURED, shows_non_private=True, **_PRIVATE)
    assert "| `non_private/test/recall@10` | 0.3456 |" in card
    assert "| `non_private/private_popularity/test/mrr` | 0.4567 |" in card
    assert "which epsilon does not cover" in card
    for hidden in ("0.6789", "12.3", "0.5678"):
        assert hidden not in card


def test_a_card_without_metrics_says_why(tmp_path):
    card = _write(tmp_path, {"non_private/test/mrr": 0.1234}, **_PRIVATE)
    assert "No metric is shown" in card
    assert "0.1234" not in card


@pytest.mark.parametrize(
    ("value", "expected"),
    [("plain", "plain"), (0.5, "0.5"), ("/a/b/", ".../b"), ("x/y.py:build", ".../y.py:build")],
)
def test_paths_are_told_by_their_last_part(value, expected):
    assert model_card.shorten(value) == expected


@pytest.mark.parametrize(
    ("query_tower", "fitted_to", "older"),
    [
        ("mean", "over all of it", "to all of them it is fitted"),
        ("gru", "over what is read of it", "it only knows not to recommend them"),
    ],
)
def test_a_card_tells_what_is_fitted_to_a_history(tmp_path, query_tower, fitted_to, older):
    card = _write(tmp_path, personal_tower="embedding", query_tower=query_tower)
    assert fitted_to in card
    assert older in card
    assert "how often" not in card
    counted = {"personal_tower": "embedding", "negative_sampling": "popularity"}
    assert "is served: exactly" in _write(tmp_path / "exact", **counted)
    noised = _write(tmp_path / "noised", **counted, **_PRIVATE, popularity_noise_multiplier=2.0)
    assert "is served: as released with noise, a part of epsilon" in noised
