"""What each kind of run promises its users, in the words of its own statement."""

# Tested in tests/studies/report/test_report_page.py.

from collections.abc import Iterable, Iterator

from fedrec_tff.privacy import departures, ledger
from fedrec_tff.run.folder import run_directory
from fedrec_tff.studies.report import formats
from fedrec_tff.studies.report.markup import Markup, element, join, name
from fedrec_tff.studies.report.parts import Kind, Part


def write(parts: Iterable[Part]) -> Markup:
    """Writes the statements of all runs; those that are the same for all seeds, once.

    Args:
      parts: Parts of the report.

    Returns:
      A heading and its statements for each kind, those without differential privacy together.
    """
    kinds = [kind for part in parts for kind in part.kinds]
    plain = [kind for kind in kinds if kind.is_complete and not kind.is_private]
    private = [kind for kind in kinds if kind not in plain]
    said = [part for kind in private for part in _write_kind(kind)]
    if plain:
        names = [name(kind.name) for kind in plain]
        said += [element("h3", *_separate(names)), _quote(plain[0].results[0]["privacy_statement"])]
    return join(said)


def _separate(names: list[Markup]) -> Iterator[Markup | str]:
    for number, one in enumerate(names):
        yield ", " if number else ""
        yield one


def _write_kind(kind: Kind) -> Iterator[Markup]:
    yield element("h3", name(kind.name))
    if not kind.is_complete:
        yield _quote(_say_unfinished(kind))
        return
    statements: dict[str, list[str]] = {}
    for folder in kind.group.folders:
        statement = str(folder.results["privacy_statement"])
        statements.setdefault(statement, []).append(str(folder.seed))
    for statement, seeds in statements.items():
        if len(statements) > 1:
            yield element("p", f"Seed {formats.list_names(seeds)}:")
        yield _quote(statement)
    if kind.group.said:
        yield element("p", f"In short: epsilon {kind.group.said}.", class_="faint")


def _quote(statement: str) -> Markup:
    return element("p", statement, class_="statement")


def _say_unfinished(kind: Kind) -> str:
    """What the ledger tells of a run that has no results."""
    if not kind.is_private:
        return "NOT PRIVATE: this run has no differential privacy, and is not finished."
    path = run_directory.RunDirectory(kind.group.first.path).ledger
    if not path.exists():
        return "This run is not finished, and no ledger tells what it has spent."
    contents = ledger.read_ledger(path)
    bound = contents.accountant().bound()
    found = contents.header.departures or departures.NONE
    named = departures.EPSILON_NAMES[found.voided_by].replace("_", " ")
    statement = (
        f"This run is not finished. By its ledger it has spent, until round {contents.last_round}, "
        f"an {named} of {formats.write_epsilon(bound.epsilon)} at delta={contents.header.delta:g}; "
        "it is no statement until the run has ended."
    )
    said = found.describe(departures.INSECURE, departures.SIMULATED)
    return f"{statement} {said}".strip()
