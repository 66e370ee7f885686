import dataclasses

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig

_PLUGIN = '''
def build(run, path: str, is_loud: bool = False):
    """Writes to a file."""


def build_plain(run):
    """Writes nowhere."""
'''


@pytest.fixture
def builder(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(_PLUGIN)
    return f"{path}:build"


def _validate(**flags):
    config = dataclasses.replace(RunConfig(), **flags)
    config_checks.validate(config)
    return config


def test_trackers_and_ones_own_builders_stand_side_by_side(builder):
    config = _validate(
        report_to=("wandb", builder, f"{builder}_plain"), report_to_param=("path=a.txt",)
    )
    first, second = config.own_reporters
    assert (first.builder, first.parameters) == (builder, (("path", "a.txt"),))
    assert (second.builder, second.parameters) == (f"{builder}_plain", ())
    assert _validate().own_reporters == ()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"report_to": ("wand",)}, "--report_to=wand: name a builder of your own as .*wandb, mlf"),
        ({"report_to": ("mlflow", "mlflow")}, "--report_to=mlflow,mlflow: one is there twice"),
        ({"wandb_project": "x"}, "--wandb_project.*--report_to=wandb"),
        ({"mlflow_experiment": "x", "report_to": ("wandb",)}, "--report_to=mlflow"),
        ({"report_to_param": ("a=1",), "report_to": ("wandb",)}, "a builder of yours"),
    ],
)
def test_what_cannot_be_found_is_told_in_one_line(flags, message):
    with pytest.raises(errors.UserError, match=message):
        _validate(**flags)


def test_parameters_are_those_of_the_builder(builder):
    with pytest.raises(errors.UserError, match=r"needs a value: --report_to_param path=<str>"):
        _validate(report_to=(builder,))
    with pytest.raises(errors.UserError, match=r"_param pth: unknown; did you mean path"):
        _validate(report_to=(builder,), report_to_param=("pth=1",))
    with pytest.raises(errors.UserError, match="its functions are: build, build_plain"):
        _validate(report_to=(builder.partition(":")[0],))
