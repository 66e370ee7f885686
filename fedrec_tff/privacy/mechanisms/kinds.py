"""All kinds of private mechanisms, by name: a new one is a file beside this, and a line here.

Light, so that a wrong flag is told at once: see `base`.
"""

# Tested in tests/privacy/test_mechanisms.py and tests/config/test_run_config.py.

from collections.abc import Callable

from fedrec_tff.errors import UserError
from fedrec_tff.privacy.mechanisms import adaptive, banded, gaussian, local, shared, sparse, tree
from fedrec_tff.privacy.mechanisms.base import MechanismKind

KINDS: dict[str, MechanismKind] = {
    kind.name: kind
    for kind in (
        gaussian.GAUSSIAN,
        adaptive.ADAPTIVE,
        sparse.SPARSE,
        tree.TREE,
        banded.BANDED_MF,
        local.LOCAL_GAUSSIAN,
        local.LOCAL_LAPLACE,
        shared.DDP_DISCRETE_GAUSSIAN,
        shared.DDP_SKELLAM,
    )
}
# What a run has that asks for privacy and names no aggregator.
DEFAULT = gaussian.GAUSSIAN


def get(name: str) -> MechanismKind:
    """Finds a kind.

    Args:
        name: Name of the kind.

    Returns:
        The kind.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in KINDS:
        raise UserError(f"no private mechanism is called {name!r}")
    return KINDS[name]


def names_where(holds_fn: Callable[[MechanismKind], bool]) -> tuple[str, ...]:
    """The names of the kinds of which something is true, to tell people what to choose from."""
    return tuple(name for name, kind in KINDS.items() if holds_fn(kind))


def describe_first_samplings() -> str:
    """Which law of cohorts each kind has by default, beginning with that of `DEFAULT`."""
    usual = DEFAULT.samplings[0]
    others = dict.fromkeys(kind.samplings[0] for kind in KINDS.values())
    parts = [
        f"{law} for {' and '.join(names_where(lambda kind, law=law: kind.samplings[0] == law))}"
        for law in others
        if law != usual
    ]
    return ", ".join([usual, *parts])


def names_having(field: str) -> tuple[str, ...]:
    """The names of the kinds for which a field of `terms.FIELDS_OF_SOME` means something."""
    return names_where(lambda kind: kind.has(field))
