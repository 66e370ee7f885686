"""Residual MLP blocks, after what reads the history: tensors that several towers have."""

# Tested in tests/models/test_two_tower.py.

from fedrec_tff.models.tower_tensor import TowerTensor


def list_block_tensors(dim: int, num_blocks: int) -> tuple[TowerTensor, ...]:
    """The tensors of blocks, as `layers.residual_blocks` takes them.

    A block starts as the identity: its output kernel is zero.

    Args:
      dim: Width of the query.
      num_blocks: Number of blocks.

    Returns:
      For each block two kernels, each with its bias.
    """
    kernel = TowerTensor((dim, dim), initial_stddev=dim**-0.5)
    return (kernel, TowerTensor((dim,)), TowerTensor((dim, dim)), TowerTensor((dim,))) * num_blocks
