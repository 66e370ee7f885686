"""A robustness study in a report: what attackers leave of a model, as heat tables."""

# Tested in tests/studies/report/test_report_studies.py.

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fedrec_tff.privacy import departures
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.report import formats, markup, style
from fedrec_tff.studies.report.inputs import Study
from fedrec_tff.studies.report.markup import Markup, element, join, name

# Targets that are named.
_MOST_TARGETS = 5

_Cell = Mapping[str, Any]


def write(study: Study) -> Markup:
    """Writes the cells of a study, aggregators in rows and attacks in columns.

    Args:
      study: The study.

    Returns:
      A table of what is left of recall@10, one of the target's exposure, and notes.
    """
    cells = study.contents["cells"]
    has_mean = any(_find(cell, "recall_kept_of_mean") is not None for cell in cells)
    kept, whose = (
        ("recall_kept_of_mean", "the clean plain mean's")
        if has_mean
        else ("recall_kept", "the aggregator's own clean run's")
    )
    tables = [
        _write_table(
            cells,
            lambda cell: _write_recall(cell, kept),
            # What is lost is hot.
            lambda cell: 1.0 - min(1.0, _find(cell, kept) or 0.0),
            f"Test recall@10, and the share that is left of {whose}; the darker, the less is left",
        ),
        _write_table(
            cells,
            lambda cell: _write_share(_find(cell, "exposure")) + _star(cell),
            lambda cell: _find(cell, "exposure") or 0.0,
            _title_exposure(study.contents),
        ),
    ]
    return join([*tables, *(element("p", note, class_="faint") for note in _list_notes(cells))])


def _title_exposure(contents: Mapping[str, Any]) -> Markup:
    # Studies of earlier versions have one target.
    targets = contents.get("target_items") or [contents["target_item"]]
    shown = [name(target) for target in targets[:_MOST_TARGETS]]
    listed = join(part for target in shown for part in (", ", target))
    mean = " (mean of targets)" if len(targets) > 1 else ""
    more = " and others" if len(targets) > len(shown) else ""
    return join(
        [
            f"ER@10{mean}: users who are shown the target item among their ten best; the darker, "
            "the more. Target: ",
            Markup(listed.removeprefix(", ")),
            more,
        ]
    )


def _list_notes(cells: Iterable[_Cell]) -> list[str]:
    notes = []
    private = [cell for cell in cells if cell["is_private"]]
    if private:
        notes.append(f"{metric_names.FOOTNOTE}.")
        epsilons = {}
        for cell in private:
            voided_by, epsilon = departures.find_epsilon(cell)
            if epsilon is not None:
                called = departures.EPSILON_NAMES[voided_by].replace("_", " ")
                largest = max(float(epsilon), epsilons.get((cell["aggregator"], called), 0.0))
                epsilons[cell["aggregator"], called] = largest
        notes += [
            f"{aggregator}: {called} {formats.write_epsilon(epsilon)} for each of its runs."
            for (aggregator, called), epsilon in epsilons.items()
        ]
    return notes


def _write_table(
    cells: Iterable[_Cell],
    text_fn: Callable[[_Cell], str],
    heat_fn: Callable[[_Cell], float],
    caption: str | Markup,
) -> Markup:
    by_place = {(cell["aggregator"], cell["attack"]): cell for cell in cells}
    aggregators = dict.fromkeys(aggregator for aggregator, _ in by_place)
    attacks = dict.fromkeys(attack for _, attack in by_place)
    rows = [
        [
            name(aggregator),
            *(
                _write_cell(by_place.get((aggregator, attack)), text_fn, heat_fn)
                for attack in attacks
            ),
        ]
        for aggregator in aggregators
    ]
    return markup.table(["aggregator", *attacks], rows, caption)


def _write_cell(
    cell: _Cell | None, text_fn: Callable[[_Cell], str], heat_fn: Callable[[_Cell], float]
) -> Markup:
    if cell is None:
        return element("td", "-", class_="number")
    heat = round(style.MOST_HEAT * min(1.0, max(0.0, heat_fn(cell))))
    return element("td", text_fn(cell), class_=f"heat h{heat}")


def _find(cell: _Cell, metric: str) -> float | None:
    return metric_names.find(cell, metric)


def _star(cell: _Cell) -> str:
    return formats.STAR if cell["is_private"] else ""


def _write_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _write_recall(cell: _Cell, kept: str) -> str:
    if cell.get("has_diverged"):
        return "diverged"
    return f"{_find(cell, 'recall'):.4f}{_star(cell)} ({_write_share(_find(cell, kept))})"
