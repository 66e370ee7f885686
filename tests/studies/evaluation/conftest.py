"""Two runs of the same users, one of them private, that all tests of this folder judge."""

import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session as run_session

_TINY = {
    "synthetic_users": 90,
    "synthetic_items": 260,
    # One length of clients: one program to compile.
    "max_interactions_per_user": 14,
    "embedding_dim": 8,
    "num_negatives": 16,
    "clients_per_round": 20,
    "rounds": 3,
    "rounds_per_evaluation": 1,
    "rounds_per_checkpoint": 1,
    "list_lengths": ("5", "10"),
    "execution": "debug",
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of the run without and of that with differential privacy."""
    root = tmp_path_factory.mktemp("evaluation")
    run_session.run(RunConfig(**_TINY), root / "plain")
    private = {**_TINY, "aggregator": "dp_gaussian", "target_epsilon": 8.0}
    run_session.run(RunConfig(**private), root / "private")
    return root / "plain", root / "private"
