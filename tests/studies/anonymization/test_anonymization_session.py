"""Tests of what the references are trained on: never on the targets."""

import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.anonymization import attributes, config, pipeline, randomness
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import synthetic
from fedrec_tff.studies.anonymization import session as anonymization_session


@pytest.fixture(scope="module")
def log():
    return synthetic.generate_interactions(synthetic.SyntheticConfig(num_users=200))


def _anonymize(log, **settings):
    return pipeline.anonymize(
        log,
        attributes.from_features(log),
        config.AnonymizationConfig(**settings),
        randomness.Randomness(),
    )


def test_without_noise_the_raw_data_come_out(log):
    trains, held_out = anonymization_session.create_training_sequences(
        _anonymize(log, k=1, keep_order=True, time_granularity="none")
    )
    for name in ("items", "offsets"):
        raw, anonymized = (getattr(trains[when], name) for when in ("raw", "anonymized"))
        np.testing.assert_array_equal(raw, anonymized)
    np.testing.assert_array_equal(trains["raw"].items, held_out.history.items)


def test_targets_are_in_no_training_sequence(log):
    result = _anonymize(
        log, k=40, max_suppressed_fraction=0.5, decoys_per_user=2, time_granularity="month"
    )
    assert not result.keep_user.all()
    trains, held_out = anonymization_session.create_training_sequences(result)
    found = trains["anonymized"]
    suppressed = ~result.keep_user
    assert (found.lengths[suppressed] == 0).all()
    # Nobody takes an item twice here, so all but the target and the decoys must be there.
    expected = np.where(result.keep_user, log.lengths - 1 + 2, 0)
    np.testing.assert_array_equal(found.lengths, expected)
    for row, user in enumerate(held_out.user_index):
        if result.keep_user[user]:
            assert set(held_out.history.row(row)) <= set(found.row(user))
            assert not set(held_out.targets.row(row)) & set(found.row(user))


def test_under_another_name_the_target_is_left_out_too(log):
    result = _anonymize(log, k=1, item_epsilon=0.5, time_granularity="month")
    trains, _ = anonymization_session.create_training_sequences(result)
    last_rows = np.cumsum(log.lengths) - 1
    kept = np.setdiff1d(result.rows.source_row, last_rows)
    assert len(trains["anonymized"].items) == len(kept)


@pytest.mark.parametrize(
    ("dataset", "names", "message"),
    [
        ("synthetic", ("age",), "means nothing without --dataset=csv"),
        ("csv", None, "needs --quasi_identifiers"),
    ],
)
def test_a_file_of_users_must_mean_something(tmp_path, dataset, names, message):
    source = RunConfig(dataset=dataset, data_dir="events.csv" if dataset == "csv" else None)
    settings = config.AnonymizationConfig(quasi_identifiers=names)
    with pytest.raises(errors.UserError, match=message):
        anonymization_session.run(
            source, settings, bytes(32), tmp_path / "x", users_file="users.csv"
        )
    assert list(tmp_path.iterdir()) == []
