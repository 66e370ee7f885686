"""The benchmark of checkpoints counts what is on disk."""

import pytest

from fedrec_tff.benchmarks import checkpoint_costs, plan


@pytest.mark.slow
def test_costs_are_of_the_files_that_were_written(tmp_path):
    setting = plan.Setting(
        num_items=40_000,
        embedding_dim=8,
        clients_per_round=4,
        interactions_per_user=20,
        num_negatives=8,
        is_private=False,
        server_optimizer="lazy_adam",
    )
    found = checkpoint_costs.measure(setting, 2, 3, tmp_path)
    table = 40_000 * 8 * 4 / 1e6
    assert (found.num_whole, found.num_differences) == (0, 3)
    # The model, and two moments of each of its numbers; biases are too small for a difference.
    assert 3 * table < found.saved_model_megabytes < 3.6 * table
    biases = 3 * 40_000 * 4 / 1e6
    assert biases < found.megabytes < biases + 0.1 * table
    files = [path.stat().st_size for path in (tmp_path / "checkpoints").iterdir()]
    # The whole one, and the newest three.
    assert len(files) == 4
    assert found.folder_megabytes == sum(files) / 1e6
    assert "| lazy_adam | 4 | 2 | 0 + 3 |" in checkpoint_costs.describe([found])
