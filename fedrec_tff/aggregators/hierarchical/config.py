"""What can be chosen about a hierarchy of edges, without TensorFlow."""

# Tested in tests/aggregators/test_hierarchical.py.

import dataclasses
import math

from fedrec_tff import errors

MEAN = "mean"
WEIGHTED_MEAN = "weighted_mean"
MEDIAN = "median"
TRIMMED_MEAN = "trimmed_mean"
GEOMETRIC_MEDIAN = "geometric_median"
RULES = (MEAN, WEIGHTED_MEAN, MEDIAN, TRIMMED_MEAN, GEOMETRIC_MEDIAN)
ROBUST_RULES = (MEDIAN, TRIMMED_MEAN, GEOMETRIC_MEDIAN)

AT_EDGE = "edge"
AT_SERVER = "server"
NOISE_PLACES = (AT_EDGE, AT_SERVER)

# Below this a robust rule can outvote nobody.
_MIN_ROBUST_EDGES = 3
# Keeps what should be a whole number, as 0.29 * 100, from being rounded down to the one below.
TRIM_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """The edges between clients and server, and what the server does with them.

    Attributes:
      num_edges: Number of edges.
      server: Rule by which the server combines edges, one of `RULES`.
      fraction: Share that `trimmed_mean` cuts off at either end.
      sync_period: Rounds from one combination of the edges to the next.
      edge_learning_rate: Factor by which an edge's step is scaled, where edges have models of their
        own.
    """

    num_edges: int
    server: str
    fraction: float
    sync_period: int
    edge_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        _check("num_edges", self.num_edges, self.num_edges >= 1, "must be at least 1")
        _check("sync_period", self.sync_period, self.sync_period >= 1, "must be at least 1")
        check_rule("server", self.server)
        is_fraction = math.isfinite(self.fraction) and 0.0 <= self.fraction < 0.5
        _check("fraction", self.fraction, is_fraction, "must be at least 0 and below 0.5")
        _check(
            "num_edges",
            self.num_edges,
            self.server not in ROBUST_RULES or self.num_edges >= _MIN_ROBUST_EDGES,
            f"server={self.server} needs at least {_MIN_ROBUST_EDGES} edges",
        )
        _check(
            "fraction",
            self.fraction,
            self.server != TRIMMED_MEAN or self.fraction * self.num_edges + TRIM_ROUNDING >= 1.0,
            f"cuts off none of {self.num_edges} edges; choose at least "
            f"{1.0 / self.num_edges:.3g}, or more edges",
        )
        rate = self.edge_learning_rate
        _check(
            "edge_learning_rate",
            rate,
            math.isfinite(rate) and rate > 0.0,
            "must be finite and positive",
        )
        _check(
            "edge_learning_rate",
            rate,
            rate == 1.0 or self.sync_period > 1,
            "edges have no models of their own with sync_period=1; leave it out, or raise "
            "sync_period",
        )


def check_rule(parameter: str, rule: str) -> None:
    """Raises a UserError if there is no such rule."""
    _check(parameter, rule, rule in RULES, f"unknown; choose one of {', '.join(RULES)}")


def check_private(server: str, noise_at: str, sync_period: int) -> None:
    """Refuses hierarchies whose cost is not that of one Gaussian mechanism.

    Args:
      server: Rule by which the server combines edges.
      noise_at: Level that adds the noise.
      sync_period: Rounds between two combinations.

    Raises:
      UserError: If weights would be released, or edges' models without noise.
    """
    check_rule("server", server)
    _check(
        "server",
        server,
        server != WEIGHTED_MEAN,
        "how many users an edge has in a round is private; choose "
        + ", ".join(rule for rule in RULES if rule != WEIGHTED_MEAN),
    )
    _check(
        "noise_at",
        noise_at,
        noise_at in NOISE_PLACES,
        f"unknown; choose one of {', '.join(NOISE_PLACES)}",
    )
    if noise_at == AT_EDGE:
        return
    _check(
        "sync_period",
        sync_period,
        sync_period == 1,
        "with noise_at=server, edges' models would reach their clients without noise between "
        "syncs; choose noise_at=edge or sync_period=1",
    )
    _check(
        "server",
        server,
        server == MEAN,
        "with noise_at=server the edges' sums have no noise, and only their sum has a bounded "
        "sensitivity; choose server=mean or noise_at=edge",
    )


def _check(parameter: str, value: object, condition: bool, message: str) -> None:
    if not condition:
        raise errors.UserError(f"--aggregator_param {parameter}={value}: {message}")
