"""Two worlds that differ in one member: does anything of anybody else's differ?

Noise hides what one user adds to a sum. It hides nothing where one user's data decide what happens
to others: who trains, in which round, under which edge. So what a build does to each user is
written down, stage by stage and by raw id, once with the one user's data and once with other data
in their place, from the same keys. Whatever then differs of anybody else accuses. No statistics are
needed: the comparison is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from typing import Any

from fedrec_tff.privacy.audit import checks

_NUM_NAMED = 3


@dataclasses.dataclass(frozen=True)
class World:
    """What a build does with one data set.

    Attributes:
        users: All that happens to a user in a stage, by stage and raw user id, as bytes that are
            equal if it is. Who is left out of a stage is missing from it.
        public: Data of a stage that are nobody's in particular and taken to be public, by stage, as
            bytes.
    """

    users: Mapping[str, Mapping[str, bytes]]
    public: Mapping[str, bytes]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What differs between two worlds, beside the changed user.

    Attributes:
        change: Change that was made to the one user's data, in a few words.
        affected: The other users to whom something else happens, by stage, sorted; empty where
            nobody.
        num_others: Number of other users that either world has in a stage, by stage.
    """

    change: str
    affected: Mapping[str, tuple[str, ...]]
    num_others: Mapping[str, int]
    is_unequal: Mapping[str, bool]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json`, with raw ids."""
        return {
            "change": self.change,
            "affected": {stage: list(ids) for stage, ids in self.affected.items()},
            "others": dict(self.num_others),
            "public": dict(self.is_unequal),
        }

    def differs(self, stage: str) -> bool:
        """Whether anything but the changed user's own differs at a stage."""
        return bool(self.affected.get(stage)) or self.is_unequal.get(stage, False)


def compare(change: str, first: World, second: World, changed: Set[str]) -> Comparison:
    """Compares two worlds made from the same keys.

    Args:
        change: Change that was made from the first world to the second, in a few words.
        first: One of the two worlds.
        second: The other world, of the same stages.
        changed: Raw ids of those whose data were changed.

    Returns:
        The differences in what happens to anybody else.

    Raises:
        ValueError: If the worlds have different stages.
    """
    if first.users.keys() != second.users.keys() or first.public.keys() != second.public.keys():
        raise ValueError("the worlds to compare have different stages")
    affected, num_others = {}, {}
    for stage, before in first.users.items():
        after = second.users[stage]
        others = (before.keys() | after.keys()) - changed
        affected[stage] = tuple(sorted(i for i in others if before.get(i) != after.get(i)))
        num_others[stage] = len(others)
    is_unequal = {stage: value != second.public[stage] for stage, value in first.public.items()}
    return Comparison(change, affected, num_others, is_unequal)


def judge(comparisons: Sequence[Comparison]) -> tuple[checks.Check, ...]:
    """Makes a check of each stage: it fails if any change of one user reached somebody else.

    Args:
        comparisons: Comparisons of worlds that have the same stages, at least one.

    Returns:
        The checks, in the order of the stages.
    """
    stages = dict.fromkeys([*comparisons[0].is_unequal, *comparisons[0].affected])
    return tuple(_judge_stage(stage, comparisons) for stage in stages)


def _judge_stage(stage: str, comparisons: Sequence[Comparison]) -> checks.Check:
    worst = max(comparisons, key=lambda c: (c.differs(stage), len(c.affected.get(stage, ()))))
    num_others = worst.num_others.get(stage)
    if not worst.differs(stage):
        what = "nothing differs" if num_others is None else f"the same for {num_others:,} others"
        return checks.Check(stage, True, f"{what}, in {len(comparisons)} changes of one user")
    ids = worst.affected.get(stage)
    found = "it differs"
    if ids:
        named = ", ".join(ids[:_NUM_NAMED]) + (", ..." if len(ids) > _NUM_NAMED else "")
        found = f"{len(ids):,} of {num_others:,} others are affected ({named})"
    return checks.Check(stage, False, f"when one user {worst.change}, {found}")
