"""Who masks with whom: everybody with everybody, or a random regular graph.

Bonawitz et al. (2017) let each pair of clients share a mask, which costs each client time and
bytes in proportion to the cohort. Bell et al. (2020) show that a random graph of
logarithmic degree will do: a circulant (Harary) graph over clients in random order, in which each
is joined to the k/2 before and the k/2 behind. Three things must not happen: that so many
neighbours of a client are corrupt that they open its secrets, that so many leave that its secrets
cannot be opened when they must, and that the honest clients who stay fall apart into groups, since
the server would learn the sum of each group.
"""

# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import functools
import math
import secrets

from scipy import stats

# Up to here, masking with everybody takes each client some tens of milliseconds.
COMPLETE_UP_TO = 128
# That any of the three happens has at most this probability, each.
_FAILURE_PROBABILITY = 2.0**-40
# Of products of fractions and counts.
ROUNDING = 1e-9


def more_than(fraction: float, number: int) -> int:
    """The smallest count that is more than a fraction of a number, and at most the number."""
    # Two thirds of three are two, whatever a float makes of it.
    return min(math.floor(fraction * number + ROUNDING) + 1, number)


@functools.lru_cache(maxsize=1024)
def choose_num_neighbours(
    num_parties: int, threshold_fraction: float, corrupt_fraction: float, dropout_fraction: float
) -> int:
    """The smallest degree at which all three failures are improbable.

    After Bell et al. (2020), with one condition that is stricter: corrupt neighbours
    must be too few even to help the server open both secrets of one client, by telling some that it
    stayed and others that it left. Who is corrupt and who leaves must not depend on the graph.

    Args:
      num_parties: Number of parties in the round.
      threshold_fraction: Fraction of the parties, more than which must stay to the end; see
        `rules.Rules`.
      corrupt_fraction: Fraction of the parties that are corrupt; see `rules.Rules`.
      dropout_fraction: Fraction of the parties that leave; see `rules.Rules`.

    Returns:
      An even number, or `num_parties - 1` where only the complete graph will do, and in small
      cohorts.
    """
    everybody = max(num_parties - 1, 0)
    if num_parties <= COMPLETE_UP_TO:
        return everybody
    num_corrupt = math.ceil(corrupt_fraction * num_parties)
    num_dropped = math.ceil(dropout_fraction * num_parties)
    for degree in range(2, everybody, 2):
        failures = _failure_probabilities(
            num_parties, degree, threshold_fraction, num_corrupt, num_dropped
        )
        if max(failures) <= _FAILURE_PROBABILITY:
            return degree
    return everybody


def _failure_probabilities(
    num_parties: int, degree: int, threshold_fraction: float, num_corrupt: int, num_dropped: int
) -> tuple[float, float, float]:
    """Bounds on the three failures, each for the whole cohort by the union bound."""
    num_holders = degree + 1
    threshold = more_than(threshold_fraction, num_holders)
    others = num_parties - 1
    # Of a client's neighbours so many are corrupt that honest ones could be played off.
    too_many = 2 * threshold - num_holders
    opened = num_parties * stats.hypergeom.sf(too_many - 1, others, num_corrupt, degree)
    # So many leave, with the client itself, that fewer than the threshold stay.
    lost = num_parties * stats.hypergeom.sf(degree - threshold, others, num_dropped, degree)
    # The circle breaks only where k/2 in a row are gone.
    removed, run = min(num_corrupt + num_dropped, num_parties), degree // 2
    ratios = ((removed - i) / (num_parties - i) for i in range(run))
    broken = num_parties * math.prod(max(ratio, 0.0) for ratio in ratios)
    return opened, lost, broken


def draw_graph(num_parties: int, degree: int) -> list[tuple[int, ...]]:
    """Draws who is whose neighbour, from the operating system's generator.

    Args:
      num_parties: Number of parties in the round.
      degree: Number of neighbours of every party: even, or `num_parties - 1`.

    Returns:
      For each party, its neighbours in ascending order.
    """
    if degree >= num_parties - 1:
        return [tuple(v for v in range(num_parties) if v != u) for u in range(num_parties)]
    if degree % 2:
        raise ValueError(f"the degree of an incomplete graph must be even, not {degree}")
    order = list(range(num_parties))
    secrets.SystemRandom().shuffle(order)
    steps = [step for step in range(-(degree // 2), degree // 2 + 1) if step]
    graph: list[tuple[int, ...]] = [()] * num_parties
    for place, party in enumerate(order):
        graph[party] = tuple(sorted(order[(place + step) % num_parties] for step in steps))
    return graph
