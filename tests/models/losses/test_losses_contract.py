"""What is told of losses that break the contract, and that the built-in ones keep it."""

import pathlib

import pytest

from fedrec_tff import errors
from fedrec_tff.models.losses import catalogue, contract, plugin

_FILE = pathlib.Path(__file__).parent / "repeated_losses.py"
_VALUES = {
    "label_smoothing": 0.1,
    "bce_calibration": 0.75,
    "hinge_margin": 1.0,
    "spreadout_weight": 0.1,
}


@pytest.mark.parametrize("name", catalogue.LOSSES)
def test_built_in_losses_keep_it(name):
    loss = plugin.choose_builtin(name, _VALUES)
    assert contract.find_problem(plugin.load(loss), plugin.find_candidates(loss)) is None


@pytest.mark.parametrize("name", ["softmax", "whole_softmax", "batch_softmax"])
def test_sound_losses_pass(name):
    contract.check(plugin.parse(f"{_FILE}:{name}"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mean", ["float32 [1]", "the loss of each example", "[]"]),
        ("number", ["must return a tensor", "float"]),
        ("overflowing", ["not finite", "logits are large"]),
        ("constant", ["gradient is nothing"]),
        ("random", ["pure function", "RandomUniform"]),
        ("raising", ["KeyError", "repeated_losses.py"]),
        ("mismarked", ["'everything'", "DRAWN"]),
    ],
)
def test_each_mistake_is_one_line_that_names_it(name, told):
    with pytest.raises(errors.UserError) as error:
        contract.check(plugin.parse(f"{_FILE}:{name}"))
    text = str(error.value)
    assert "\n" not in text
    for part in (f"--loss={_FILE}:{name}", *told):
        assert part in text


def test_a_loss_that_keeps_a_variable_is_refused():
    with pytest.raises(errors.UserError, match="keep"):
        contract.check(plugin.parse(f"{_FILE}:keeping"))
