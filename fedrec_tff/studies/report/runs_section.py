"""What was asked and done: flags, data in public terms, commands, versions."""

# Tested in tests/studies/report/test_report_page.py.

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.comparison.rows import Group
from fedrec_tff.studies.report import curves, formats, markup
from fedrec_tff.studies.report.markup import Markup, element, join, name
from fedrec_tff.studies.report.parts import Part

_ENDED = {"rounds": "after all rounds"}
_OF_CATALOGUE = {
    "data": "of the data",
    "table": "of the item table",
    "selected": "selected beforehand",
}


def write(parts: Iterable[Part]) -> Markup:
    """Writes what is known of each kind of run, and of references that were fitted apart.

    Args:
      parts: Parts of the report.

    Returns:
      A heading and a list for each.
    """
    return join(said for part in parts for said in _write_part(part))


def _write_part(part: Part) -> Iterator[Markup]:
    kinds = {id(kind.group): kind for kind in part.kinds}
    for kind in part.kinds:
        yield element("h3", name(kind.name))
        yield _list(_describe(kind.group, kind.is_complete))
    for group in part.groups:
        if id(group) not in kinds:
            yield element("h3", name(group.name))
            yield _list(_describe(group, is_complete=True))


def _list(entries: Iterable[tuple[str, Any]]) -> Markup:
    return element(
        "dl", *(element("dt", title) + element("dd", value) for title, value in entries if value)
    )


def _describe(group: Group, is_complete: bool) -> Iterator[tuple[str, Any]]:
    folder = group.first
    yield "Data", _say_data(group)
    yield "Chosen", _list_flags(group)
    yield "Seeds", group.seeds_told
    yield "Rounds", _say_rounds(group) if is_complete else _say_begun(group)
    yield "Command", markup.command(group.command)
    if is_complete:
        yield "Revision", formats.list_names(sorted({one.revision for one in group.folders}))
        yield "Versions", ", ".join(f"{k} {v}" for k, v in sorted(folder.versions.items()))
    yield "Folders", ", ".join(str(one.path) for one in group.folders)


def _say_data(group: Group) -> str:
    """What is public of the data where users are protected; the same words for all runs."""
    flags, derived = group.first.flags, group.first.config.get("derived", {})
    said = f"{flags['dataset']}, split {flags['split']}"
    if "num_training_users" in derived:
        roster = "of the roster" if derived.get("roster_digest") else "of the data"
        catalogue = _OF_CATALOGUE.get(derived.get("catalogue"), "")
        said += (
            f": {derived['num_training_users']:,} training users {roster}, "
            f"{derived['num_items']:,} items {catalogue}"
        )
    return said


def _list_flags(group: Group) -> Markup | str:
    """The flags that are not defaults; those that rules or a preset chose say so."""
    chosen = group.chosen_flags
    by_rules = set(group.first.config.get("chosen_by_preset", ()))
    preset = group.first.config.get("flags", {}).get("preset", RunConfig.preset)
    shown = [
        element("code", f"--{flag}={_write(value)}", class_="word")
        + (" (by rules)" if flag in by_rules else "")
        for flag, value in chosen.items()
        if flag != "preset"
    ]
    lines = [f"preset {preset}"] if preset else []
    return join(_separate([*lines, *shown])) if shown or lines else "nothing but defaults"


def _separate(parts: Iterable[Any]) -> Iterator[Any]:
    for number, part in enumerate(parts):
        yield " · " if number else ""
        yield part


def _write(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _say_rounds(group: Group) -> str:
    said = {_say_end(folder.results): None for folder in group.folders}
    return "; ".join(filter(None, said))


def _say_end(results: Mapping[str, Any]) -> str:
    if "rounds" not in results:
        return ""
    ended = results.get("ended_by", "rounds")
    text = f"{results['rounds']}, ended {_ENDED.get(ended, f'by {ended}')}"
    released = results.get("released_round", results["rounds"])
    return text if released == results["rounds"] else f"{text}; the model of round {released}"


def _say_begun(group: Group) -> str:
    rounds = curves.find_last_round(group.first.path)
    return f"{rounds} of {group.first.flags['rounds']}: not finished; its command goes on with it"
