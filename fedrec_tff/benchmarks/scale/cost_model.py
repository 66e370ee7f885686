"""What a simulated round takes on a machine like the one that was measured: closed formulas.

Each number is read off rows of docs/performance.md (two cores of AMD EPYC, DP-FedAvg with Adam on
the server, the default loss and tower); `recorded_rows` has them, and `held_against` says how far
the formulas are off. With m clients of n examples each, d dimensions, w weights and c cores:

    clients  = 10 ms + m n (0.77 + 0.054 d + 0.000163 d^2) us / c + 0.27 ns w
    server   = 5.5 ms + 14.6 ns w
    a round  = clients + server + 3.5 ms
    memory   = 960 MB + 7.0 times the model's 4 w bytes
"""

# Tested in tests/benchmarks/scale/test_cost_model.py.

import dataclasses

BYTES_PER_WEIGHT = 4


@dataclasses.dataclass(frozen=True)
class MachineCosts:
    """The coefficients of the formulas.

    Attributes:
      round_seconds: Seconds of a round between its stages.
      client_seconds: Seconds of the clients' stage, whatever the cohort.
      example_core_seconds: Seconds of one core for an example, by powers of the dimension: what is
        fixed, rows, and the tower's matrix products.
      clear_seconds_per_weight: Seconds in which clients' accumulators are cleared.
      server_seconds: Seconds of the server's stages, whatever the model.
      server_seconds_per_weight: Seconds of noise and optimiser.
      base_bytes: Memory of the libraries.
      models_in_memory: Size of all that is kept at the peak, in models.
    """

    round_seconds: float = 3.5e-3
    client_seconds: float = 10e-3
    example_core_seconds: tuple[float, float, float] = (0.77e-6, 0.054e-6, 0.000163e-6)
    clear_seconds_per_weight: float = 0.27e-9
    server_seconds: float = 5.5e-3
    server_seconds_per_weight: float = 14.6e-9
    base_bytes: float = 960e6
    models_in_memory: float = 7.0


MEASURED = MachineCosts()


@dataclasses.dataclass(frozen=True)
class RoundSize:
    """A round to predict.

    Attributes:
      num_clients: Number of clients.
      examples_per_client: Examples that each trains on, over all local epochs.
      embedding_dim: Width of the item table.
      num_weights: Number of weights of the model.
      num_cores: Number of processors.
    """

    num_clients: float
    examples_per_client: float
    embedding_dim: int
    num_weights: int
    num_cores: int


@dataclasses.dataclass(frozen=True)
class RoundCost:
    """What a round takes.

    Attributes:
      clients_seconds: Seconds of client work.
      server_seconds: Seconds of the server's step.
      seconds: Seconds of the round.
      peak_bytes: Memory at its peak.
    """

    clients_seconds: float
    server_seconds: float
    seconds: float
    peak_bytes: float


def predict(size: RoundSize, costs: MachineCosts = MEASURED) -> RoundCost:
    """Predicts a simulated round.

    Args:
      size: The round.
      costs: Coefficients.

    Returns:
      Its cost.
    """
    fixed, linear, square = costs.example_core_seconds
    example = fixed + linear * size.embedding_dim + square * size.embedding_dim**2
    clients = (
        costs.client_seconds
        + size.num_clients * size.examples_per_client * example / size.num_cores
        + costs.clear_seconds_per_weight * size.num_weights
    )
    server = predict_server_step(size.num_weights, costs)
    return RoundCost(
        clients,
        server,
        clients + server + costs.round_seconds,
        predict_memory(size.num_weights, costs),
    )


def predict_server_step(num_weights: int, costs: MachineCosts = MEASURED) -> float:
    """Seconds of noise and optimiser, which more cores are not taken to make faster."""
    return costs.server_seconds + costs.server_seconds_per_weight * num_weights


def predict_memory(num_weights: int, costs: MachineCosts = MEASURED) -> float:
    """Bytes at the peak of a round."""
    return costs.base_bytes + costs.models_in_memory * BYTES_PER_WEIGHT * num_weights
