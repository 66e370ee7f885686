"""What a benchmark found: ratios, tables, JSON and Markdown."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

import rich.box
import rich.console
import rich.table

from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.measurement import Measurement
from fedrec_tff.benchmarks.timing import Quartiles

HEADLINE = "compiled_over_native_ratio"
_USERS = "users_per_second"
_EXAMPLES = "examples_per_second"
_CLIENT_USERS = "client_users_per_second"
_TEXT_WIDTH = 120
_NOTHING = "-"
_SPEED_HEADER = (
    "",
    "users/s",
    "examples/s",
    "quartiles",
    "1st round s",
    "peak MB",
    "growth MB",
    "rounds",
)
_GROWTH_HEADER = (
    "",
    "users/s",
    "client users/s",
    "round ms",
    "clients ms",
    "server ms",
    "1st round s",
    "peak MB",
    "rounds",
)
_GROWTH_GROUPS = (*plan.GROWTH, "million")


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A comparison of two rows.

    Attributes:
      name: The key in the results.
      title: Title of the ratio, for people.
      above: Row, and which of its rates, that is divided.
      below: Row, and which of its rates, that it is divided by.
    """

    name: str
    title: str
    above: tuple[str, str]
    below: tuple[str, str]


_COMPILED = "compiled_row_sparse"
_ONE_SHARD = "compiled_row_sparse_1_shard"
RATIOS = (
    Ratio(HEADLINE, "compiled over native, row-sparse, users/s",
          (_COMPILED, _USERS), ("native_row_sparse", _USERS)),
    Ratio("compiled_over_native_dense_ratio", "compiled over native, dense, users/s",
          ("compiled_dense", _USERS), ("native_dense", _USERS)),
    Ratio("compiled_over_stock_tff_ratio", "compiled over stock TFF, dataset iterator, users/s",
          (_COMPILED, _USERS), ("stock_tff_iterator", _USERS)),
    Ratio("compiled_over_default_stock_tff_ratio",
          "compiled over stock TFF, default client loop, users/s",
          (_COMPILED, _USERS), ("stock_tff", _USERS)),
    Ratio("compiled_over_tfrs_fit_16_ratio", "compiled over TFRS fit, batch 16, examples/s",
          (_COMPILED, _EXAMPLES), ("tfrs_fit_16", _EXAMPLES)),
    Ratio("compiled_over_tfrs_fit_1024_ratio",
          "compiled, batch 16, over TFRS fit, batch 1024, examples/s",
          (_COMPILED, _EXAMPLES), ("tfrs_fit_1024", _EXAMPLES)),
    Ratio("compiled_over_bare_loop_ratio",
          "compiled over the bare loop, 1 thread each, examples/s",
          (_ONE_SHARD, _EXAMPLES), ("bare_loop", _EXAMPLES)),
    Ratio("compiled_client_work_over_bare_loop_ratio",
          "the same, compiled client work alone, users/s",
          (_ONE_SHARD, _CLIENT_USERS), ("bare_loop", _USERS)),
    Ratio("all_shards_over_one_shard_ratio", "compiled, all shards over 1 shard, users/s",
          (_COMPILED, _USERS), (_ONE_SHARD, _USERS)),
    Ratio("compiled_over_native_attention_ratio", "compiled over native, attention, examples/s",
          ("compiled_attention", _EXAMPLES), ("native_attention", _EXAMPLES)),
    Ratio("pjrt_loop_over_compiled_small_ratio",
          "small model, pjrt one by one over compiled, users/s",
          ("pjrt_loop_small", _USERS), ("loop_small", _USERS)),
    Ratio("pjrt_block_over_loop_small_ratio",
          "small model, pjrt in blocks of 32 over one by one, users/s",
          ("pjrt_32_small", _USERS), ("pjrt_loop_small", _USERS)),
    Ratio("pjrt_loop_over_compiled_attention_ratio",
          "attention, pjrt one by one over compiled, users/s",
          ("pjrt_loop_attention", _USERS), ("loop_attention", _USERS)),
    Ratio("pjrt_block_over_loop_attention_ratio",
          "attention, pjrt in blocks of 32 over one by one, users/s",
          ("pjrt_32_attention", _USERS), ("pjrt_loop_attention", _USERS)),
    Ratio("lazy_million_over_4000_ratio", "a million items over 4,000, no noise, users/s",
          ("lazy_1000000", _USERS), ("adam_4000", _USERS)),
    Ratio("noise_million_over_4000_ratio", "a million items over 4,000, noise on all rows, users/s",
          ("noise_1000000", _USERS), ("noise_4000", _USERS)),
    Ratio("shares_over_one_share_ratio", "16 shares over one, 1 thread, users/s",
          ("shares_1_thread", _USERS), ("one_share_1_thread", _USERS)),
    Ratio("one_worker_over_one_thread_ratio", "1 worker over 1 thread, 16 shares, users/s",
          ("ray_1_worker", _USERS), ("shares_1_thread", _USERS)),
    Ratio("two_workers_over_one_ratio", "2 workers over 1, users/s",
          ("ray_2_workers", _USERS), ("ray_1_worker", _USERS)),
    Ratio("two_workers_over_all_threads_ratio", "2 workers over all threads, 16 shares, users/s",
          ("ray_2_workers", _USERS), ("shares_all_threads", _USERS)),
    Ratio("row_sparse_over_dense_ratio", "compiled, row-sparse over dense, users/s",
          (_COMPILED, _USERS), ("compiled_dense", _USERS)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RowResult:
    """How a row went.

    Attributes:
      row: Row that was to be measured.
      measurement: Figures of the row; None if it failed.
      error: Reason for which the row failed, in one line.
    """

    row: plan.Row
    measurement: Measurement | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """A whole benchmark.

    Attributes:
      results: Results of the rows, in the order of measurement.
      command: Command that repeats the benchmark.
      seed: Seed of all that is random but the noise.
      machine: Description of the machine, from `machine.describe`.
    """

    results: tuple[RowResult, ...]
    command: str
    seed: int
    machine: Mapping[str, Any]

    @property
    def lacks_headline(self) -> bool:
        """Whether the headline's rows were both to be measured, and it is missing all the same."""
        asked = {result.row.name for result in self.results}
        headline = RATIOS[0]
        is_asked = {headline.above[0], headline.below[0]} <= asked
        return is_asked and compute_ratios(self.results)[HEADLINE] is None

    def to_json(self) -> str:
        """One object: the headline, all ratios, all rows by name."""
        ratios = compute_ratios(self.results)
        found = {
            HEADLINE: ratios[HEADLINE],
            "ratios": ratios,
            "rows": {result.row.name: _row_fields(result) for result in self.results},
            "command": self.command,
            "seed": self.seed,
            "machine": dict(self.machine),
        }
        return json.dumps(found, indent=2, allow_nan=False)

    def to_text(self) -> str:
        """Aligned tables, the failures, the ratios."""
        parts = [_describe_machine(self.machine), ""]
        for table in _create_tables(self.results):
            parts += [table.title, _render(table), ""]
        parts += _describe_failures(self.results)
        return "\n".join(parts).rstrip()

    def to_markdown(self) -> str:
        """The same as Markdown, with the command."""
        parts = [
            f"Measured by `{self.command}` (seed {self.seed}) on {_describe_machine(self.machine)}",
            "",
        ]
        for table in _create_tables(self.results):
            lines = [table.header, ["---"] * len(table.header), *table.rows]
            parts += [f"### {table.title}", ""]
            parts += ["| " + " | ".join(line) + " |" for line in lines] + [""]
        parts += [f"- {line}" for line in _describe_failures(self.results)]
        return "\n".join(parts).rstrip() + "\n"


@dataclasses.dataclass(frozen=True)
class _Table:
    title: str
    header: list[str]
    rows: list[list[str]]


def compute_ratios(results: Iterable[RowResult]) -> dict[str, float | None]:
    """Divides medians.

    Args:
      results: Results of all rows.

    Returns:
      Every ratio by name; None where a row was not measured, or failed.
    """
    measured = {result.row.name: result.measurement for result in results}
    return {
        ratio.name: _divide(_median(measured, *ratio.above), _median(measured, *ratio.below))
        for ratio in RATIOS
    }


def _median(measured: Mapping[str, Measurement | None], name: str, rate: str) -> float | None:
    found = measured.get(name)
    quartiles = None if found is None else getattr(found, rate)
    return None if quartiles is None else quartiles.median


def _divide(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def _row_fields(result: RowResult) -> dict[str, Any]:
    figures = {} if result.measurement is None else dataclasses.asdict(result.measurement)
    return dataclasses.asdict(result.row) | figures | {"error": result.error}


def _create_tables(results: Iterable[RowResult]) -> list[_Table]:
    results = tuple(results)
    tables = []
    for group, title in plan.GROUPS.items():
        members = [result for result in results if result.row.group == group]
        if members:
            is_growth = group in _GROWTH_GROUPS
            header = _GROWTH_HEADER if is_growth else _SPEED_HEADER
            cells = _growth_cells if is_growth else _speed_cells
            rows = [_row_cells(result, cells, len(header)) for result in members]
            tables.append(_Table(title, list(header), rows))
    ratios = compute_ratios(results)
    rows = [
        [ratio.title, f"{ratios[ratio.name]:.2f}"]
        for ratio in RATIOS
        if ratios[ratio.name] is not None
    ]
    if rows:
        tables.append(_Table("Ratios, of medians", ["", "ratio"], rows))
    return tables


def _row_cells(result: RowResult, cells: Any, width: int) -> list[str]:
    if result.measurement is None:
        return [result.row.title, "failed", *[_NOTHING] * (width - 2)]
    return [result.row.title, *cells(result.measurement)]


def _speed_cells(found: Measurement) -> list[str]:
    return [
        _rate_cell(found.users_per_second),
        _rate_cell(found.examples_per_second),
        _spread_cell(found.examples_per_second),
        f"{found.first_round_seconds:.2f}",
        f"{found.peak_megabytes:,.0f}",
        f"{found.memory_growth_megabytes:,.0f}",
        f"{found.num_rounds}",
    ]


def _growth_cells(found: Measurement) -> list[str]:
    stages = found.stage_seconds or {}
    return [
        _rate_cell(found.users_per_second),
        _rate_cell(found.client_users_per_second),
        _milliseconds_cell(found.seconds_per_round.median),
        _milliseconds_cell(stages.get("clients")),
        _milliseconds_cell(stages.get("server")),
        f"{found.first_round_seconds:.2f}",
        f"{found.peak_megabytes:,.0f}",
        f"{found.num_rounds}",
    ]


def _rate_cell(rate: Quartiles | None) -> str:
    return _NOTHING if rate is None else f"{rate.median:,.0f}"


def _spread_cell(rate: Quartiles) -> str:
    """The quartiles beside the median: the same for users and for examples."""
    return f"{rate.lower / rate.median - 1:+.0%} to {rate.upper / rate.median - 1:+.0%}"


def _milliseconds_cell(seconds: float | None) -> str:
    return _NOTHING if seconds is None else f"{1000 * seconds:,.1f}"


def _describe_failures(results: Iterable[RowResult]) -> list[str]:
    return [
        f"{result.row.title} ({result.row.name}) failed: {result.error}"
        for result in results
        if result.error is not None
    ]


def _describe_machine(machine: Mapping[str, Any]) -> str:
    versions = [
        f"{name} {value}"
        for name, value in machine.items()
        if name not in ("cpu", "cores", "memory_gib")
    ]
    hardware = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB"
    return ", ".join([hardware, *versions])


def _render(table: _Table) -> str:
    rendered = rich.table.Table(box=rich.box.SIMPLE)
    for index, name in enumerate(table.header):
        rendered.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table.rows:
        rendered.add_row(*row)
    console = rich.console.Console(width=_TEXT_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(rendered)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join(line for line in lines if line)
