"""What must be known of algorithms before TensorFlow is imported: what they ask of a run.

`--client_algorithm` chooses one of these. What goes with any of them (FedSGD, FedProx, FedNova) has
flags of its own, and stands with them in `algorithms.registry`.
"""

# Tested in tests/learning/algorithms/test_algorithms_registry.py.

import dataclasses
from collections.abc import Mapping

FEDAVG = "fedavg"
MIMELITE = "mimelite"


@dataclasses.dataclass(frozen=True)
class Traits:
    """What a run must know of an algorithm.

    Attributes:
      shares_statistics: Whether the server keeps the statistics of the clients' optimizer, which
        clients download with the model and contribute to by a gradient beside their update.
      moves_all_items: Whether a local step changes items that the client has no gradient of, so
        that updates are dense.
    """

    shares_statistics: bool = False
    moves_all_items: bool = False


TRAITS: Mapping[str, Traits] = {
    FEDAVG: Traits(),
    # The server's momentum moves every item on every client.
    MIMELITE: Traits(shares_statistics=True, moves_all_items=True),
}
