"""The algorithms by what asks for them."""

import dataclasses
from collections.abc import Callable

from fedrec_tff.learning.algorithm_traits import MIMELITE
from fedrec_tff.learning.algorithms import fednova, fedprox, fedsgd, mimelite
from fedrec_tff.learning.algorithms.algorithm import Algorithm, Variation
from fedrec_tff.learning.algorithms.fedavg import FedAvg
from fedrec_tff.learning.config import ClientWorkConfig

_AsksFn = Callable[[ClientWorkConfig], bool]
_BuildFn = Callable[[Algorithm, ClientWorkConfig], Variation]

# What varies federated averaging, from the inside to the outside.
_VARIATIONS: tuple[tuple[_AsksFn, _BuildFn], ...] = (
    (lambda work: not work.batch_size, fedsgd.FedSgd),
    (lambda work: work.algorithm == MIMELITE, mimelite.MimeLite),
    (lambda work: work.proximal_weight > 0.0, fedprox.FedProx),
    (lambda work: work.normalizes_update, fednova.FedNova),
)


def create_algorithm(work: ClientWorkConfig, takes_one_step: bool = False) -> Algorithm:
    """Creates the algorithm that a configuration asks for.

    Args:
      work: Settings of client work.
      takes_one_step: Whether the model encodes all of a user's examples in one pass, so that a step
        takes them all, whatever the size of a batch.

    Returns:
      Federated averaging, with all that varies it.
    """
    if takes_one_step:
        work = dataclasses.replace(work, batch_size=0)
    algorithm: Algorithm = FedAvg(work)
    for is_asked_for, build in _VARIATIONS:
        if is_asked_for(work):
            algorithm = build(algorithm, work)
    return algorithm
