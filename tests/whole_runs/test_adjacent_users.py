"""Two data sets that differ in one user, trained on by the public path: what one user explains.

Each user is in a part of the split that is drawn. In one round in which everybody of the training
part takes part, with noise and initial weights that repeat, the models of two adjacent data sets
may differ by what that one user sends, so by two clips over the cohort's size. Where one user moves
others to another part of the split, hundreds of clips change.
"""

import dataclasses

import numpy as np
import pytest

from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import data, session

_NUM_USERS = 300
_CLIP = 0.5


def _write(folder, first):
    """Data with the user who sorts first, or in the place of that user one who sorts last."""
    names = [f"u{number:04d}" for number in range(_NUM_USERS)]
    users = names if first else [*names[1:], "u9999"]
    rng = np.random.default_rng(3)
    rows = {name: rng.integers(20, size=4) for name in names}
    rows["u9999"] = rng.integers(20, size=2)
    path = folder / ("first.csv" if first else "second.csv")
    lines = [f"{user},i{item:02d},{time}" for user in users for time, item in enumerate(rows[user])]
    path.write_text("\n".join(["user_id,item_id,time", *lines]) + "\n")
    (folder / "roster.txt").write_text("\n".join([*names, "u9999"]))
    return path


@pytest.mark.parametrize(
    "split", ["unseen_users", pytest.param("leave_last_out", marks=pytest.mark.slow)]
)
def test_models_of_adjacent_data_differ_by_what_one_user_sends(tmp_path, split):
    models, sizes = [], []
    for first in (True, False):
        config = RunConfig(
            dataset="csv",
            data_dir=str(_write(tmp_path, first)),
            time_column="time",
            split=split,
            roster=str(tmp_path / "roster.txt"),
            noise_multiplier=1.0,
            clip_norm=_CLIP,
            insecure_seeded_cohorts=True,
            insecure_deterministic_noise=True,
            embedding_dim=4,
            num_blocks=0,
            num_negatives=16,
            server_optimizer="sgd",
            server_learning_rate=1.0,
            rounds=1,
            execution="debug",
        )
        sizes.append(data.load_data(config).split.train.num_rows)
        config = dataclasses.replace(config, clients_per_round=float(sizes[-1]))
        config_checks.validate(config)
        folder = tmp_path / f"run{first}"
        session.run(config, folder)
        with np.load(folder / "model.npz") as arrays:
            models.append(np.concatenate([arrays[name].ravel() for name in arrays.files]))
    assert sizes[0] == sizes[1] > _NUM_USERS / 2
    moved = np.linalg.norm(models[0].astype(np.float64) - models[1])
    # The model is of float32: its digits are few.
    assert 0.0 < moved <= 2.0 * _CLIP / sizes[0] * 1.01
