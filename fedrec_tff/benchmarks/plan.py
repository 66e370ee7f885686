"""What the execution benchmark measures: one row for each configuration, as plain data.

Nothing heavy is imported here: rows travel to child processes as JSON.
"""

import dataclasses
import importlib.util
import json
import math
from collections.abc import Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.config import LAZY_ADAM
from fedrec_tff.privacy.mechanisms import kinds

NATIVE = "native"
COMPILED = "compiled"
PJRT = "pjrt"
STOCK_TFF = "stock_tff"
TFRS_FIT = "tfrs_fit"
BARE_LOOP = "bare_loop"
RAY = "ray"

GROUPS = {
    "round": "The round: one process and the same users, in TFF's native runtime and compiled",
    "stock": "Stock TFF: its own federated averaging over tf.data clients",
    "central": "Centralised training on the same examples",
    "towers": "Towers that read whole sequences: one pass, every position an example",
    "cohort": "Growth with the cohort (compiled)",
    "catalogue": "Growth with the catalogue (compiled)",
    "embedding": "Growth with the embedding (compiled)",
    "accelerator": "Users' work in TensorFlow's XLA and in a current one, in blocks and not",
    "million": "A million items, 64 numbers each, 1,000 users a round (compiled)",
    "workers": "Workers of a Ray cluster on this machine, one thread each, 1,000 users a round",
}
# What grows in these groups: a field of `Setting`, and its unit.
GROWTH = {
    "cohort": ("clients_per_round", "users a round"),
    "catalogue": ("num_items", "items"),
    "embedding": ("embedding_dim", "dimensions"),
    "workers": ("num_workers", "workers"),
}
# Of differential privacy; the noise is drawn and added like any other.
_NOISE_MULTIPLIER = 1.0
_SECONDS = 10.0
_QUICK_SECONDS = 0.5
_BLOCK_SIZES = (1, 8, 32, 128, 512)
_NUM_SHARES_OF_WORKERS = 16


@dataclasses.dataclass(frozen=True)
class Setting:
    """The size of a round: by default that of MovieLens-1M.

    Attributes:
      num_users: Size of the population.
      interactions_per_user: Number of interactions of a user, the same for all users.
      num_items: Size of the catalogue.
      embedding_dim: Width of the item table.
      clients_per_round: Users in each round, exactly.
      num_negatives: Negatives of a client in a round.
      batch_size: Examples in a local step, but for causal towers, which take all at once.
      query_tower: Name of the query tower, as `experiments.train` has it.
      num_blocks: Number of blocks of the query tower.
      num_heads: Number of heads of self-attention.
      history_length: Number of newest items that the model reads.
      is_private: Whether updates are clipped and noised: DP-FedAvg; otherwise their plain mean.
      server_optimizer: Name of the server's optimizer, as `experiments.train` has it.
      seed: Seed of users, cohorts, initial weights and clients' randomness.
    """

    num_users: int = 6040
    interactions_per_user: int = 165
    num_items: int = 3706
    embedding_dim: int = RunConfig.embedding_dim
    clients_per_round: int = 100
    num_negatives: int = RunConfig.num_negatives
    batch_size: int = RunConfig.batch_size
    query_tower: str = RunConfig.query_tower
    num_blocks: int = RunConfig.num_blocks
    num_heads: int = RunConfig.num_heads
    history_length: int = RunConfig.history_length
    is_private: bool = True
    server_optimizer: str = RunConfig.server_optimizer
    seed: int = 0

    @property
    def run_config(self) -> RunConfig:
        """The run of `experiments.train` with these sizes, the rest by default."""
        return RunConfig(
            embedding_dim=self.embedding_dim,
            num_negatives=self.num_negatives,
            batch_size=self.batch_size,
            query_tower=self.query_tower,
            num_blocks=self.num_blocks,
            num_heads=self.num_heads,
            history_length=self.history_length,
            clients_per_round=float(self.clients_per_round),
            aggregator=kinds.DEFAULT.name if self.is_private else "mean",
            noise_multiplier=_NOISE_MULTIPLIER if self.is_private else None,
            server_optimizer=self.server_optimizer,
            seed=self.seed,
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """One configuration, measured in a process of its own.

    Attributes:
      name: The key in the results.
      group: Group of the row, one of `GROUPS`.
      title: Title of the row, for people.
      subject: Subject of the measurement: `NATIVE`, `COMPILED`, `PJRT`, `STOCK_TFF`,
        `TFRS_FIT`, `BARE_LOOP` or `RAY`.
      setting: Sizes of users, items and model.
      is_row_sparse: Whether clients train on the rows they touch, for the project's own process.
      num_shards: Threads that work on a cohort, for `COMPILED`; None for one for each core.
      num_shares: Number of shares of a cohort; None for one for each thread.
      num_workers: Number of workers, for `RAY`; 0 for others.
      reads_data: Whether clients' data are read in the timed rounds, as in a run, where they travel
        to workers as row numbers; they are at hand otherwise.
      num_threads: Threads of TensorFlow's pools; None for its default, one for each core.
      clients_per_block: Number of users of a block, for `COMPILED` and `PJRT`; None for the
        default.
      is_batched: Whether users of a block are worked on at once, for `PJRT`.
      uses_dataset_iterator: Whether to iterate over the clients' data instead of TFF's default
        loop, `Dataset.reduce`, for `STOCK_TFF`.
    """

    name: str
    group: str
    title: str
    subject: str
    setting: Setting
    is_row_sparse: bool = True
    num_shards: int | None = None
    num_shares: int | None = None
    num_workers: int = 0
    reads_data: bool = False
    num_threads: int | None = None
    clients_per_block: int | None = None
    is_batched: bool = False
    uses_dataset_iterator: bool = False

    def find_size(self) -> int:
        """What grows in the row's group, one of `GROWTH`; 0 where the row has nothing of it."""
        field, _ = GROWTH[self.group]
        return getattr(self.setting if hasattr(self.setting, field) else self, field)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Row":
        """The row that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields | {"setting": Setting(**fields["setting"])})


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """What can be chosen about a benchmark: one field, one flag.

    Attributes:
      num_negatives: Number of negatives of a client in a round, as in `Setting`.
      seconds_per_row: Seconds for which the timed rounds of a row go on; by default 10, and 0.5
        where `quick`.
      rows: Names of rows or of groups to measure; empty for all.
      quick: Whether to measure a tiny version of some rows.
      seed: Seed of users, cohorts, initial weights and clients' randomness, as in `Setting`.
    """

    num_negatives: int = RunConfig.num_negatives
    seconds_per_row: float | None = None
    rows: tuple[str, ...] = ()
    quick: bool = False
    seed: int = RunConfig.seed

    @property
    def timed_seconds(self) -> float:
        """`seconds_per_row`, with nothing left to default."""
        if self.seconds_per_row is not None:
            return self.seconds_per_row
        return _QUICK_SECONDS if self.quick else _SECONDS


def validate(config: BenchmarkConfig) -> None:
    """Refuses numbers out of range.

    Args:
      config: Settings to check.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    if config.num_negatives < 1:
        raise errors.UserError(f"--num_negatives={config.num_negatives}: must be at least 1")
    if not 0 < config.timed_seconds < math.inf:
        raise errors.UserError(
            f"--seconds_per_row={config.seconds_per_row:g}: must be more than 0, and finite"
        )
    if not 0 <= config.seed < 2**31:
        raise errors.UserError(f"--seed={config.seed}: must be from 0 to {2**31 - 1}")


def create_rows(config: BenchmarkConfig) -> list[Row]:
    """Lists what is to be measured.

    Args:
      config: A valid configuration.

    Returns:
      The rows in the order of measurement; what is compared with each other lies side by side.
      Those that need Ray, an extra, are among them where it is installed or they are asked for.

    Raises:
      UserError: If `config.rows` names what is not there.
    """
    setting = Setting(num_negatives=config.num_negatives, seed=config.seed)
    rows = _create_quick_rows(setting) if config.quick else _create_all_rows(setting)
    known = {row.name for row in rows} | {row.group for row in rows}
    for name in config.rows:
        if name not in known:
            groups = [group for group in GROUPS if group in known]
            names = [row.name for row in rows]
            raise errors.UserError(
                f"--rows={name}: unknown{' with --quick' if config.quick else ''}; choose of the "
                f"groups {', '.join(groups)}, and the rows {', '.join(names)}"
            )
    if not config.rows:
        has_ray = importlib.util.find_spec("ray") is not None
        return [row for row in rows if row.subject != RAY or has_ray]
    return [row for row in rows if row.name in config.rows or row.group in config.rows]


def _create_all_rows(setting: Setting) -> list[Row]:
    fit_1024 = dataclasses.replace(setting, batch_size=1024)
    return [
        *_create_round_rows(setting),
        Row("stock_tff", "stock", "stock TFF, default client loop", STOCK_TFF, setting),
        _create_stock_iterator_row(setting),
        Row("tfrs_fit_16", "central", "TFRS fit, batch 16", TFRS_FIT, setting),
        Row("tfrs_fit_1024", "central", "TFRS fit, batch 1024", TFRS_FIT, fit_1024),
        _create_bare_loop_row(setting),
        *_create_tower_rows(setting),
        *_create_growth_rows(setting, "cohort", (10, 100, 1000, 10_000)),
        *_create_growth_rows(setting, "catalogue", (4000, 40_000, 200_000, 1_000_000)),
        *_create_growth_rows(setting, "embedding", (16, 32, 64, 128)),
        *_create_accelerator_rows(setting),
        *_create_million_rows(setting),
        *_create_worker_rows(setting),
    ]


def _create_quick_rows(setting: Setting) -> list[Row]:
    tiny = dataclasses.replace(
        setting,
        num_users=40,
        interactions_per_user=20,
        num_items=60,
        embedding_dim=4,
        clients_per_round=6,
        num_negatives=min(setting.num_negatives, 8),
    )
    return [
        *[row for row in _create_round_rows(tiny) if row.is_row_sparse],
        _create_stock_iterator_row(tiny),
        Row("tfrs_fit_16", "central", "TFRS fit, batch 16", TFRS_FIT, tiny),
        _create_bare_loop_row(tiny),
    ]


def _create_round_rows(setting: Setting) -> list[Row]:
    one_shard = "compiled, row-sparse, 1 thread"
    return [
        Row("native_row_sparse", "round", "native, row-sparse", NATIVE, setting),
        Row("compiled_row_sparse", "round", "compiled, row-sparse, all shards", COMPILED, setting),
        Row("compiled_row_sparse_1_shard", "round", one_shard, COMPILED, setting,
            num_shards=1, num_threads=1),
        Row("native_dense", "round", "native, dense", NATIVE, setting, is_row_sparse=False),
        Row("compiled_dense", "round", "compiled, dense, all shards", COMPILED, setting,
            is_row_sparse=False),
    ]  # fmt: skip


def _create_stock_iterator_row(setting: Setting) -> Row:
    title = "stock TFF, dataset iterator"
    return Row("stock_tff_iterator", "stock", title, STOCK_TFF, setting, uses_dataset_iterator=True)


def _create_bare_loop_row(setting: Setting) -> Row:
    title = "bare compiled loop, 1 thread"
    return Row("bare_loop", "central", title, BARE_LOOP, setting, num_threads=1)


def _create_tower_rows(setting: Setting) -> list[Row]:
    """Self-attention of SASRec's size, twice that width, and a GRU."""
    attention = _with_attention(setting)
    wide = dataclasses.replace(attention, embedding_dim=128)
    gru = dataclasses.replace(attention, query_tower="gru", num_blocks=1, num_heads=1)
    return [
        Row("native_attention", "towers", "native, attention of 64", NATIVE, attention),
        Row("compiled_attention", "towers", "compiled, attention of 64", COMPILED, attention),
        Row("compiled_attention_1_shard", "towers", "compiled, attention of 64, 1 thread", COMPILED,
            attention, num_shards=1, num_threads=1),
        Row("compiled_attention_128", "towers", "compiled, attention of 128", COMPILED, wide),
        Row("compiled_gru", "towers", "compiled, GRU of 64", COMPILED, gru),
    ]  # fmt: skip


def _with_attention(setting: Setting) -> Setting:
    return dataclasses.replace(
        setting,
        query_tower="attention",
        embedding_dim=64,
        num_blocks=2,
        num_heads=2,
        history_length=200,
    )


def _create_accelerator_rows(setting: Setting) -> list[Row]:
    """The same users in both versions of XLA, one after the other and in blocks."""
    small = dataclasses.replace(setting, clients_per_round=_BLOCK_SIZES[-1])
    rows = []
    for name, title, sized in (
        ("small", "small model", small),
        ("attention", "attention of 64", _with_attention(small)),
    ):
        rows += [
            Row(f"loop_{name}", "accelerator", f"{title}: compiled", COMPILED, sized),
            Row(f"pjrt_loop_{name}", "accelerator", f"{title}: pjrt, one by one", PJRT, sized),
            *(
                Row(f"pjrt_{size}_{name}", "accelerator", f"{title}: pjrt, blocks of {size}", PJRT,
                    sized, clients_per_block=size, is_batched=True)
                for size in _BLOCK_SIZES
            ),
        ]  # fmt: skip
    return rows


def _create_growth_rows(setting: Setting, group: str, values: Sequence[int]) -> list[Row]:
    """Rows that differ in one number; the population grows where a cohort needs it."""
    field, unit = GROWTH[group]
    rows = []
    for value in values:
        grown = dataclasses.replace(setting, **{field: value})
        users = max(grown.num_users, grown.clients_per_round)
        grown = dataclasses.replace(grown, num_users=users)
        rows.append(Row(f"{group}_{value}", group, f"{value:,} {unit}", COMPILED, grown))
    return rows


def _create_million_rows(setting: Setting) -> list[Row]:
    """The server's step over the rows that were sent, over all, and with noise on all."""
    wide = dataclasses.replace(setting, embedding_dim=64, clients_per_round=1000)
    kinds_of_step = {
        "lazy": ("lazy Adam", {"is_private": False, "server_optimizer": LAZY_ADAM}),
        "adam": ("Adam", {"is_private": False}),
        "noise": ("Adam, noise on all rows", {}),
    }
    return [
        Row(f"{name}_{num_items}", "million", f"{num_items:,} items, {title}", COMPILED,
            dataclasses.replace(wide, num_items=num_items, **fields))
        for name, (title, fields) in kinds_of_step.items()
        for num_items in (4000, 1_000_000)
    ]  # fmt: skip


def _create_worker_rows(setting: Setting) -> list[Row]:
    """The same shares by one thread, by all, and by workers; beside them, what shares cost."""
    cohort = dataclasses.replace(setting, clients_per_round=1000)
    shares = {"num_shares": _NUM_SHARES_OF_WORKERS, "reads_data": True}
    return [
        Row("one_share_1_thread", "workers", "compiled, 1 thread, one share", COMPILED, cohort,
            num_shards=1, num_shares=1, reads_data=True),
        Row("shares_1_thread", "workers", "compiled, 1 thread, 16 shares", COMPILED, cohort,
            num_shards=1, **shares),
        Row("shares_all_threads", "workers", "compiled, all threads, 16 shares", COMPILED, cohort,
            **shares),
        Row("ray_1_worker", "workers", "Ray, 1 worker, 16 shares", RAY, cohort, num_workers=1,
            **shares),
        Row("ray_2_workers", "workers", "Ray, 2 workers, 16 shares", RAY, cohort, num_workers=2,
            **shares),
    ]  # fmt: skip
