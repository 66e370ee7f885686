"""An evaluation in a report: what users got, with intervals; paired by user; by groups of users."""

# Tested in tests/studies/report/test_report_studies.py.

from collections.abc import Iterator, Mapping
from typing import Any

from fedrec_tff.evaluation import user_values
from fedrec_tff.privacy import departures
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.report import formats, markup, style
from fedrec_tff.studies.report.inputs import Study
from fedrec_tff.studies.report.markup import Markup, element, join, name

_Values = Mapping[str, Any]


def write(evaluation: Study) -> Markup:
    """Writes what `experiments.evaluate` has found.

    Args:
      evaluation: The evaluation.

    Returns:
      Tables: metrics of all runs, how each differs from the first, and groups of users; with notes.
    """
    runs, part = evaluation.contents["runs"], evaluation.contents["flags"]["part"]
    found = {run: _read_metrics(described, part) for run, described in runs.items()}
    metrics = _choose_metrics(found)
    level = f"{evaluation.contents['flags']['confidence']:.0%}".replace("%", " %")
    parts = [
        *(_describe_run(run, described) for run, described in runs.items()),
        _write_metrics(runs, found, metrics, part, level),
        *_write_differences(runs, part, metrics, level),
        *_write_groups(runs, part, metrics, level),
    ]
    if any(_is_private(described) for described in runs.values()):
        parts.append(element("p", f"{metric_names.FOOTNOTE}.", class_="faint"))
    return join(parts)


def _is_private(described: _Values) -> bool:
    return metric_names.are_marked(described, "data")


def _star(described: _Values) -> str:
    return formats.STAR if _is_private(described) else ""


def _read_metrics(described: _Values, part: str) -> dict[str, _Values]:
    return metric_names.select(described["metrics"], f"{part}/")


def _choose_metrics(found: Mapping[str, Mapping[str, _Values]]) -> list[str]:
    """What all runs have, at the first of the lists' lengths alone."""
    first = next(iter(found.values()))
    lengths = metric_names.find_list_lengths(first)
    ends = f"@{lengths[0]}" if lengths else ""
    return [
        metric
        for metric in first
        if ("@" not in metric or metric.endswith(ends))
        and all(metric in metrics for metrics in found.values())
    ]


def _describe_run(run: str, described: _Values) -> Markup:
    data = metric_names.find(described, "data")
    voided_by, epsilon = departures.find_epsilon(described)
    privacy = "no differential privacy"
    if epsilon is not None:
        called = departures.EPSILON_NAMES[voided_by].replace("_", " ")
        privacy = (
            f"{called} {formats.write_epsilon(float(epsilon))} at delta {described['delta']:g}"
        )
    notes = metric_names.find(described, "notes") or ()
    text = (
        f": {data['num_users']:,} users{_star(described)}, {data['num_items']:,} items; {privacy}."
    )
    return element("p", element("strong", name(run)), text, *(f" Note: {note}." for note in notes))


def _write_metrics(
    runs: Mapping[str, _Values],
    found: Mapping[str, Mapping[str, _Values]],
    metrics: list[str],
    part: str,
    level: str,
) -> Markup:
    rows = [
        [
            markup.breakable(metric),
            *(_write_estimate(found[run][metric], _star(runs[run])) for run in runs),
        ]
        for metric in metrics
    ]
    shown = _choose_shown(metrics)
    ginis = {run: _find_gini(described, shown, part) for run, described in runs.items()}
    if None not in ginis.values():
        numbers = [f"{gini:.4f}{_star(runs[run])}" for run, gini in ginis.items()]
        rows.append([f"Gini of users' {shown}", *numbers])
    caption = f"Means over the users of the {part} part, with bootstrap intervals of {level}"
    return markup.table(["", *map(name, runs)], rows, caption)


def _choose_shown(metrics: list[str]) -> str | None:
    """The metric by which recommenders are compared first; None where it is not there."""
    return next((metric for metric in metrics if metric.startswith("recall@")), None)


def _find_gini(described: _Values, metric: str | None, part: str) -> float | None:
    return metric_names.select(described["user_gini"], f"{part}/").get(metric)


def _write_estimate(found: _Values, star: str) -> str:
    if found.get("value") is None:
        return "-"
    text = f"{found['value']:.4f}{star}"
    if found.get("low") is None:
        return text
    return f"{text} ({found['low']:.4f} to {found['high']:.4f})"


def _write_differences(
    runs: Mapping[str, _Values], part: str, metrics: list[str], level: str
) -> Iterator[Markup]:
    """Every run against the first, on the users of both."""
    first = next(iter(runs))
    has_any = False
    for run, described in runs.items():
        compared = metric_names.find(described, "compared_with_first")
        if not compared:
            continue
        has_any = True
        found = metric_names.select(compared["metrics"], f"{part}/")
        star = formats.STAR if metric_names.are_marked(described, "compared_with_first") else ""
        rows = [
            [
                markup.breakable(metric),
                _write_change(found[metric]["difference"], star),
                # Of what is neither good nor bad in itself nothing can be lost.
                _write_share(found[metric]["loss"]["value"], star)
                if user_values.direction(metric) > 0
                else "",
                _write_p_value(found[metric]["p_value"]),
            ]
            for metric in metrics
            if metric in found
        ]
        caption = join(
            [name(run), " less ", name(first), f", on {compared['num_users']:,} users of both"]
        )
        header = ["", f"difference ({level})", "share lost", "p"]
        yield markup.table(header, rows, caption)
    if has_any:
        yield element(
            "p",
            "Tests are over users: randomisation tests that are paired by user, two-sided, and not "
            "corrected for the number of metrics. They tell whether other users would show the "
            "same, not whether another seed would.",
            class_="faint",
        )


def _write_change(found: _Values, star: str) -> str:
    if found["value"] is None:
        return "-"
    interval = f" ({found['low']:+.4f} to {found['high']:+.4f})" if found["low"] is not None else ""
    return f"{found['value']:+.4f}{star}{interval}"


def _write_share(share: float | None, star: str) -> str:
    return "-" if share is None else f"{share:.1%}{star}"


def _write_p_value(p_value: float | None) -> str:
    if p_value is None:
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _write_groups(
    runs: Mapping[str, _Values], part: str, metrics: list[str], level: str
) -> Iterator[Markup]:
    """Every partition of the users, in the metric by which recommenders are compared first."""
    shown = _choose_shown(metrics)
    if shown is None:
        return
    partitions = {run: metric_names.find(found, "groups") or {} for run, found in runs.items()}
    for title in next(iter(partitions.values())):
        of_title = {run: found[title] for run, found in partitions.items() if title in found}
        labels = dict.fromkeys(label for found in of_title.values() for label in found["groups"])
        header = ["", "users", *map(name, of_title), *_title_losses(of_title)]
        rows = [
            [
                name(label),
                *_write_group(
                    runs, {r: f["groups"].get(label) for r, f in of_title.items()}, shown, part
                ),
            ]
            for label in labels
        ]
        caption = join(
            [f"{part} {shown} by ", name(title), f", with bootstrap intervals of {level}"]
        )
        yield markup.table(header, rows, caption)
        yield from _say_gaps(runs, of_title, shown, part)


def _title_losses(of_title: Mapping[str, Any]) -> list[Markup]:
    first, *others = of_title
    del first
    return [join(["lost by ", name(run)]) for run in others]


def _write_group(
    runs: Mapping[str, _Values], groups: Mapping[str, _Values | None], metric: str, part: str
) -> Iterator[Markup | str]:
    """A group's users, what each run gives them, and what the others lose of the first."""
    known = [(run, group) for run, group in groups.items() if group is not None]
    star = formats.STAR if any(_is_private(runs[run]) for run, _ in known) else ""
    yield f"{known[0][1]['num_users']:,}{star}"
    for run, group in groups.items():
        found = None if group is None else metric_names.select(group["metrics"], f"{part}/")
        yield _write_estimate(found[metric], _star(runs[run])) if found else "-"
    for _, group in list(groups.items())[1:]:
        yield _write_loss(group, metric, part)


def _write_loss(group: _Values | None, metric: str, part: str) -> Markup | str:
    losses = {} if group is None else group["losses"]
    found = metric_names.select(losses, f"{part}/").get(metric)
    if found is None or found["value"] is None:
        return "-"
    star = formats.STAR if metric_names.are_marked(losses, f"{part}/") else ""
    heat = round(style.MOST_HEAT * min(1.0, max(0.0, found["value"])))
    return element("td", _write_share(found["value"], star), class_=f"heat h{heat}")


def _say_gaps(
    runs: Mapping[str, _Values], of_title: Mapping[str, Any], metric: str, part: str
) -> Iterator[Markup]:
    for run, found in of_title.items():
        gap = metric_names.select(found["gaps"], f"{part}/").get(metric)
        if gap is None or gap["worst"] is None or gap["ratio"] is None:
            continue
        yield element(
            "p",
            name(run),
            ": the worst group, ",
            name(gap["worst"]),
            f", gets {gap['ratio']:.0%}{_star(runs[run])} of what the best, ",
            name(gap["best"]),
            ", gets.",
            class_="faint",
        )
