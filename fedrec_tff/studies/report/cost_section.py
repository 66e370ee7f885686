"""What runs cost: bytes up and down, drawn and as numbers, time, and how fast they were."""

# Tested in tests/studies/report/test_report_page.py.

import statistics
from collections.abc import Iterable, Iterator, Sequence

from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.report import bars, formats, markup, style
from fedrec_tff.studies.report.markup import Markup, element, join
from fedrec_tff.studies.report.parts import Kind, Part

# Kinds of runs that are drawn.
_MOST_DRAWN = 12
_FOLDER = "communication/"
_MEGABYTES_OF_GIGABYTE = 1000.0
# By the end of their names; in the order of the columns.
_COLUMNS = {
    "download_megabytes": "down, MB a round",
    "upload_megabytes": "up, MB a round",
    "download_entropy_coded_megabytes": "down, coded, MB a round",
    "upload_entropy_coded_megabytes": "up, coded, MB a round",
    "secure_sum_download_megabytes": "down for the secure sum, MB a round",
}


def write(parts: Iterable[Part]) -> Markup:
    """Writes bytes and seconds of all runs that are finished.

    Args:
      parts: Parts of the report.

    Returns:
      A table with its notes.
    """
    kinds = [kind for part in parts for kind in part.kinds if kind.is_complete]
    if not kinds:
        return element("p", "No run is finished.")
    columns = [name for name in _COLUMNS if any(_find(kind, name) for kind in kinds)]
    header = ["", "rounds", *(_COLUMNS[name] for name in columns), "total, GB", "s", "users/s"]
    rows = [
        [
            kind.name,
            formats.write_mean([results["rounds"] for results in kind.results]),
            *(_write(kind, name) for name in columns),
            _write_total(kind),
            _write_named(kind, "seconds"),
            _write_named(kind, "users_per_second"),
        ]
        for kind in kinds
    ]
    notes = [
        "Bytes are those of the whole cohort of a round; coded is after entropy coding. The total "
        "is up and down, uncoded, over all rounds; it is there where both are known. Seconds are "
        "of training and evaluation, on whatever machine that was."
    ]
    if any(kind.is_private for kind in kinds):
        notes.append(
            "What follows from who took part in a round, such as the bytes that were sent up, is "
            "an exact statistic of users: private runs withhold it, or mark it with *."
        )
    caption = "Communication and time, means over rounds and seeds"
    table = markup.table(header, rows, caption)
    return join([*_draw(kinds), table, *(element("p", note, class_="faint") for note in notes)])


def _draw(kinds: Sequence[Kind]) -> Iterator[Markup]:
    """Bars of what a round sends in either direction, where anything is known."""
    ways = {"down": "download_megabytes", "up": "upload_megabytes"}
    known = [kind for kind in kinds if any(_find(kind, name) for name in ways.values())]
    groups = [
        bars.BarGroup(
            kind.name,
            style.NUM_SERIES - 1 if kind.style is None else kind.style,
            [_create_bar(kind, way, name) for way, name in ways.items()],
        )
        for kind in known[:_MOST_DRAWN]
    ]
    if groups:
        title = "Megabytes a round, to the whole cohort and from it"
        rest = len(known) - len(groups)
        caption = f"{title}; {rest} more are in the table" if rest else title
        yield bars.figure(title, groups, f"{caption}.", "cost-bytes")


def _create_bar(kind: Kind, way: str, name: str) -> bars.Bar:
    values = _find(kind, name)
    if values is None:
        return bars.Bar(way, None, "withheld" if kind.is_private else "not known")
    return bars.Bar(way, statistics.fmean(values), f"{_write(kind, name)} MB")


def _find(kind: Kind, name: str) -> list[float] | None:
    values = [metric_names.find(results, f"{_FOLDER}{name}") for results in kind.results]
    return None if None in values else values


def _write(kind: Kind, name: str) -> str:
    values = _find(kind, name)
    if values is None:
        return "-"
    return formats.write_mean(values, 2) + _star(kind, f"{_FOLDER}{name}")


def _write_named(kind: Kind, name: str) -> str:
    values = [metric_names.find(results, name) for results in kind.results]
    text = formats.write_mean(values)
    return text if None in values else text + _star(kind, name)


def _star(kind: Kind, name: str) -> str:
    return formats.STAR if metric_names.are_marked(kind.results[0], name) else ""


def _write_total(kind: Kind) -> str:
    parts = [_find(kind, f"{way}_megabytes") for way in ("download", "upload")]
    if None in parts:
        return "-"
    rounds = statistics.fmean(results["rounds"] for results in kind.results)
    gigabytes = sum(map(statistics.fmean, parts)) * rounds / _MEGABYTES_OF_GIGABYTE
    return f"{gigabytes:,.2f}" + _star(kind, f"{_FOLDER}upload_megabytes")
