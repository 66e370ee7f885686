"""The plan of a round on cards as text, with what it assumes."""

# Tested in tests/benchmarks/accelerator/test_accelerator_plan.py.

from fedrec_tff.benchmarks.accelerator.accelerator_plan import CardPlan, Check, Plan

_WIDTH = 26
_ASSUMPTIONS = (
    "A model on paper: each kernel takes the longest of a launch, its bytes over the bandwidth\n"
    "and its operations over the peak, one kernel after the other. Bandwidths and peaks are\n"
    "published, launches are assumed; so this is the least that a card could take. The server's\n"
    "part is that of this machine."
)


def to_text(found: Plan) -> str:
    """Renders a plan as plain lines."""
    lines = [
        f"The compiled context here: {found.compiled_users_per_second:,.0f} users/s on "
        f"{found.num_cores} processor{'' if found.num_cores == 1 else 's'}"
    ]
    for card in found.cards:
        lines += ["", *_describe_card(card, found.num_programs)]
    if found.check is not None:
        lines += ["", *_describe_check(found.check)]
    return "\n".join([*lines, "", _ASSUMPTIONS])


def _describe_card(card: CardPlan, num_programs: int) -> list[str]:
    per_round = card.card_seconds, card.link_seconds, card.host_seconds
    bounds = sorted(card.shares.items(), key=lambda pair: -pair[1])
    by_what = ", ".join(f"{share:.0%} {bound}" for bound, share in bounds)
    origin = "compiled for it, ahead of time" if card.is_compiled_for_it else card.remark
    return [
        card.title,
        _say("users/s at the most", f"{card.users_per_second:,.0f}"),
        _say("of clients' work alone", f"{card.card_users_per_second:,.0f}"),
        _say("over compiled here", f"{card.times_compiled:.1f}"),
        _say("a round", "{:.1f} ms on it, {:.1f} link, {:.1f} server".format(
            *(1e3 * seconds for seconds in per_round))),
        _say("bound on it by", by_what),
        _say("kernels", f"{card.num_launches:,}"),
        _say("moved", f"{card.gigabytes:,.1f} GB"),
        _say("computed", f"{card.gigaflops:,.1f} GFLOP"),
        _say("memory of a block", f"{card.scratch_gigabytes:.2f} GB"),
        _say("programs to compile", f"{num_programs}, {card.compile_seconds:.0f} s of a processor"),
        _say("the program", origin),
    ]  # fmt: skip


def _describe_check(check: Check) -> list[str]:
    rates = check.rates
    return [
        f"The same model of {check.device} here",
        _say("measured", f"{rates['flops'] / 1e9:,.0f} GFLOP/s, "
             f"{rates['bytes_per_second'] / 1e9:,.1f} GB/s, "
             f"{rates['launch_seconds'] * 1e6:.1f} us a kernel"),
        _say("a block, predicted", f"{check.predicted_seconds * 1e3:,.1f} ms"),
        _say("a block, measured", f"{check.measured_seconds * 1e3:,.1f} ms"),
        _say("predicted : measured", f"{check.predicted_seconds / check.measured_seconds:.2f}"),
    ]  # fmt: skip


def _say(what: str, value: str) -> str:
    return f"  {what:<{_WIDTH}}{value}"
