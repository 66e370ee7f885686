"""What the tests of sweeps share: tiny sweeps, and a stand-in for `experiments.train`."""

import pathlib
import sys

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import run_directory
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import space as sweep_space
from fedrec_tff.studies.sweep import state as sweep_state
from fedrec_tff.studies.sweep import study as sweep_study

FAKE_TRAIN = (sys.executable, "-S", str(pathlib.Path(__file__).with_name("fake_train.py")))


def create_config(*sweep, flags=None, rounds=1, **kwargs):
    base = RunConfig(rounds=rounds, **(flags or {}))
    config = sweep_config.SweepConfig(base, sweep_space.parse(sweep), **kwargs)
    sweep_config.check(config)
    return config


def run(config, root, num_processes=2, batch=2, **kwargs):
    """Runs a sweep with stand-ins; returns the study."""
    folder = sweep_state.open_folder(root)
    with run_directory.lock(run_directory.RunDirectory(folder)):
        state = sweep_state.open_state(folder, config, batch)
        options = sweep_study.RunnerOptions(num_processes, FAKE_TRAIN, **kwargs)
        return sweep_study.run(state, config, options)


def count_starts(root):
    return sum(len(path.read_text().splitlines()) for path in root.glob("trials/*/*/starts"))
