"""Costs of aggregators and of secure sums as Markdown tables."""

from collections.abc import Sequence

from fedrec_tff.benchmarks import aggregator_rounds, secure_sum_costs


def to_markdown(
    costs: Sequence[aggregator_rounds.AggregatorCost] | Sequence[secure_sum_costs.SecureSumCost],
) -> str:
    """A table.

    Args:
      costs: Costs, all of one kind.

    Returns:
      Markdown.
    """
    if isinstance(costs[0], secure_sum_costs.SecureSumCost):
        return _write_table(
            ("integers", "sum", "seconds per client", "kB up", "kB down", "up : plain"),
            [_secure_sum_row(cost, _find_plain(costs, cost.num_weights)) for cost in costs],
        )
    return _write_table(
        ("aggregator", "updates", "round ms", "quartiles", "server ms", "kB up", "time : mean"),
        [_aggregator_row(cost) for cost in costs],
    )


def _aggregator_row(cost: aggregator_rounds.AggregatorCost) -> list[str]:
    spread = cost.milliseconds
    return [
        f"`{cost.name}`",
        "rows" if cost.is_row_sparse else "dense",
        f"{spread.median:.0f}",
        f"{spread.lower:.0f} to {spread.upper:.0f}",
        f"{cost.server_milliseconds:.0f}",
        "" if cost.upload_kilobytes is None else f"{cost.upload_kilobytes:.1f}",
        f"{cost.ratio:.1f}",
    ]


def _secure_sum_row(cost: secure_sum_costs.SecureSumCost, plain_bytes: float | None) -> list[str]:
    return [
        f"{cost.num_weights:,}",
        cost.name,
        f"{cost.seconds_per_client:.4f}",
        f"{cost.upload_bytes / 1e3:,.1f}",
        f"{cost.download_bytes / 1e3:,.1f}",
        "" if plain_bytes is None else f"{cost.upload_bytes / plain_bytes:.1f}",
    ]


def _find_plain(costs: Sequence[secure_sum_costs.SecureSumCost], num_weights: int) -> float | None:
    for cost in costs:
        if cost.name == "plain" and cost.num_weights == num_weights:
            return cost.upload_bytes
    return None


def _write_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
