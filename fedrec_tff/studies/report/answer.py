"""The title of a report, and its answer: which run is best by validation, and how private it is."""

# Tested in tests/studies/report/test_report_page.py.

from collections.abc import Iterator, Sequence

from fedrec_tff.privacy import departures
from fedrec_tff.studies.report import formats
from fedrec_tff.studies.report.markup import Markup, element, join, name
from fedrec_tff.studies.report.parts import Kind, Part, Validation

_MOST_NAMES = 3


def write_title(names: Sequence[str]) -> str:
    """Writes a title that names a few of the runs.

    Args:
      names: Names of all that is shown, at least one.

    Returns:
      The title.
    """
    shown, rest = list(names[:_MOST_NAMES]), len(names) - _MOST_NAMES
    if rest > 0:
        shown.append(f"{rest} more")
    return f"Report on {formats.list_names(shown)}"


def write(parts: Sequence[Part]) -> Markup:
    """Writes the answer for each of the data sets.

    Args:
      parts: Parts of the report.

    Returns:
      Paragraphs.
    """
    said = [element("p", *_answer(part, len(parts) > 1), class_="answer") for part in parts]
    if len(parts) > 1:
        said.insert(
            0,
            element(
                "p",
                "These runs are of different data, so that no number of one part of this report "
                "can be compared with one of another: they stand side by side, and are ranked "
                "within each part alone.",
                class_="warn",
            ),
        )
    return join(said)


def _answer(part: Part, names_data: bool) -> Iterator[Markup | str]:
    if names_data:
        yield f"On {part.title}: "
    best = part.best
    if best is None:
        yield _say_without_validation(part)
        return
    validation = best.find_validation(part.metric)
    ranked = part.rank(part.kinds)
    if len(ranked) > 1:
        yield f"Of {len(ranked)} kinds of runs "
        yield element("strong", name(best.name))
        yield f" is best by validation: {_say_value(part.metric, validation, best)}. "
    else:
        yield element("strong", name(best.name))
        yield f" has {_say_value(part.metric, validation, best)}. "
    yield _say_privacy(best)
    private = part.find_best([kind for kind in ranked if kind.has_guarantee])
    if private is not None and private is not best:
        found = private.find_validation(part.metric)
        yield " The best with a guarantee is "
        yield element("strong", name(private.name))
        yield f": {_say_value(part.metric, found, private)}. "
        yield _say_privacy(private)
    if len(ranked) > 1 and any(_is_marked(kind, part) for kind in ranked):
        yield (
            " Which is best was told by exact statistics of held-out interactions (marked *), so "
            "the choice is not covered by any epsilon."
        )
    for kind in part.kinds:
        found = kind.find_validation(part.metric)
        if found is not None and kind not in ranked:
            yield " "
            yield element("strong", name(kind.name))
            yield (
                f" has {_say_value(part.metric, found, kind)}, and is not ranked: the noise may be "
                "larger than what lies between two runs."
            )
    yield from _warn(part, best)


def _say_without_validation(part: Part) -> str:
    if any(kind.is_complete for kind in part.kinds):
        return (
            "The runs withhold their validation, and released none with noise, so none is said to "
            "be the best."
        )
    if part.kinds:
        return "No run is finished yet, so none is said to be the best."
    return "There are references, and no run to hold against them."


def _is_marked(kind: Kind, part: Part) -> bool:
    validation = kind.find_validation(part.metric)
    return validation is not None and validation.is_marked


def _say_value(metric: str, validation: Validation, kind: Kind) -> str:
    num = len(kind.group.folders)
    seeds = f", mean of {num} seeds" if num > 1 else ", one seed"
    noised = ", released with noise" if validation.is_noised else ""
    if validation.interval is not None:
        low, high = validation.interval
        noised += f" (95 % interval {low:.4f} to {high:.4f})"
    star = formats.STAR if validation.is_marked else ""
    return f"{metric} {validation.mean:.4f}{star}{seeds}{noised}"


def _say_privacy(kind: Kind) -> Markup | str:
    guarantees = kind.guarantees
    if guarantees[0].epsilon is None:
        return "It has no differential privacy: it promises its users nothing."
    largest = formats.write_epsilon(max(guarantee.epsilon for guarantee in guarantees))
    if kind.has_guarantee:
        delta = max(results["delta"] for results in kind.results)
        claim = element("span", f"({largest}, {delta:g})-differentially", class_="word")
        return join(
            [
                "It is ",
                claim,
                " private for each user; the statement below says what that assumes.",
            ]
        )
    voided_by = guarantees[0].voided_by
    if voided_by:
        called = departures.EPSILON_NAMES[voided_by].replace("_", " ")
        return f"It has no guarantee: {largest} is its {called}, which is nobody's."
    return "It has no guarantee: its epsilon is infinite."


def _warn(part: Part, best: Kind) -> Iterator[Markup]:
    """What simpler recommenders are better than the best run, by the same validation."""
    validation = best.find_validation(part.metric)
    better = [
        f"{part.title_of(row)} has {formats.write_values(values, row.first.is_marked)}"
        for row in part.rows
        if row.first.is_of_data
        and (values := [r.validation.get(part.metric) for r in row.rankings.values()])
        and None not in values
        and sum(values) / len(values) > validation.mean
    ]
    if better:
        yield element(
            "span",
            f" What is simpler is better: by validation {formats.list_names(better)}.",
            class_="warn",
        )
