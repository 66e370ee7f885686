"""What a run does to its users' updates, and what that costs: the one place that knows.

Each mechanism is an object in a file of its own, of a class that `base` describes; `kinds` lists
them. `Mechanism` is one with its numbers, as a run has it and a ledger keeps it. Whoever wants to
know something of a mechanism asks its `kind`, and nobody asks for its name.
"""

from fedrec_tff.privacy.mechanisms.mechanism import (
    Mechanism,
    check_rounds,
    noise_multiplier_limit,
    num_units,
    planned_events,
    unit_event,
)

__all__ = [
    "Mechanism",
    "check_rounds",
    "noise_multiplier_limit",
    "num_units",
    "planned_events",
    "unit_event",
]
