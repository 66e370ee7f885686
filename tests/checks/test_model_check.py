"""The check of a model of one's own, and runs of one whose file changes."""

import hashlib
import json
import pathlib

import pytest

from fedrec_tff import errors
from fedrec_tff.checks import model_check, model_check_config
from fedrec_tff.checks.findings import FAIL, OK, WARN
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models import plugin, tower_contract
from fedrec_tff.run import run_process, session

_DEEP = (
    f"{pathlib.Path(__file__).parents[2]}/examples/custom_model/deep_candidates.py"
    ":build_deep_candidates"
)
_PLUGIN = """
import tensorflow as tf

from fedrec_tff.models.query_tower import CausalTower, TowerTensor


class Sums(CausalTower):
    tensors = ({tensors})

    def encode_sequence(self, weights, items, dropout):
        return {scale} * tf.cumsum(tf.pad(items, [[0, 0], [1, 0], [0, 0]]), axis=1)


def build(context):
    return Sums()
"""


def _write(path, tensors="", scale="1.0"):
    path.write_text(_PLUGIN.format(tensors=tensors, scale=scale))
    # As in a new process.
    plugin.load_tower.cache_clear()
    tower_contract.check.cache_clear()
    return f"{path}:build"


def test_a_sound_model_passes_in_both_contexts():
    config = model_check_config.create_config(
        _DEEP, embedding_dim=4, history_length=3, model_param=("width=2",)
    )
    found = list(model_check.check(config))
    assert [finding.status for finding in found] == [OK] * len(found), found
    assert [finding.name for finding in found] == [
        *("builder", "flags", "pure functions", "histories", "candidates", "gradients"),
        *("repetition", "use of weights", "compiled round", "native round"),
    ]
    assert "22 weights besides the item table" in found[0].text


def test_what_is_wrong_or_may_disappoint_is_found(tmp_path):
    def check(**kwargs):
        text = _write(tmp_path / "sums.py", **kwargs)
        return model_check.check(model_check_config.create_config(text, embedding_dim=4))

    *_, last = check(scale="float('nan')")
    assert (last.status, last.name) == (FAIL, "sequences")
    assert "not finite" in last.text
    *_, last = check(tensors="1,")
    assert (last.status, last.name) == (FAIL, "builder")
    assert not last.text.startswith("--model")
    for finding in check(tensors="TowerTensor((2,)),"):
        if finding.name == "use of weights":
            break
    assert (finding.status, finding.text) == (WARN, "nothing trains 0 of `tensors` (from 0)")


def test_a_clip_of_towers_is_refused_where_there_are_none(tmp_path):
    config = RunConfig(model=_write(tmp_path / "sums.py"), tower_clip_norm=1.0)
    with pytest.raises(errors.UserError, match="--tower_clip_norm means nothing with --model"):
        run_process.check_builders(config, 10, None)


def test_a_run_says_which_version_it_was_and_goes_on_with_no_other(tmp_path):
    def run(scale):
        config = RunConfig(
            synthetic_users=30,
            synthetic_items=40,
            max_interactions_per_user=8,
            embedding_dim=4,
            num_negatives=8,
            clients_per_round=10.0,
            rounds=1,
            execution="debug",
            model=_write(tmp_path / "sums.py", scale=scale),
        )
        return session.run(config, tmp_path / "run")

    with pytest.raises(errors.UserError, match=r"--model=.*sums\.py:build: .*not finite"):
        run("float('inf')")
    assert not (tmp_path / "run" / "config.json").exists()
    assert run("0.5").rounds == 1
    derived = json.loads((tmp_path / "run" / "config.json").read_text())["derived"]
    source = (tmp_path / "sums.py").read_bytes()
    assert derived["model_digest"] == hashlib.sha256(source).hexdigest()
    # As after a stop: there is a checkpoint, and no result.
    (tmp_path / "run" / "results.json").unlink()
    with pytest.raises(errors.UserError, match="another version of its model: restore"):
        run("0.25")
    assert run("0.5").rounds == 1
