"""What to expect of cards for a round: programs compiled for each, and what they would take."""

# Tested in tests/benchmarks/accelerator/test_accelerator_plan.py.

import dataclasses
import os
from collections.abc import Mapping, Sequence

from fedrec_tff.benchmarks import plan
from fedrec_tff.benchmarks.accelerator import (
    cards,
    described_rounds,
    hlo_text,
    kernels,
    plan_config,
    round_seconds,
)

_CAUSAL = ("attention", "attention_and_mean", "gru")
_GIGA = 1e9


@dataclasses.dataclass(frozen=True)
class CardPlan:
    """A round on a card.

    Attributes:
      title: The card.
      is_compiled_for_it: Whether its program was compiled for it; if not, it is the program of the
        worker's device that was counted.
      remark: Why it was not; empty if it was.
      num_launches: Kernels of a round.
      gigabytes: Bytes that they move, in units of 1e9.
      gigaflops: Operations, in units of 1e9.
      shares: Fractions of the seconds on the card by what bounds them.
      card_seconds: Seconds on the card.
      link_seconds: Seconds of what is sent there and back.
      host_seconds: Seconds of the server's part on this machine, as measured here.
      card_users_per_second: Users by the seconds on the card.
      users_per_second: Users by the seconds of the whole round.
      times_compiled: The same over the compiled context's here.
      scratch_gigabytes: Memory of a block's program.
      compile_seconds: Seconds of a processor of this machine until all programs were compiled.
    """

    title: str
    is_compiled_for_it: bool
    remark: str
    num_launches: int
    gigabytes: float
    gigaflops: float
    shares: Mapping[str, float]
    card_seconds: float
    link_seconds: float
    host_seconds: float
    card_users_per_second: float
    users_per_second: float
    times_compiled: float
    scratch_gigabytes: float
    compile_seconds: float


@dataclasses.dataclass(frozen=True)
class Check:
    """The model of the worker's own device against a block that ran there.

    Attributes:
      device: The device.
      rates: What was measured of it.
      predicted_seconds: Seconds of a block as predicted from these.
      measured_seconds: As measured.
    """

    device: str
    rates: Mapping[str, float]
    predicted_seconds: float
    measured_seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that was found.

    Attributes:
      cards: The cards.
      compiled_users_per_second: Users of the compiled context here, of the whole round.
      num_cores: Processors that it had.
      num_programs: Programs of a round: one for each length of clients' data.
      check: The model against a measurement; None unless asked for.
    """

    cards: Sequence[CardPlan]
    compiled_users_per_second: float
    num_cores: int
    num_programs: int
    check: Check | None


def run(config: plan_config.PlanConfig) -> Plan:
    """Plans.

    Args:
      config: A valid configuration.

    Returns:
      The plan.

    Raises:
      UserError: If the configuration is wrong.
      ExecutionError: If there is no environment for accelerators, or the worker fails.
    """
    setting = plan_config.validate(config)
    targets = {name: cards.CARDS[name].target for name in config.cards}
    described = described_rounds.describe(
        setting, config.device, config.clients_per_block, targets, config.check
    )
    compiled_seconds = sum(described.compiled_seconds.values())
    compiled_rate = config.clients_per_round / compiled_seconds
    return Plan(
        [_plan_card(name, config, setting, described, compiled_rate) for name in config.cards],
        compiled_rate,
        len(os.sched_getaffinity(0)),
        len(described.shapes),
        _check(setting, described.shapes[0]) if config.check else None,
    )


def _plan_card(
    name: str,
    config: plan_config.PlanConfig,
    setting: plan.Setting,
    described: described_rounds.DescribedRound,
    compiled_rate: float,
) -> CardPlan:
    card = cards.CARDS[name]
    launch = card.graph_launch_seconds if config.graphs else card.launch_seconds
    rates = round_seconds.Rates(card.flops, card.bytes_per_second, launch, card.clock_hertz)
    programs = [
        shape.programs.get(name) or shape.programs[described_rounds.HERE]
        for shape in described.shapes
    ]
    predicted = [
        round_seconds.predict(_list_kernels(setting, shape, program), rates)
        for shape, program in zip(described.shapes, programs, strict=True)
    ]
    blocks = [shape.num_blocks for shape in described.shapes]

    def total(values: Sequence[float]) -> float:
        return sum(n * value for n, value in zip(blocks, values, strict=True))

    card_seconds = total([p.seconds for p in predicted])
    # What a card sends back is an accumulator, of the size of what it was sent.
    link_bytes = 2 * described.sent_bytes + total([s.block_bytes for s in described.shapes])
    link_seconds = link_bytes / card.link_bytes_per_second
    stages = described.compiled_seconds
    host_seconds = stages["prepare"] + stages["server"]
    rate = config.clients_per_round / (card_seconds + link_seconds + host_seconds)
    bounds = {bound for p in predicted for bound in p.shares}
    shares = {
        bound: total([p.seconds * p.shares.get(bound, 0.0) for p in predicted]) / card_seconds
        for bound in sorted(bounds)
    }
    refusals = [shape.refusals[name] for shape in described.shapes if name in shape.refusals]
    return CardPlan(
        title=card.title,
        is_compiled_for_it=not refusals,
        remark=refusals[0] if refusals else "",
        num_launches=int(total([p.num_launches for p in predicted])),
        gigabytes=total([p.num_bytes for p in predicted]) / _GIGA,
        gigaflops=total([p.num_flops for p in predicted]) / _GIGA,
        shares=shares,
        card_seconds=card_seconds,
        link_seconds=link_seconds,
        host_seconds=host_seconds,
        card_users_per_second=config.clients_per_round / card_seconds,
        users_per_second=rate,
        times_compiled=rate / compiled_rate,
        scratch_gigabytes=max(program.scratch_bytes for program in programs) / _GIGA,
        compile_seconds=sum(p.lowering_seconds + p.compile_seconds for p in programs),
    )


def _check(setting: plan.Setting, shape: described_rounds.Shape) -> Check:
    program = shape.programs[described_rounds.HERE]
    kernels_here = _list_kernels(setting, shape, program)
    predicted = round_seconds.predict(kernels_here, round_seconds.Rates(**program.rates))
    return Check(program.device, program.rates, predicted.seconds, program.block_seconds)


def _list_kernels(
    setting: plan.Setting, shape: described_rounds.Shape, program: described_rounds.Described
) -> list[kernels.Kernel]:
    parsed = hlo_text.parse(program.text)
    return kernels.list_kernels(parsed, count_trips(setting, shape.client_length))


def count_trips(setting: plan.Setting, client_length: int) -> tuple[int, int]:
    """How often the two loops of a client's work run.

    Args:
      setting: Sizes of users, items and model.
      client_length: Length of a client's sequence, padded.

    Returns:
      The halvings of `learning.local_rows.find_slots`, and the local steps.
    """
    slots = client_length + setting.num_negatives
    is_causal = setting.query_tower in _CAUSAL
    steps = 1 if is_causal else -(-setting.interactions_per_user // setting.batch_size)
    return (slots - 1).bit_length(), steps
