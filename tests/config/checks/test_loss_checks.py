"""Flags that go with one loss are refused with another."""

import pathlib

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.checks import loss_checks
from fedrec_tff.config.run_config import RunConfig

_FILE = pathlib.Path(__file__).parents[2] / "models" / "losses" / "repeated_losses.py"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"loss": "softmax"}, ["--loss=softmax", "sampled_softmax"]),
        ({"loss": "bpr", "hinge_margin": 2.0}, ["--hinge_margin", "--loss=hinge"]),
        ({"loss": "bpr", "bce_calibration": 0.5}, ["--bce_calibration", "--loss=bce"]),
        (
            {"loss": "bpr", "label_smoothing": 0.1},
            ["--label_smoothing", "--loss=sampled_softmax or full_softmax"],
        ),
        (
            {"loss": "full_softmax", "num_negatives": 5},
            ["--num_negatives", "--loss=sampled_softmax, bce, bpr or hinge"],
        ),
        ({"loss": "bce", "negative_sampling": "popularity"}, ["--loss=bce", "uniformly"]),
        ({"loss_param": ("smoothing=1",)}, ["--loss_param", "a --loss of yours"]),
        ({"loss": f"{_FILE}:softmax", "label_smoothing": 0.1}, ["--label_smoothing"]),
        ({"loss": f"{_FILE}:softmax", "loss_param": ("a=1",)}, ["--loss_param a", "smoothing"]),
    ],
)
def test_idle_and_wrong_flags_are_refused(flags, told):
    with pytest.raises(errors.UserError) as error:
        config_checks.validate(RunConfig(**flags))
    for part in told:
        assert part in str(error.value)


def test_what_only_the_loss_knows_is_told_once_it_is_imported():
    config = RunConfig(loss=f"{_FILE}:whole_softmax", num_negatives=5)
    config_checks.validate(config)
    with pytest.raises(errors.UserError, match="--num_negatives"):
        loss_checks.check_loaded(config)
    config = RunConfig(loss=f"{_FILE}:batch_softmax", personal_tower="embedding")
    config_checks.validate(config)
    with pytest.raises(errors.UserError, match="--personal_tower=embedding learns nothing"):
        loss_checks.check_loaded(config)
    loss_checks.check_loaded(RunConfig(loss=f"{_FILE}:softmax", num_negatives=5))


def test_dense_updates_follow_from_the_loss():
    for name, is_dense in (("softmax", False), ("whole_softmax", True), ("batch_softmax", False)):
        assert RunConfig(loss=f"{_FILE}:{name}").client_work.needs_whole_table == is_dense
    assert loss_checks.digest_loss(RunConfig()) is None
    assert len(loss_checks.digest_loss(RunConfig(loss=f"{_FILE}:softmax"))) == 64
