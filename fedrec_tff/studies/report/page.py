"""A report as one HTML file: nothing in it is fetched, and nothing in it runs."""

# Tested in tests/studies/report/test_report_page.py.

import pathlib
from collections.abc import Iterable, Iterator

from fedrec_tff import errors
from fedrec_tff.run.folder import whole_files
from fedrec_tff.studies.report import (
    answer,
    audit_section,
    comparison_section,
    cost_section,
    evaluation_section,
    parts,
    privacy_section,
    quality,
    robustness_section,
    runs_section,
    style,
    sweep_section,
)
from fedrec_tff.studies.report import inputs as inputs_lib
from fedrec_tff.studies.report.inputs import Inputs
from fedrec_tff.studies.report.markup import Markup, element, join
from fedrec_tff.studies.report.parts import Part

_GENERATOR = "fedrec_tff report"
_MARK = f'<meta name="generator" content="{_GENERATOR}">'
# Even if markup of somebody else's stood in it, a browser would fetch and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_START_BYTES = 1000


def write(paths: Iterable[pathlib.Path], output: pathlib.Path) -> bool:
    """Writes the report on folders of finished runs and studies.

    Args:
      paths: Folders, as `inputs.read` takes them.
      output: File to write; one that is there must be a report.

    Returns:
      Whether the file is its owner's alone: it has exact statistics of a private run, or of files
      that are.

    Raises:
      UserError: If the folders hold nothing to report, or the file cannot be written.
    """
    _check_output(output)
    found = inputs_lib.read(paths)
    page = create(found)
    with whole_files.open_whole(output, is_secret=found.has_exact_statistics) as file:
        file.write(page.encode())
    return found.has_exact_statistics


def _check_output(output: pathlib.Path) -> None:
    if output.is_dir():
        raise errors.UserError(f"--output={output} is a folder: name a file, as in report.html")
    if not output.parent.is_dir():
        raise errors.UserError(f"--output={output}: there is no folder {output.parent}")
    if output.exists():
        with output.open("rb") as file:
            is_report = _MARK.encode() in file.read(_START_BYTES)
        if not is_report:
            raise errors.UserError(
                f"--output={output} exists, and is no report of this program: name another file"
            )


def create(found: Inputs) -> str:
    """Creates the page; the same inputs make the same bytes.

    Args:
      found: All that the report is about.

    Returns:
      HTML.

    Raises:
      UserError: If two complete folders are of the same flags, data and seed, or there is nothing
        to show.
    """
    split = parts.split(found)
    names = [kind.name for part in split for kind in part.kinds]
    trained = {id(kind.group) for part in split for kind in part.kinds}
    names += [group.name for part in split for group in part.groups if id(group) not in trained]
    studies = (*found.evaluations, *found.sweeps, *found.robustness, *found.audits)
    names += [study.name for study in studies]
    if not names:
        raise errors.UserError(f"there is nothing to report yet: {'; '.join(found.left_out)}")
    title = answer.write_title(names)
    sections = list(_iterate_sections(found, split))
    links = [element("li", element("a", text, href=f"#{key}")) for key, text, _ in sections]
    body = [
        element("header", element("h1", title), answer.write(split), _say_left_out(found)),
        element("nav", element("ul", *links), aria_label="Sections"),
        *(
            element("section", element("h2", text), content, id=key, aria_label=text)
            for key, text, content in sections
        ),
    ]
    head = [
        element("meta", charset="utf-8"),
        Markup(_MARK),
        element("meta", http_equiv="Content-Security-Policy", content=Markup(_POLICY)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(style.read())),
    ]
    contents = element("head", *head), element("body", element("main", *body))
    whole = element("html", *contents, lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def _say_left_out(found: Inputs) -> Markup:
    begun = [
        f"{folder.path} is not finished: what it has shown until now stands here, and it is ranked "
        "nowhere"
        for folder in found.begun
    ]
    return join(
        element("p", f"{sentence}.", class_="warn") for sentence in (*begun, *found.left_out)
    )


def _iterate_sections(found: Inputs, split: Iterable[Part]) -> Iterator[tuple[str, str, Markup]]:
    """Identifier, title and content of each section."""
    split = tuple(split)
    for number, part in enumerate(split, start=1):
        on = f" on {part.title}" if len(split) > 1 else ""
        if part.kinds:
            key = f"quality-{number}"
            yield key, f"How they learned{on}", quality.write(part, key)
        yield f"comparison-{number}", f"Comparison{on}", comparison_section.write(part)
    if any(part.kinds for part in split):
        yield "privacy", "Privacy", privacy_section.write(split)
    if found.audits:
        yield "audits", "Audits", audit_section.write(found.audits)
    if any(part.kinds for part in split):
        yield "cost", "Communication and time", cost_section.write(split)
    for number, evaluation in enumerate(found.evaluations, start=1):
        title = f"Evaluation: {evaluation.name}"
        yield f"evaluation-{number}", title, evaluation_section.write(evaluation)
    for number, sweep in enumerate(found.sweeps, start=1):
        key = f"sweep-{number}"
        yield key, f"Sweep: {sweep.name}", sweep_section.write(sweep, f"{key}-curves")
    for number, study in enumerate(found.robustness, start=1):
        title = f"Robustness: {study.name}"
        yield f"robustness-{number}", title, robustness_section.write(study)
    if split:
        yield "runs", "What was asked and done", runs_section.write(split)
