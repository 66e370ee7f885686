"""What exact metrics of held-out interactions are called: in a private run, `non_private/...`.

They are exact statistics of people, which no noise covers, so their name says so wherever they
stand. Runs without differential privacy have plain names. Folders of earlier versions have plain
names throughout, so readers take either.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

NON_PRIVATE = "non_private/"
VALIDATION = "validation/"
TEST = "test/"
PERSONALIZED = "personalized/"
PRIVATE = "private/"
# The key of references in results, not a folder.
REFERENCES = "references"
_RECALL = re.compile(r"(?:^|/)recall@(\d+)$")

# What is printed where one is shown.
FOOTNOTE = "* exact, of held-out interactions: not covered by epsilon"


def mark(name: str, is_private: bool) -> str:
    """The name of an exact statistic in a run that is private, or is not."""
    return f"{NON_PRIVATE}{name}" if is_private else name


def mark_all(metrics: Mapping[str, Any], is_private: bool) -> dict[str, Any]:
    """The same for all metrics of a mapping."""
    return {mark(name, is_private): value for name, value in metrics.items()}


def find(values: Mapping[str, Any], name: str) -> Any:
    """The value of a metric, whether its name is marked or not; None if there is none."""
    return values.get(name, values.get(f"{NON_PRIVATE}{name}"))


def select(values: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The metrics of a folder, marked or not, without its name.

    Args:
      values: Values of metrics, by name.
      folder: Name of the folder with its slash, such as `test/`.

    Returns:
      Values of the folder's metrics, by the rest of their names.
    """
    found = {}
    for name, value in values.items():
        plain = name.removeprefix(NON_PRIVATE)
        if plain.startswith(folder):
            found[plain.removeprefix(folder)] = value
    return found


def find_list_lengths(names: Iterable[str]) -> tuple[int, ...]:
    """The k of the metrics at k on the full catalogue, each once, in the order of the names."""
    found = (_RECALL.search(name) for name in names)
    return tuple(dict.fromkeys(int(match[1]) for match in found if match))


def are_marked(values: Mapping[str, Any], folder: str) -> bool:
    """Whether the metrics of a folder are marked."""
    return any(name.startswith(f"{NON_PRIVATE}{folder}") for name in values)
