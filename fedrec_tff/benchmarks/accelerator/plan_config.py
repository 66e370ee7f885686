"""The round that is planned for cards, as flags."""

# Tested in tests/benchmarks/accelerator/test_accelerator_plan.py.

import dataclasses

from fedrec_tff import errors
from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.accelerator import cards as cards_lib
from fedrec_tff.config import config_checks
from fedrec_tff.config.field_spec import declare
from fedrec_tff.config.run_config import RunConfig


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """The round. See each field's help."""

    row: str = declare(
        "compiled_attention_128",
        "Row of experiments.benchmark_execution whose model and users are taken.",
    )
    clients_per_round: int = declare(1000, "Users of a round.", low=1, high=1_000_000)
    clients_per_block: int = declare(
        128, "Users that are worked on at once, as in experiments.train.", low=1, high=1_000_000
    )
    cards: tuple[str, ...] = declare(
        ("h100",), f"Cards, separated by commas: {', '.join(cards_lib.CARDS)}."
    )
    graphs: bool = declare(
        False,
        f"Kernels are launched in runs, {cards_lib.GRAPH_LAUNCH_SECONDS * 1e6:g} microseconds "
        f"each, and not one by one, {cards_lib.LAUNCH_SECONDS * 1e6:g}.",
    )
    device: str = declare("cpu", "Device of this machine that --check times a block on.")
    check: bool = declare(
        False, "Also time a block on --device, and print how far the model is off on it."
    )
    seed: int = declare(
        RunConfig.seed, "Seed of users, cohorts and initial weights.", low=0, high=2**31 - 1
    )


def validate(config: PlanConfig) -> plan.Setting:
    """Checks a configuration.

    Args:
      config: The configuration.

    Returns:
      The setting of its row.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    config_checks.check_ranges(config)
    for name in config.cards:
        if name not in cards_lib.CARDS:
            raise errors.UserError(f"--cards={name}: choose of {', '.join(cards_lib.CARDS)}")
    rows = [
        row
        for row in plan.create_rows(plan.BenchmarkConfig(seed=config.seed))
        # A GRU loops over positions, as often as clients are long, inside of its steps.
        if row.subject == plan.COMPILED and row.is_row_sparse and row.setting.query_tower != "gru"
    ]
    for row in rows:
        if row.name == config.row:
            num_users = max(row.setting.num_users, config.clients_per_round)
            return dataclasses.replace(
                row.setting, clients_per_round=config.clients_per_round, num_users=num_users
            )
    raise errors.UserError(f"--row={config.row}: choose of {', '.join(row.name for row in rows)}")
