"""Runs whose rounds touch few rows: resumed from a difference, they end as if nothing had been."""

import shutil

import numpy as np
import pytest
import tree

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session
from fedrec_tff.run.folder import checkpoints, model_file, run_directory
from fedrec_tff.run.folder.program_state import opening, state_file

_CONFIG = RunConfig(
    synthetic_users=30,
    # Of a megabyte and more.
    synthetic_items=20_000,
    embedding_dim=16,
    num_blocks=0,
    max_interactions_per_user=10,
    num_negatives=8,
    clients_per_round=5.0,
    execution="debug",
    server_optimizer="lazy_adam",
    server_learning_rate=0.01,
    rounds=6,
    rounds_per_evaluation=6,
    rounds_per_checkpoint=1,
    catalogue="table",
)


def _bases(directory):
    rounds = checkpoints.find_rounds(directory)
    paths = [directory.checkpoints / f"program_state_{number}" for number in rounds]
    return dict(zip(rounds, map(state_file.find_base, paths), strict=True))


def _state(directory):
    state = opening.open_state(directory.checkpoints / "program_state_6")
    return {name: state.read(name) for name in state.names if name.startswith("state/")}


@pytest.mark.slow
def test_resumed_from_a_difference_a_run_ends_to_the_bit_as_without(tmp_path):
    whole = run_directory.RunDirectory(tmp_path / "whole")
    session.run(_CONFIG, whole.root)
    base = "program_state_1"
    assert _bases(whole) == {1: None, 4: base, 5: base, 6: base}

    resumed = run_directory.RunDirectory(tmp_path / "resumed")
    shutil.copytree(whole.root, resumed.root)
    for path in (resumed.results, resumed.model):
        path.unlink()
    for number in (5, 6):
        (resumed.checkpoints / f"program_state_{number}").unlink()
    at_four = checkpoints.read_model(resumed, 4, averages=False)
    session.run(_CONFIG, resumed.root)

    assert _bases(resumed) == _bases(whole)
    expected, found = _state(whole), _state(resumed)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.asarray(found[name]).tobytes() == np.asarray(array).tobytes(), name
    released = model_file.load(whole.model)
    tree.map_structure(
        np.testing.assert_array_equal, checkpoints.read_model(resumed, 6, False), released
    )
    changed = np.any(at_four.items.embedding != released.items.embedding, axis=1)
    assert 50 <= np.count_nonzero(changed) <= 400
