"""Pairs of data sets that differ in one user, as files, and what each has to say of a user.

Whatever is done to a user under differential privacy must be the same in both, but for the one who
differs. `pairs` draws them, `write_table` and `write_published` write them, `describe_users` tells
by raw id what became of everybody.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from fedrec_tff.datasets import clients

ITEMS = tuple(f"i{number}" for number in range(8))  # the last one is taken by nobody
UNLISTED = "zz"  # in no item table
MINIMUM_VALUE = 3.0
_TIMES = ("5", "6", "6.25", "1970-01-01T00:00:07", "9", "-3")
_VALUES = ("1", "3", "4.5", "5")
# Rows of one filler in both files, which must be read alike whatever else is in the file.
_ODD = ('100,"i"3,1,5', "100,i4,0x10,5", "100, i5 ,+70,5", '100,"i6",71.5,5')
# Rows of the changed user that are malformed, or look like other rows to a careless reader.
_NASTY = (
    '{user},"i1"x,5,5',
    '{user},"i1,5,5',
    "{user},i1,0x10,5",
    "{user},i1",
    "{user},i1,5,nan",
    ",i1,5,5",
    '{user},"i1","6","5"',
    "{user}::i2::3::4",
    "{user}\ti2\t3\t4",
)


@dataclasses.dataclass(frozen=True)
class Event:
    """A row of a user, as text."""

    item: str
    time: str
    value: str


Data = Mapping[str, Sequence[Event]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two data sets.

    Attributes:
      first: Rows of the first data set by user, in the order of the file.
      second: Rows of the second data set by user: those of the first but for one user.
      changed: Raw id of the user who differs; two of them where the user is renamed.
      odd: Odd lines of another user in both files.
      nasty: Malformed lines of the changed user in the second file.
      orders: Seeds of how the rows of users are mixed, one for each file.
    """

    first: Data
    second: Data
    changed: frozenset[str]
    odd: tuple[str, ...]
    nasty: tuple[str, ...]
    orders: tuple[int, int]

    @property
    def roster(self) -> tuple[str, ...]:
        """All who could be there, whose data or not."""
        return tuple({**self.first, **self.second, "nobody": ()})


def _events(max_size: int = 8) -> st.SearchStrategy[list[Event]]:
    event = st.builds(
        Event,
        st.sampled_from((*ITEMS[:-1], UNLISTED)),
        st.sampled_from(_TIMES),
        st.sampled_from(_VALUES),
    )
    return st.lists(event, max_size=max_size)


def _fillers() -> dict[str, list[Event]]:
    """Users enough for all parts of a split, the same in all data sets."""
    rng = np.random.default_rng(0)
    return {
        str(100 + user): [
            Event(str(item), str(time), "5")
            for time, item in enumerate(rng.choice(ITEMS[:-1], 6, replace=False))
        ]
        for user in range(14)
    }


@st.composite
def pairs(draw: st.DrawFn, with_nasty_rows: bool = False) -> Pair:
    """Two data sets of some twenty users, of which one is removed, replaced, cut or renamed.

    Args:
      draw: Function of hypothesis that draws from a strategy.
      with_nasty_rows: Whether the changed user has malformed rows in the second data set.

    Returns:
      The pair.
    """
    names = draw(st.lists(st.sampled_from(["2", "007", "30", "45"]), unique=True, max_size=3))
    first = _fillers() | {name: draw(_events()) for name in names}
    user = draw(st.sampled_from(["1", "101", "9000", "77"]))
    first[user] = draw(_events())
    second, changed = dict(first), {user}
    change = draw(st.sampled_from(["remove", "replace", "shorten", "lengthen", "rename"]))
    if change == "remove":
        del second[user]
    elif change == "replace":
        second[user] = draw(_events())
    elif change == "shorten":
        second[user] = first[user][: draw(st.integers(0, 5))]
    elif change == "lengthen":
        rows = [Event(item, time, "5") for item in ITEMS[:-1] for time in _TIMES]
        second[user] = rows[draw(st.integers(0, 30)) :]
    else:
        other = draw(st.sampled_from(["0", "102x", "zoe", "99999"]))
        second[other] = second.pop(user)
        changed.add(other)
    odd = draw(st.lists(st.sampled_from(_ODD), max_size=1))
    nasty = draw(st.lists(st.sampled_from(_NASTY), max_size=3)) if with_nasty_rows else ()
    return Pair(
        first,
        second,
        frozenset(changed),
        tuple(odd),
        tuple(line.format(user=user) for line in nasty),
        (draw(st.integers(0, 99)), draw(st.integers(0, 99))),
    )


def write_table(
    path, data: Data, order: int = 0, odd: Sequence[str] = (), nasty: Sequence[str] = ()
) -> None:
    """Writes a CSV file in which users' rows are mixed, and each user's are in their own order.

    Args:
      path: Path of the file to write.
      data: Rows by user.
      order: Seed of the order in which users' rows are mixed.
      odd: Odd lines, which come first.
      nasty: Malformed lines, which are strewn in.
    """
    rows = [(user, event) for user, events in data.items() for event in events]
    owners = np.random.default_rng(order).permutation([user for user, _ in rows])
    waiting = {user: iter(events) for user, events in data.items()}
    lines = ["user,item,time,value", *odd]
    for position, user in enumerate(owners):
        event = next(waiting[str(user)])
        lines.append(f"{user},{event.item},{event.time},{event.value}")
        if position < len(nasty):
            lines.append(nasty[position])
    path.write_text("\n".join(lines) + "\n")


def write_published(folder, data: Data, order: int = 0) -> None:
    """Writes an adjacency set: each user's last row is in the test, the others in training."""
    folder.mkdir()
    users = [str(user) for user in np.random.default_rng(order).permutation(list(data))]
    users = [user for user in users if user.isdigit()]
    for name, part in (("train.txt", slice(None, -1)), ("test.txt", slice(-1, None))):
        lines = [
            " ".join([user, *(_number(event.item) for event in data[user][part])]) for user in users
        ]
        (folder / name).write_text("\n".join(lines) + "\n")


def write_sequences(path, data: Data, order: int = 0) -> None:
    """Writes sequences: a line a user, or, for every other one, a line an item."""
    users = [str(user) for user in np.random.default_rng(order).permutation(list(data))]
    lines = []
    for user in users:
        items = [event.item for event in data[user]]
        is_whole = sum(map(ord, user)) % 2
        lines += [" ".join([user, *part]) for part in ([items] if is_whole else zip(items)) if part]
    path.write_text("\n".join(lines) + "\n")


def write_user_table(path, data: Data, changed: frozenset[str]) -> None:
    """Writes a Parquet table with a year of each user; who changed has none."""
    users = list(data)
    years = [None if user in changed else 1900 + len(user) for user in users]
    pd.DataFrame({"user": users, "year": pd.array(years, "Int64")}).to_parquet(path)


def write_item_table(path) -> None:
    """Writes a CSV table of the items."""
    titles = [f"Title of {item}" for item in ITEMS]
    pd.DataFrame({"item": ITEMS, "title": titles}).to_csv(path, index=False)


def describe_users(dataset) -> dict[str, dict]:
    """What became of each user, by raw id, in raw ids of items."""
    log, split = dataset.interactions, dataset.split
    found = {str(user): {} for user in log.user_ids}
    population = clients.stack_clients(split.train)
    for row, user in enumerate(split.train_user_index):
        described = found[log.user_ids[user]]
        described["train"] = log.item_ids[split.train.row(row)].tolist()
        bucket = population.buckets[population.bucket_index[row]]
        described["padded_length"] = bucket.padded_length
    for name, part in (("validation", split.validation), ("test", split.test)):
        for row, user in enumerate(part.user_index):
            found[log.user_ids[user]][name] = (
                log.item_ids[part.history.row(row)].tolist(),
                log.item_ids[part.targets.row(row)].tolist(),
            )
    if log.user_features is not None:
        for user, features in zip(log.user_ids, log.user_features.to_dict("records"), strict=True):
            found[user]["features"] = {k: v for k, v in features.items() if v == v}
    return found


def describe_positions(dataset) -> dict:
    """The numbers of users and items, which a roster and a catalogue fix."""
    return {
        "users": dataset.interactions.user_ids.tolist(),
        "items": dataset.interactions.item_ids.tolist(),
        "train": dataset.split.train_user_index.tolist(),
        "num_items": dataset.split.num_items,
    }


def _number(item: str) -> str:
    return item[1:] if item in ITEMS else "99"
