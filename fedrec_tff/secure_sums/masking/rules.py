"""What server and clients agree on before any round: how many must stay, and who masks with whom.

Clients apply the rules themselves. A server that could choose them for its clients would choose a
threshold of one.
"""

# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import dataclasses
import math

from fedrec_tff.secure_sums.masking import neighbours

# Bonawitz et al. (2017): above two thirds, the server cannot have some clients believe that one of
# them stayed, and enough others that it left, to open both of its secrets.
DEFAULT_THRESHOLD_FRACTION = 2.0 / 3.0
# With two, either could subtract itself from the sum and know the other.
DEFAULT_MIN_CLIENTS = 3


@dataclasses.dataclass(frozen=True)
class Rules:
    """The numbers that the safety of a round rests on.

    Attributes:
      threshold_fraction: Fraction that is needed: more than this fraction of the parties must stay
        to the end, and more than this fraction of those that hold shares of a secret must join to
        open it. In [0.5, 1), and below two thirds only for a server that keeps to the protocol.
      min_clients: Smallest number of clients of which a sum is released.
      num_neighbours: Number of others that each client masks and shares with; None for all in small
        cohorts and as many as `neighbours.choose_num_neighbours` says in large ones.
      corrupt_fraction: Fraction of the parties that may tell the server all that they know.
      dropout_fraction: Fraction of the parties that may leave at once.
    """

    threshold_fraction: float = DEFAULT_THRESHOLD_FRACTION
    min_clients: int = DEFAULT_MIN_CLIENTS
    num_neighbours: int | None = None
    corrupt_fraction: float = 0.1
    dropout_fraction: float = 0.1

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
          ValueError: If one is out of range.
        """
        if not 0.5 <= self.threshold_fraction < 1.0:
            raise ValueError(
                f"threshold_fraction must be in [0.5, 1), not {self.threshold_fraction}"
            )
        for name in ("corrupt_fraction", "dropout_fraction"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.min_clients < 2:
            raise ValueError(f"min_clients must be at least 2, not {self.min_clients}")
        if self.num_neighbours is not None and self.num_neighbours < 2:
            raise ValueError(f"num_neighbours must be at least 2, not {self.num_neighbours}")

    def degree(self, num_parties: int) -> int:
        """With how many others each party masks: even, or all."""
        everybody = num_parties - 1
        if self.num_neighbours is not None:
            return min(self.num_neighbours + self.num_neighbours % 2, everybody)
        return neighbours.choose_num_neighbours(
            num_parties, self.threshold_fraction, self.corrupt_fraction, self.dropout_fraction
        )

    def share_threshold(self, num_parties: int) -> int:
        """How many shares open a secret; its owner and its neighbours hold one each."""
        return neighbours.more_than(self.threshold_fraction, self.degree(num_parties) + 1)

    def min_survivors(self, num_parties: int) -> int:
        """How many parties must stay to the end."""
        return max(neighbours.more_than(self.threshold_fraction, num_parties), self.min_clients)

    def num_phantoms(self, num_clients: int, dropout: float) -> int:
        """How many more parties can leave so that these clients still suffice.

        Args:
          num_clients: Number of clients that stay.
          dropout: Fraction of all parties that leave, at most.

        Returns:
          The number, rounded down.
        """
        return math.floor(num_clients * dropout / (1.0 - dropout))
