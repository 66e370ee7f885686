"""Presets by name are the flagfiles that come with the project."""

import ast
import subprocess
import sys

import binaries
import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks, preset_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.preset import asked, named


@pytest.mark.parametrize("name", preset_config.list_names())
def test_a_preset_is_what_absl_reads_from_its_file(name):
    code = (
        "import sys\n"
        "from absl import flags\n"
        "from experiments.command_line import field_flags\n"
        "from fedrec_tff.config.run_config import RunConfig\n"
        "holders = field_flags.define(RunConfig)\n"
        "flags.FLAGS(sys.argv)\n"
        "print(field_flags.read({n: h for n, h in holders.items() if h.present}))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, f"--flagfile={preset_config.FOLDER / name}.cfg"],
        capture_output=True,
        text=True,
        cwd=binaries.ROOT,
        check=True,
    )
    expected = ast.literal_eval(child.stdout)
    assert named.read(name) == expected
    config_checks.validate(RunConfig(**expected, data_dir="anywhere"))


def test_what_is_given_stands_above_a_preset():
    config = asked.ask({"preset": "ml-1m-eps8", "rounds": 3, "target_epsilon": 2.0}).config
    assert (config.rounds, config.target_epsilon) == (3, 2.0)
    assert config.dataset == "ml-1m"
    assert config.preset == "ml-1m-eps8"


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(
        errors.UserError, match="--preset=ml-2m: choose one of auto, basic, gowalla"
    ):
        asked.ask({"preset": "ml-2m"})
