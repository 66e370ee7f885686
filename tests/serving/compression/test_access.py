"""Who may look at users' interactions: nobody, where epsilon was promised."""

import numpy as np
import pytest
import shipped_models

import fedrec_tff
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import data
from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving.compression import access, catalogue, chain

_FLAGS = {"synthetic_users": 30, "synthetic_items": 40}
_PRIVATE = {**_FLAGS, "noise_multiplier": 1.0, "clip_norm": 1.0}
_TOUCHING = [
    *("low_rank weighting=counted", "pq weighting=counted"),
    *("distil histories=training", "tune histories=training"),
    "quantize | tune histories=training",
]


def _write(folder, **flags):
    log = data.load_data(RunConfig(embedding_dim=8, history_length=5, **flags))
    items = shipped_models.ItemCatalogue(log.interactions.item_ids.astype(object), None)
    shipped_models.write_run(folder, items=items, fingerprint=log.fingerprint, **flags)
    return finished_run.find(folder), log


@pytest.mark.parametrize("text", _TOUCHING)
def test_what_touches_users_data_is_refused_of_a_private_run(text, tmp_path, monkeypatch):
    run, _ = _write(tmp_path / "run", **_PRIVATE)
    assert run.config.is_private
    forms = chain.parse(text)
    assert forms[text].touches_user_data
    # Refused before any data are read.
    monkeypatch.setattr(finished_run.FinishedRun, "reopened", None)
    for refused in (
        lambda: access.check(run, forms),
        lambda: access.open_inputs(run, forms[text], 0),
    ):
        with pytest.raises(fedrec_tff.UserError, match="covers what was released, not this"):
            refused()


def test_a_part_that_is_fitted_to_each_history_has_no_smaller_form(tmp_path):
    run, _ = _write(tmp_path / "run", **_FLAGS, personal_tower="embedding")
    with pytest.raises(fedrec_tff.UserError, match=r"\(--personal_tower=embedding\): export"):
        access.check(run, chain.parse("float16"))


@pytest.mark.parametrize("name", catalogue.METHODS)
@pytest.mark.parametrize("flags", [_FLAGS, _PRIVATE], ids=["plain", "private"])
def test_what_does_not_say_so_sees_no_data(name, flags, tmp_path, monkeypatch):
    run, _ = _write(tmp_path / "run", **flags)
    monkeypatch.setattr(finished_run.FinishedRun, "reopened", None)
    forms = chain.parse(name)
    access.check(run, forms)
    inputs = access.open_inputs(run, forms[name], 3)
    assert inputs.training is None
    assert inputs.released_counts is None
    assert inputs.seed == 3


def test_without_privacy_what_says_so_sees_the_training_part(tmp_path):
    run, log = _write(tmp_path / "run", **_FLAGS)
    text = "low_rank weighting=counted"
    inputs = access.open_inputs(run, chain.parse(text)[text], 0)
    np.testing.assert_array_equal(inputs.training.items, log.split.train.items)
    counts = np.maximum(np.bincount(log.split.train.items, minlength=40), 1)
    found = inputs.weigh_items("counted", 40)
    np.testing.assert_allclose(found / found[0], counts / counts[0])


def test_released_counts_may_weigh_under_privacy(tmp_path):
    run, _ = _write(tmp_path / "run", **_PRIVATE, popularity_noise_multiplier=5.0)
    counts = np.arange(40.0)
    np.save(run.directory.private_popularity, counts)
    text = "low_rank weighting=released"
    forms = chain.parse(text)
    access.check(run, forms)
    inputs = access.open_inputs(run, forms[text], 0)
    np.testing.assert_array_equal(inputs.released_counts, counts)
    assert inputs.training is None
