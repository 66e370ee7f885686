"""How many cases are tried, what must hold of each, and how good files are made bad.

`make test` tries the same few hundred each time; `make fuzz` tries others, and many more, by a seed
that it prints.
"""

import contextlib
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
from hypothesis import strategies as st

from fedrec_tff import errors

IS_NIGHTLY = os.environ.get("FEDREC_TFF_FUZZ") == "nightly"
# Nightly cases for each one of `make test`.
FACTOR = 20
# What was tried in this process: examples, and calls that were accepted and refused in them.
tried = {"cases": 0, "accepted": 0, "refused": 0}


def fuzz(**strategies: Any) -> Callable:
    """Makes a property of a function: tried on 10 cases in `make test`, on 200 in `make fuzz`."""
    return fuzz_times(10, **strategies)


def fuzz_times(count: int, **strategies: Any) -> Callable:
    """As `fuzz`, on another number of cases in `make test`; twenty times as many in `make fuzz`."""

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            tried["cases"] += 1
            test(*args, **kwargs)

        settings = hypothesis.settings(
            max_examples=count * FACTOR if IS_NIGHTLY else count,
            derandomize=not IS_NIGHTLY,
            database=None,
            print_blob=True,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
        )
        return settings(hypothesis.given(**strategies)(counted))

    return decorate


def accepts_or_refuses(call: Callable[[], Any], names: tuple[str, ...] = ()) -> Any:
    """Calls what reads something that may be bad; whatever else it raises is a bug.

    Args:
      call: What reads, or checks.
      names: Texts of which a refusal has one at least; none for any.

    Returns:
      What was read; None if it was refused.
    """
    try:
        found = call()
    except errors.UserError as error:
        tried["refused"] += 1
        message = str(error)
        assert message.strip(), "a refusal says something"
        assert len(message.splitlines()) == 1, message
        assert not names or any(name in message for name in names), (names, message)
        return None
    tried["accepted"] += 1
    return found


def list_files(folder: pathlib.Path) -> list[str]:
    """The files of a folder, by their paths in it."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@contextlib.contextmanager
def leaves_alone(folder: pathlib.Path) -> Iterator[None]:
    """Checks that a block neither adds nor removes a file of a folder."""
    before = list_files(folder)
    yield
    assert list_files(folder) == before


_CUTS = st.tuples(
    st.sampled_from(["flip", "delete", "insert", "repeat", "cut"]),
    st.floats(0.0, 1.0),
    st.binary(min_size=1, max_size=6) | st.sampled_from([b"\0", b"\xff\xfe", b"\xef\xbb\xbf"]),
)
# Changes of bytes, as `damage` takes them.
DAMAGES = st.lists(_CUTS, min_size=1, max_size=4)


def damage(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """Changes bytes here and there."""
    for kind, where, value in changes:
        place = int(where * max(0, len(content) - 1))
        if kind == "flip":
            size = min(len(value), len(content) - place)
            mixed = bytes(a ^ (b or 1) for a, b in zip(content[place:], value[:size], strict=False))
            content = content[:place] + mixed + content[place + size :]
        elif kind == "delete":
            content = content[:place] + content[place + len(value) :]
        elif kind == "insert":
            content = content[:place] + value + content[place:]
        elif kind == "repeat":
            content = content[:place] + content[max(0, place - 40) : place] + content[place:]
        else:
            content = content[:place]
    return content


# What may stand anywhere in JSON.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["", "..", "/", "nan", -1, 0, 1, 2**63, 10**400, [], {}, "1", "é\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
_EDITS = st.tuples(st.sampled_from(["replace", "remove", "add"]), st.integers(0, 10**6), VALUES)
# Changes of JSON, as `edit` takes them.
EDITS = st.lists(_EDITS, min_size=1, max_size=3)


def edit(document: Any, changes: list[tuple[str, int, Any]]) -> Any:
    """Replaces, removes or adds a value of a document, which is left as it is."""
    document = json.loads(json.dumps(document))
    for kind, number, value in changes:
        places = list(_find_places(document))
        if not places:
            return value
        holder, key = places[number % len(places)]
        if kind == "replace":
            holder[key] = value
        elif kind == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[f"another_{number}"] = value
        else:
            holder.append(value)
    return document


def _find_places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Each value of a document, by what holds it and its key."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(pairs) if isinstance(document, dict | list) else ():
        yield document, key
        if isinstance(value, dict | list):
            yield from _find_places(value)
