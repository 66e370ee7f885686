"""How good recommendations are: learning curves, and quality against epsilon."""

# Tested in tests/studies/report/test_report_page.py.

import math
from collections.abc import Iterator, Sequence

from fedrec_tff.privacy import ledger
from fedrec_tff.run.folder import run_directory
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.report import charts, formats, style
from fedrec_tff.studies.report.curves import Curve
from fedrec_tff.studies.report.markup import Markup, element, join
from fedrec_tff.studies.report.parts import Kind, Part

_LEVEL_STYLE = style.NUM_SERIES - 1
_BAND = "Lines are means over the seeds, bands go from the smallest to the largest seed. "


def write(part: Part, identifier: str) -> Markup:
    """Writes the charts of a part.

    Args:
      part: The part.
      identifier: Beginning of the charts' identifiers, unique in the page.

    Returns:
      Figures, or a sentence where there is nothing to draw.
    """
    found = [(kind, curve) for kind in part.kinds if (curve := kind.read_curve(part.metric))]
    figures = [
        charts.figure(chart, f"{identifier}-{name}")
        for name, chart in _iterate_charts(part, found)
        if chart is not None
    ]
    if not figures:
        return element("p", "No run shows any validation.")
    return join(figures)


def _iterate_charts(
    part: Part, found: Sequence[tuple[Kind, Curve]]
) -> Iterator[tuple[str, charts.Chart | None]]:
    if found:
        yield "rounds", _draw_rounds(part, found)
    relations: dict[str, list[tuple[Kind, Curve]]] = {}
    for kind, curve in found:
        if curve.epsilon is not None:
            relations.setdefault(find_relation(kind), []).append((kind, curve))
    # Epsilons about different neighbours are not compared.
    for number, (relation, of_relation) in enumerate(relations.items(), start=1):
        yield f"spent-{number}", _draw_spent(part, of_relation, relation)
    for number, relation in enumerate(relations, start=1):
        yield f"epsilon-{number}", _draw_epsilon(part, relation)


def _draw_rounds(part: Part, found: Sequence[tuple[Kind, Curve]]) -> charts.Chart:
    series = [_create_series(kind, curve, curve.rounds) for kind, curve in found]
    return charts.Chart(
        f"Validation {part.metric} by round",
        charts.describe(series, "round"),
        "rounds of training",
        f"validation {part.metric}",
        series,
        _create_levels(part),
        join([f"Validation {part.metric} by round. ", *_remark(found)]),
    )


def _draw_spent(part: Part, found: Sequence[tuple[Kind, Curve]], relation: str) -> charts.Chart:
    series = [_create_series(kind, curve, curve.epsilon) for kind, curve in found]
    nobodys = _say_hollow([kind for kind, _ in found])
    return charts.Chart(
        f"Validation {part.metric} by epsilon spent",
        charts.describe(series, "epsilon"),
        f"epsilon spent, {_say_deltas([kind for kind, _ in found])}",
        f"validation {part.metric}",
        series,
        _create_levels(part),
        join(
            [
                f"Validation {part.metric} by the epsilon spent until then{relation}. ",
                *_remark(found),
                nobodys,
            ]
        ),
    )


def _draw_epsilon(part: Part, relation: str) -> charts.Chart | None:
    """What each kind has in the end; only where there are several."""
    series, drawn, marked = [], [], False
    for kind in part.kinds:
        # The claim of the whole run; all that was released is in it.
        epsilons = [guarantee.epsilon for guarantee in kind.guarantees]
        if not epsilons or None in epsilons or math.inf in epsilons:
            continue
        values = part.find_row(kind).values(part.metric) if part.test_metrics else None
        if find_relation(kind) != relation or kind.style is None or not values:
            continue
        mean = sum(values) / len(values)
        is_marked = part.find_row(kind).first.is_marked
        marked |= is_marked
        drawn.append(kind)
        series.append(
            charts.Series(
                _name(kind) + formats.STAR * is_marked,
                kind.style,
                [max(epsilons)],
                [mean],
                [min(values)],
                [max(values)],
                is_joined=False,
                is_hollow=not kind.has_guarantee,
            )
        )
    if len(series) < 2:
        return None
    plain = [kind for kind in part.kinds if kind.is_complete and not kind.is_private]
    best = part.find_best(plain)
    levels = _create_levels(part, is_test=True)
    if best is not None and (values := part.find_row(best).values(part.metric)):
        own = charts.Level(f"{best.name}, no privacy", best.style or 0, _mean(values), dash=2)
        levels = [*levels, own]
    return charts.Chart(
        f"Test {part.metric} against epsilon",
        charts.describe(series, "epsilon"),
        f"epsilon, {_say_deltas(drawn)}",
        f"test {part.metric}",
        series,
        levels,
        f"Test {part.metric} of the released models against epsilon{relation}. Points are means "
        f"over the seeds, bars go from the smallest to the largest seed. {_say_hollow(drawn)}"
        f"{_say_left_out(part.kinds)}{_star(marked)}",
    )


def _create_series(kind: Kind, curve: Curve, places: Sequence[float]) -> charts.Series:
    return charts.Series(
        _name(kind) + (" (noised)" if curve.is_noised else formats.STAR * curve.is_marked),
        kind.style,
        places,
        curve.mean,
        curve.low,
        curve.high,
        is_hollow=bool(kind.guarantees) and kind.is_private and not kind.has_guarantee,
    )


def _name(kind: Kind) -> str:
    voided_by = next((guarantee.voided_by for guarantee in kind.guarantees), "")
    return f"{kind.name} ({voided_by})" if voided_by else kind.name


def _create_levels(part: Part, is_test: bool = False) -> list[charts.Level]:
    """Popularity, and the best other reference."""
    known = []
    for row in part.rows:
        found = [r.metrics if is_test else r.validation for r in row.rankings.values()]
        values = [metrics.get(part.metric) for metrics in found]
        if row.first.is_of_data and values and None not in values:
            name = f"{part.title_of(row)}{formats.STAR * row.first.is_marked}"
            known.append((name, _mean(values)))
    popularity = [pair for pair in known if pair[0].startswith("popularity")][:1]
    others = sorted((pair for pair in known if pair not in popularity), key=lambda pair: -pair[1])
    return [
        charts.Level(name, _LEVEL_STYLE, value, dash)
        for dash, (name, value) in enumerate([*popularity, *others[:1]])
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _remark(found: Sequence[tuple[Kind, Curve]]) -> Iterator[str]:
    shown = [curve for _, curve in found]
    if any(kind.style is None for kind, _ in found):
        yield "Grey and without a name: all kinds of runs but the first few, which tables name. "
    if any(curve.num_seeds > 1 for curve in shown):
        yield _BAND
    if any(curve.is_noised for curve in shown):
        yield "What is called noised was released with noise, as a part of epsilon. "
    if any(curve.num_seeds == 1 and curve.low is not None for curve in shown):
        yield "Around a single seed the band is the 95 % interval that was released with it. "
    yield _star(any(curve.is_marked for curve in shown))


def _star(is_marked: bool) -> str:
    return f"{metric_names.FOOTNOTE}. " if is_marked else ""


def _say_hollow(kinds: Sequence[Kind]) -> str:
    if all(kind.has_guarantee for kind in kinds if kind.is_complete):
        return ""
    return (
        "Hollow markers: an insecure or simulated epsilon is a number of the mechanism, and no "
        "guarantee of these users. "
    )


def _say_left_out(kinds: Sequence[Kind]) -> str:
    is_any_left_out = any(kind.style is None and kind.is_private for kind in kinds)
    return "Kinds of runs but the first few are in the table alone. " if is_any_left_out else ""


def _say_deltas(kinds: Sequence[Kind]) -> str:
    flags = [kind.group.first.flags for kind in kinds]
    deltas = sorted({float(found["target_delta"]) for found in flags})
    return f"delta {' and '.join(f'{delta:g}' for delta in deltas)}"


def find_relation(kind: Kind) -> str:
    """Names the neighbours that the epsilons of a kind are about, as its ledger has them.

    Args:
      kind: Kind of private runs.

    Returns:
      A clause for a sentence, such as ` (add-or-remove-one)`; empty where no ledger tells.
    """
    path = run_directory.RunDirectory(kind.group.first.path).ledger
    if not path.exists():
        return ""
    relation = ledger.read_ledger(path).header.mechanism.neighbouring_relation
    return f" ({relation.name.lower().replace('_', '-')})"
