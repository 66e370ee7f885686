"""The comparison: runs and references in one table, and what of it is more than chance."""

# Tested in tests/studies/report/test_report_page.py.

from collections.abc import Iterator

from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.comparison.rows import Row
from fedrec_tff.studies.report import formats, markup, significance
from fedrec_tff.studies.report.markup import Markup, element, join
from fedrec_tff.studies.report.parts import Part
from fedrec_tff.studies.report.significance import Difference

_SIGNIFICANT = 0.05


def write(part: Part) -> Markup:
    """Writes the tables of a part.

    Args:
      part: The part.

    Returns:
      Tables with their notes, or a sentence where nothing can be compared.
    """
    if not part.rows:
        return element("p", "No run is finished, so there are no test metrics.")
    if not part.test_metrics:
        return element(
            "p",
            "There are no exact test metrics in lists of one length: runs withhold them "
            "(--withhold_held_out_metrics), or their lists have no length in common.",
        )
    notes = [f"{metric_names.FOOTNOTE}."] if _has_marked(part) else []
    notes.append(
        "The whole catalogue is ranked, except for sampled_99/, which ranks one held-out item "
        "among 99 others: these numbers are larger, and are not compared with the rest."
    )
    if any(len(row.rankings) > 1 for row in part.rows):
        notes.append("± is the standard deviation over the seeds (of the sample).")
    parts = [_write_values(part), *(element("p", note, class_="faint") for note in notes)]
    parts += _write_differences(part)
    return join(parts)


def _has_marked(part: Part) -> bool:
    return any(row.first.is_marked for row in part.rows)


def _write_values(part: Part) -> Markup:
    best = {metric: _find_best(part, metric) for metric in part.test_metrics}
    rows = [
        [
            part.title_of(row),
            row.seeds_told,
            _write_guarantee(row),
            _write_validation(part, row),
            *(_write_value(row, metric, best[metric]) for metric in part.test_metrics),
        ]
        for row in part.rows
    ]
    names = map(markup.breakable, part.test_metrics)
    header = ["", "seeds", "epsilon", f"validation {part.metric}", *names]
    return _table(header, rows, f"Test metrics on {part.title}; the best of each is bold")


def _table(header: list[str], rows: list[list[str | Markup]], caption: str) -> Markup:
    return markup.table(header, rows, caption, num_leading=2)


def _write_guarantee(row: Row) -> str:
    guarantees = [ranking.guarantee for ranking in row.rankings.values()]
    return "" if None in guarantees else formats.write_guarantees(guarantees)


def _write_value(row: Row, metric: str, best: float | None) -> str | Markup:
    values = row.values(metric)
    text = formats.write_values(values, row.first.is_marked)
    is_best = values is not None and sum(values) / len(values) == best
    return element("td", text, class_="number best") if is_best else text


def _find_best(part: Part, metric: str) -> float | None:
    means = [sum(v) / len(v) for row in part.rows if (v := row.values(metric))]
    return max(means, default=None)


def _write_validation(part: Part, row: Row) -> str:
    values = [ranking.validation.get(part.metric) for ranking in row.rankings.values()]
    if None not in values:
        return formats.write_values(values, row.first.is_marked)
    kind = part.find_kind(row)
    found = None if kind is None else kind.find_validation(part.metric)
    return f"{found.mean:.4f} (noised)" if found is not None else formats.write_values(None)


def _write_differences(part: Part) -> Iterator[Markup]:
    """Every row against the best by validation, where seeds tell what is chance."""
    if part.best is None:
        return
    reference = part.find_row(part.best)
    others = [row for row in part.rows if row is not reference]
    found = {part.title_of(row): _compare(row, reference, part.metric) for row in others}
    known = {title: difference for title, difference in found.items() if difference is not None}
    if not known:
        if others:
            yield element(
                "p",
                "No test of differences: that takes two seeds or more of the best run and of what "
                "it is compared with.",
                class_="faint",
            )
        return
    adjusted = significance.adjust([difference.p_value for difference in known.values()])
    p_values = dict(zip(known, adjusted, strict=True))
    is_marked = {
        part.title_of(row): row.first.is_marked or reference.first.is_marked for row in others
    }
    rows = [
        _describe(title, difference, p_values.get(title), is_marked[title])
        for title, difference in found.items()
    ]
    header = ["", "test", "difference", "95 % interval", "p (Holm)", ""]
    yield _table(header, rows, f"Test {part.metric} less that of {part.best.name}")
    yield element(
        "p",
        "Tests are over seeds: they tell whether another seed would show the same, not whether "
        "other users would. Runs of one seed share their data and are paired; where no two seeds "
        "are common to both, Welch's test. p-values are corrected for the number of rows (Holm), "
        "intervals are not. Which run is compared with was chosen by validation.",
        class_="faint",
    )


def _compare(row: Row, reference: Row, metric: str) -> Difference | None:
    values = [
        {seed: r.metrics[metric] for seed, r in one.rankings.items() if metric in r.metrics}
        for one in (row, reference)
    ]
    return significance.compare(*values)


def _describe(
    title: str, difference: Difference | None, p_value: float | None, is_marked: bool
) -> list[str | Markup]:
    if difference is None:
        return [title, "too few seeds in common", "", "", "", ""]
    star = formats.STAR if is_marked else ""
    pairs = "" if difference.num_pairs is None else f", {difference.num_pairs} seeds"
    return [
        title,
        f"{difference.test}{pairs}",
        f"{difference.mean:+.4f}{star}",
        f"{difference.low:+.4f} to {difference.high:+.4f}",
        "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
        element("td", "significant" if p_value < _SIGNIFICANT else "not significant"),
    ]
