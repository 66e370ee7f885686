"""What `--loss` and `--loss_param` may say, and that a plug-in repeats the built-in loss."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.models.losses import contract, plugin

_FILE = pathlib.Path(__file__).parent / "repeated_losses.py"


@pytest.mark.parametrize(
    ("own", "parameters", "name", "values"),
    [
        ("softmax", (), "sampled_softmax", {"label_smoothing": 0.0}),
        ("softmax", ("smoothing=0.25",), "sampled_softmax", {"label_smoothing": 0.25}),
        ("whole_softmax", (), "full_softmax", {"label_smoothing": 0.0}),
        ("batch_softmax", (), "in_batch_softmax", {}),
    ],
)
def test_a_loss_of_ones_own_is_the_built_in_one(own, parameters, name, values):
    mine = plugin.parse(f"{_FILE}:{own}", parameters)
    builtin = plugin.choose_builtin(name, values)
    candidates = plugin.find_candidates(mine)
    assert candidates == plugin.find_candidates(builtin)
    scored = contract.create_scored(candidates, 5)
    found, expected = plugin.load(mine)(scored), plugin.load(builtin)(scored)
    tf.debugging.assert_equal(found.shape, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "parameters", "told"),
    [
        ("softmax", (), ["--loss=softmax", "package.module:loss", "sampled_softmax, in_batch"]),
        (str(_FILE), (), [f"{_FILE}:loss", "softmax, whole_softmax"]),
        (f"{_FILE}:nothing", (), ["no function 'nothing'"]),
        ("no/such.py:loss", (), ["--loss: there is no file no/such.py"]),
        (f"{_FILE}:softmax", ("smooth=1",), ["--loss_param smooth", "did you mean smoothing?"]),
        (f"{_FILE}:softmax", ("smoothing=much",), ["--loss_param smoothing=much", "a number"]),
    ],
)
def test_each_mistake_is_one_line_that_names_it(text, parameters, told):
    with pytest.raises(errors.UserError) as error:
        plugin.parse(text, parameters)
    for part in told:
        assert part in str(error.value)
