"""Tests of what a run takes over from another one's model; the arrays are made by hand."""

import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import initial_model, run_directory, whole_files

_FLAGS = {"embedding_dim": 2, "num_blocks": 1}
_THEIRS = ["a", "b", "NA", "07"]


@pytest.fixture
def folder(tmp_path):
    """A finished run's folder, of four items."""
    directory = run_directory.RunDirectory(tmp_path / "other")
    directory.ids.mkdir(parents=True)
    config = RunConfig(**_FLAGS)
    flags = run_config.to_flags(config)
    whole_files.write_json(directory.config, {"flags": flags, "derived": {"model_digest": None}})
    ids = pd.DataFrame({"index": range(4), "id": _THEIRS, "title": ["x", "y", "z", "w"]})
    ids.to_csv(directory.item_ids, index=False)
    shapes = [tensor.shape for tensor in config.two_tower.tower]
    np.savez(
        directory.model,
        **{
            "items/embedding": np.arange(8, dtype=np.float32).reshape(4, 2),
            "items/bias": np.arange(10, 14, dtype=np.float32),
            **{f"tower/{i}": np.full(shape, i, np.float32) for i, shape in enumerate(shapes)},
        },
    )
    return directory


def _config(path, **flags):
    return RunConfig(**{**_FLAGS, "initial_model": str(path), **flags})


def _ids(*names):
    return np.array(names, object)


def test_items_are_matched_by_their_raw_ids(folder):
    ours = _ids("07", "b", "c", "NA")
    for given in (folder.root, folder.model):
        config = _config(given)
        initial_model.check(config, ours)
        known = initial_model.read(config, ours)
        assert list(known.rows) == [0, 1, 3]
        np.testing.assert_array_equal(known.arrays.embedding, [[6, 7], [2, 3], [4, 5]])
        np.testing.assert_array_equal(known.arrays.bias, [13, 11, 12])
        assert [float(part.ravel()[0]) for part in known.arrays.tower] == [0, 1, 2, 3]


def test_without_names_the_items_must_be_as_many_and_in_order(folder, tmp_path):
    alone = tmp_path / "alone.npz"
    folder.model.rename(alone)
    known = initial_model.read(_config(alone), _ids("p", "q", "r", "s"))
    assert list(known.rows) == [0, 1, 2, 3]
    np.testing.assert_array_equal(known.arrays.bias, [10, 11, 12, 13])
    with pytest.raises(errors.UserError, match="has 4 items without names, and this run 3"):
        initial_model.check(_config(alone), _ids("a", "b", "NA"))


def test_a_run_without_one_takes_nothing_over():
    assert initial_model.read(RunConfig(), _ids("a")) is None
    assert initial_model.digest(RunConfig()) is None
    initial_model.check(RunConfig(), _ids("a"))


def test_the_digest_is_that_of_the_file(folder):
    before = initial_model.digest(_config(folder.root))
    assert before == initial_model.digest(_config(folder.model))
    folder.model.write_bytes(folder.model.read_bytes() + b"x")
    assert initial_model.digest(_config(folder.root)) != before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"embedding_dim": 3}, r"another model than this run: --embedding_dim=3 \(there: 2\)"),
        ({"query_tower": "gru"}, r"--query_tower=gru \(there: mean\)"),
        ({"temperature": 0.5}, r"--temperature=0.5 \(there: 1.0\)"),
        ({"num_blocks": 2}, r"--num_blocks=2 \(there: 1\)"),
    ],
)
def test_another_model_is_refused_with_its_differences(folder, flags, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        initial_model.check(_config(folder.root, **flags), _ids("a"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flags", [{"embedding_dim": 3}, {"num_blocks": 0}, {"query_tower": "gru"}])
def test_other_shapes_are_refused_where_flags_are_not_known(folder, tmp_path, flags):
    alone = tmp_path / "alone.npz"
    folder.model.rename(alone)
    with pytest.raises(errors.UserError, match=r"has embeddings \[4, 2\] and towers") as caught:
        initial_model.check(_config(alone, **flags), _ids("a", "b", "c", "d"))
    assert "\n" not in str(caught.value)


def test_what_changes_no_weight_may_differ(folder):
    initial_model.check(_config(folder.root, history_length=5), _ids("a"))


def test_mistakes_are_told_in_a_line(folder, tmp_path):
    def refuse(path, message, ids=("a",)):
        with pytest.raises(errors.UserError, match=message) as caught:
            initial_model.check(_config(path), _ids(*ids))
        assert "\n" not in str(caught.value)

    refuse(folder.root, "knows none of this run's items", ids=("x", "y"))
    refuse(tmp_path / "nowhere", "there is no such folder or file")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", r"this folder has no model\.npz")
    text = tmp_path / "text.npz"
    for content in (b"text", b"", b"PK\x03\x04 and no more"):
        text.write_bytes(content)
        refuse(text, "cannot be read as a model")
    folder.item_ids.write_text("index,id\n0,a\n")
    refuse(folder.root, "names 1 items, and model.npz has 4")
    folder.config.write_text("{")
    refuse(folder.root, "cannot be read as the configuration")
    folder.item_ids.unlink()
    refuse(folder.root, r"the names of its items in ids/ are missing")


def test_a_catalogue_that_is_to_be_chosen_refuses_nothing_by_what_users_have(folder, tmp_path):
    private = {
        "target_epsilon": 4.0,
        "catalogue": "selected",
        "catalogue_noise_multiplier": 5.0,
        "initial_model_is_public": True,
    }
    config = _config(folder.root, **private)
    config_checks.validate(config)
    initial_model.check(config, _ids("x", "y"))
    assert not len(initial_model.read(config, _ids("x", "y")).rows)
    alone = tmp_path / "alone.npz"
    folder.model.rename(alone)
    with pytest.raises(errors.UserError, match="the catalogue is yet to be chosen"):
        initial_model.check(_config(alone, **private), _ids("a", "b", "NA", "07"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"initial_model": "x", "noise_multiplier": 1.0}, "declare that by --initial_model_is_pub"),
        ({"initial_model": "x", "initial_model_is_public": True}, "means nothing without"),
        ({"initial_model_is_public": True, "noise_multiplier": 1.0}, "nothing without --initial_m"),
    ],
)
def test_under_differential_privacy_it_must_be_declared_public(flags, message):
    with pytest.raises(errors.UserError, match=message):
        config_checks.validate(RunConfig(**flags))
    config_checks.validate(RunConfig(initial_model="x"))
    config_checks.validate(
        RunConfig(initial_model="x", initial_model_is_public=True, noise_multiplier=1.0)
    )


def test_the_model_that_a_run_had_is_read_from_its_folder(folder, tmp_path):
    for given in (folder.root, folder.model):
        found = initial_model.read_model_flags(_config(given))
        assert found["embedding_dim"] == 2
        assert found["num_blocks"] == 1
        assert found["item_features"] == ()
        assert "rounds" not in found
    alone = tmp_path / "alone.npz"
    folder.model.rename(alone)
    assert initial_model.read_model_flags(_config(alone)) == {}
    assert initial_model.read_model_flags(RunConfig()) == {}
