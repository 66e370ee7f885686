"""What an aggregator is to the pipeline: its description, and what its builder may need to know."""

# Tested in tests/aggregators/test_chain.py.

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.plugins.plugin_flag import PluginFlag
from fedrec_tff.privacy import mechanisms
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.privacy.mechanisms.base import MechanismKind

FLAG = PluginFlag("aggregator", may_wrap=True, needs_context=False)
TERMINAL = "terminal"
TRANSFORM = "transform"
WRAPPER = "wrapper"


@dataclasses.dataclass(frozen=True)
class AggregatorContext:
    """What a builder may need to know.

    Attributes:
      num_items: Rows of the item table.
      clients_per_round: Expected clients in a round.
      row_sparse: Whether values will be `RowSparse`; only where the aggregator supports it.
      mechanism: Mechanism that clips and adds noise, if the aggregator is private.
      insecure_noise_seed: Seed for the noise, only in tests; None for noise that nobody can
        predict.
      max_clients: The most clients that a round may have, for aggregators that keep all updates
        until the round's end; None where that is not known.
      clip_norm: Norm bound of the run's `--clip_norm`, as a default for whoever bounds norms.
      seed: Seed of public randomness that clients and server share (rotations, hash functions).
      model: The model's shape.
      server_sees_sums: Whether the server may see exact sums over clients, such as how long their
        messages were; not where the guarantee, or a secure sum, is against the server.
      max_sent_rows: The most table rows that the clients of a round may send together, where these
        are to be summed, and the aggregate is to stay row-sparse if no noise is added; None where
        the whole table is to be summed.
    """

    num_items: int
    clients_per_round: float
    row_sparse: bool
    mechanism: mechanisms.Mechanism | None = None
    insecure_noise_seed: int | None = None
    max_clients: int | None = None
    clip_norm: float | None = None
    seed: int = 0
    model: TwoTowerConfig | None = None
    server_sees_sums: bool = True
    max_sent_rows: int | None = None


@dataclasses.dataclass(frozen=True)
class Aggregator:
    """A way to aggregate, or a step before that; known before TensorFlow is imported.

    Attributes:
      name: Name of the aggregator, as the flag says it.
      description: One line for help texts.
      builder: `package.module:function` or `path/to/file.py:function`. The function takes an
        `AggregatorContext`, a wrapper also the factory `inner`, and then parameters of its own.
        Somebody else's may do without the context, and be a class, or the factory itself.
      kind: `TERMINAL`, the last of a chain, returns a `tff.aggregators` factory; `TRANSFORM`
        returns a `transforms.ClientTransform`; `WRAPPER` returns a factory around `inner`.
      is_private: Whether the result is differentially private, by the mechanism of this name in
        `privacy.mechanisms.kinds`, or of the name `mechanism`.
      mechanism: Name of the mechanism, where it is called otherwise.
      supports_row_sparse: Whether the aggregator takes `RowSparse` values; otherwise it gets dense
        ones.
      keeps_row_sparse: Whether a step hands on `RowSparse` values if it gets such.
      keeps_structure: Whether a step hands on what has the structure of updates.
      keeps_aggregate: Whether the aggregate may stay row-sparse: the aggregator makes one, and a
        step takes it as it is.
      lists_noised_rows: Whether the aggregator, where it stands alone, sums the rows that clients
        sent, if there is a bound on them, and adds its noise to the whole table.
      uses_clip_norm: Whether the aggregator reads `--clip_norm`.
      uses_secure_sum: Whether the aggregator sums integers by the context's secure sum.
      not_private_because: Reason why the aggregator cannot stand in a differentially private run;
        None if it can.
      has_edges: Whether clients belong to edges: then weights are `edges.EdgeWeight`s.
      excludes_non_finite: Whether the aggregator leaves out, and does not count, updates that are
        not finite; for a step, whether it hands them on as they are.
      is_plugin: Whether the aggregator is somebody else's.
    """

    name: str
    description: str
    builder: str
    kind: str = TERMINAL
    is_private: bool = False
    mechanism: str | None = None
    supports_row_sparse: bool = False
    keeps_row_sparse: bool = True
    keeps_structure: bool = True
    keeps_aggregate: bool = False
    lists_noised_rows: bool = False
    uses_clip_norm: bool = False
    uses_secure_sum: bool = False
    not_private_because: str | None = None
    has_edges: bool = False
    excludes_non_finite: bool = False
    is_plugin: bool = False

    @property
    def mechanism_kind(self) -> MechanismKind | None:
        """The private mechanism; None for one that is not private."""
        return kinds.get(self.mechanism or self.name) if self.is_private else None

    @property
    def trusts_server(self) -> bool:
        """Whether the guarantee of one that is private is none against the server.

        Where there are edges it is they who see updates, and the server is not trusted with sums.
        """
        return self.is_private and self.mechanism_kind.trusts_server and not self.has_edges

    def load_builder(self) -> Callable[..., Any]:
        """Imports the builder; it must be `package.module:function`."""
        module, function = self.builder.split(":")
        return getattr(importlib.import_module(module), function)

    def build_factory(self, context: AggregatorContext) -> Any:
        """The factory of one that aggregates, with its parameters' defaults."""
        return self.load_builder()(context)
