"""A sweep in a report: its trials, best first, how they learned, and what the choice costs."""

# Tested in tests/studies/report/test_report_studies.py.

from collections.abc import Iterator, Mapping
from typing import Any

from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.report import charts, curves, formats, markup
from fedrec_tff.studies.report.inputs import Study
from fedrec_tff.studies.report.markup import Markup, element, join
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import runs as sweep_runs

_MOST_ROWS = 25


def write(sweep: Study, identifier: str) -> Markup:
    """Writes what is told of a sweep.

    Args:
      sweep: The sweep.
      identifier: Identifier of its figure, unique in the page.

    Returns:
      Its cost in privacy; trials and curves, too, unless its guarantee counts on nobody's seeing
      them.
    """
    return join(_iterate(sweep, identifier))


def _iterate(sweep: Study, identifier: str) -> Iterator[Markup]:
    contents = sweep.contents
    best = contents["best"]
    if _hides_trials(contents):
        yield element(
            "p",
            "This sweep sells its best trial alone: its guarantee holds only if no other trial, no "
            "exact metric and not even their number is ever seen, so none is shown here.",
        )
    else:
        yield _say_choice(contents)
        yield _write_trials(contents)
        yield from _draw_curves(sweep, identifier)
    if best is not None:
        yield element("p", "Flags of the best trial:")
        yield markup.command(" ".join(best["flags"]))
    yield element("p", contents["privacy"]["statement"], class_="statement")


def _hides_trials(contents: Mapping[str, Any]) -> bool:
    return contents["trials_distribution"] != sweep_config.FIXED


def _say_choice(contents: Mapping[str, Any]) -> Markup:
    best, star = contents["best"], _star(contents)
    if best is None:
        return element("p", "No trial was finished.")
    trial = next(one for one in contents["trials"] if one["number"] == best["trial"])
    text = (
        f"Trial {best['trial']:03d} is the best of {len(contents['trials'])} by "
        f"{contents['objective']}: {trial['objective']:.4f}{star}, with "
        f"{_describe_values(trial)}."
    )
    tested = [
        f"{name} {formats.write_values(values, name.startswith(metric_names.NON_PRIVATE))}"
        for name, values in best["test_metrics"].items()
    ]
    return element("p", text, f" Its test metrics: {', '.join(tested)}." if tested else "")


def _star(contents: Mapping[str, Any]) -> str:
    return formats.STAR if contents["objective"].startswith(metric_names.NON_PRIVATE) else ""


def _describe_values(trial: Mapping[str, Any]) -> str:
    return ", ".join(f"--{name}={_write(value)}" for name, value in trial["values"].items())


def _write(value: Any) -> str:
    return "none" if value is None else str(sweep_config.format_value(_as_tuple(value)))


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _write_trials(contents: Mapping[str, Any]) -> Markup:
    trials, star = contents["trials"], _star(contents)
    names = list(trials[0]["values"]) if trials else []
    rows = [
        [
            f"{trial['number']:03d}",
            *(_write(trial["values"][name]) for name in names),
            trial["status"] if trial["status"] != sweep_runs.FINISHED else "",
            _write_objective(trial, star),
        ]
        for trial in trials[:_MOST_ROWS]
    ]
    seeds = formats.list_names([str(seed) for seed in contents["seeds"]])
    caption = f"Trials, best first; {contents['objective']} over seed {seeds}"
    table = markup.table(
        ["trial", *(f"--{name}" for name in names), "", contents["objective"]],
        rows,
        caption,
        num_leading=len(names) + 2,
    )
    left = len(trials) - len(rows)
    notes = [f"{left} more trials are in sweep.csv."] if left > 0 else []
    notes += [f"{metric_names.FOOTNOTE}."] if star else []
    return join([table, *(element("p", note, class_="faint") for note in notes)])


def _write_objective(trial: Mapping[str, Any], star: str) -> str:
    if trial["objective"] is None:
        return "-"
    spread = "" if trial["deviation"] is None else f" ± {trial['deviation']:.4f}"
    return f"{trial['objective']:.4f}{spread}{star}"


def _draw_curves(sweep: Study, identifier: str) -> Iterator[Markup]:
    """The best trial's curve, among those of all others."""
    contents = sweep.contents
    metric = contents["objective"].removeprefix(metric_names.NON_PRIVATE)
    for folder in (metric_names.VALIDATION, metric_names.PRIVATE):
        metric = metric.removeprefix(folder)
    found = {
        trial["number"]: curve
        for trial in contents["trials"]
        if (curve := _read_curve(sweep, trial, metric)) is not None
    }
    best = None if contents["best"] is None else contents["best"]["trial"]
    if best not in found:
        return
    others = [
        charts.Series(f"trial {number:03d}", None, curve.rounds, curve.mean)
        for number, curve in found.items()
        if number != best and len(curve.rounds) > 1
    ]
    curve = found[best]
    named = charts.Series(
        f"trial {best:03d}{formats.STAR * curve.is_marked}",
        0,
        curve.rounds,
        curve.mean,
        curve.low,
        curve.high,
    )
    band = "; the band goes from its smallest to its largest seed" if curve.num_seeds > 1 else ""
    chart = charts.Chart(
        f"Validation {metric} of the trials by round",
        charts.describe([named, *others], "round"),
        "rounds of training",
        f"validation {metric}",
        [*others, named],
        caption=f"Validation {metric} of the best trial by round{band}. Grey: the other trials, "
        "means over their seeds.",
    )
    yield charts.figure(chart, identifier)


def _read_curve(sweep: Study, trial: Mapping[str, Any], metric: str) -> curves.Curve | None:
    folder = sweep.path / "trials" / f"{trial['number']:03d}"
    seeds = [folder / f"seed-{seed}" for seed in sweep.contents["seeds"]]
    return curves.read(seeds, metric) if all(seed.is_dir() for seed in seeds) else None
