"""What --model and --model_param say, before TensorFlow is imported."""

import pathlib

import pytest

from fedrec_tff import errors
from fedrec_tff.checks import model_check_config
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig

_EXAMPLES = pathlib.Path(__file__).parents[3] / "examples/custom_model"
_CAUSAL = f"{_EXAMPLES / 'causal_convolutions.py'}:build_causal_convolutions"


def _refuse(message, **flags):
    with pytest.raises(errors.UserError, match=message) as raised:
        config_checks.validate(RunConfig(**flags))
    assert "\n" not in str(raised.value)


def test_parameters_are_typed_and_part_of_the_shape():
    flags = {"dropout": 0.5, "noise_multiplier": 1.0, "tower_clip_norm": 1.0}
    config = RunConfig(model=_CAUSAL, model_param=("width=4",), **flags)
    config_checks.validate(config)
    assert config.two_tower.plugin.name == _CAUSAL
    assert config.two_tower.plugin.parameters == (("width", 4),)
    assert RunConfig().two_tower.plugin is None


@pytest.mark.parametrize("flags", [{"query_tower": "gru"}, {"num_blocks": 2}, {"num_heads": 2}])
def test_flags_of_the_builtin_models_mean_nothing_beside_one_of_ones_own(flags):
    (name,) = flags
    _refuse(
        rf"--{name} means nothing without a built-in model: .* --model_param",
        model=_CAUSAL,
        **flags,
    )


def test_mistakes_are_told_with_the_way_out():
    _refuse("--model_param means nothing without --model", model_param=("width=4",))
    _refuse("did you mean width", model=_CAUSAL, model_param=("widht=4",))
    _refuse("there is no file", model="nowhere.py:build")
    with pytest.raises(errors.UserError, match="there is no module a_module"):
        model_check_config.create_config("a_module:build")


@pytest.mark.parametrize(
    ("message", "flags"),
    [
        ("--item_embedding=features: name them by --item_features", {"item_embedding": "features"}),
        (
            "--item_rank=32: must be below --embedding_dim=32",
            {"item_embedding": "low_rank", "item_rank": 32},
        ),
        ("--item_rank means nothing without --item_embedding=low_rank", {"item_rank": 4}),
        (
            "--initial_embedding=features: with --item_embedding=hashed",
            {"item_embedding": "hashed", "initial_embedding": "features"},
        ),
        (
            "--finetuning_epochs is about rows of the item table",
            {"item_embedding": "projection", "finetuning_epochs": 1},
        ),
        (
            "--attack is about rows of the item table",
            {"item_embedding": "low_rank", "attack": "sign_flip"},
        ),
    ],
)
def test_items_that_cannot_be_made_so_are_refused(message, flags):
    _refuse(message, **flags)
