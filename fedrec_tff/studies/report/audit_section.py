"""Audits in a report: what attacks proved of epsilon, beside what is claimed."""

# Tested in tests/studies/report/test_report_studies.py.

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedrec_tff.privacy import departures
from fedrec_tff.studies.report import formats, markup
from fedrec_tff.studies.report.inputs import Study
from fedrec_tff.studies.report.markup import Markup, element, join, name

_NOTES = (
    "What was proved holds with the stated confidence. Above the claim it shows that the audited "
    "run does not keep it; below, it is no proof of privacy: a stronger attack may find more. An "
    "estimate proves nothing.",
    "An audit is of a run that was made for it, by the same code, and not of another run on this "
    "page.",
)
_EXACT = "* exact, of the audited users: not covered by epsilon"


def write(audits: Sequence[Study]) -> Markup:
    """Writes the bounds of all audits, and the verdict of each.

    Args:
      audits: The audits, at least one.

    Returns:
      A table, the verdicts, and notes.
    """
    header = ["", "attack", "proved epsilon, at least", "claimed epsilon", "estimate", "confidence"]
    table = markup.table(
        header,
        [_write_row(audit) for audit in audits],
        "Lower bounds on epsilon, beside what is claimed",
        num_leading=2,
    )
    verdicts = [part for audit in audits for part in _write_verdict(audit)]
    notes = [*_NOTES, _EXACT] if any(map(_has_claim, audits)) else _NOTES
    return join([table, *verdicts, *(element("p", f"{n}", class_="faint") for n in notes)])


def _write_row(audit: Study) -> list[Any]:
    found = audit.contents
    star = formats.STAR if _has_claim(audit) else ""
    proved = f"{math.floor(found['epsilon_lower_bound'] * 1000) / 1000:.3f}{star}"
    estimate = found["epsilon_estimate"]
    return [
        name(audit.name),
        found["audit"]["attack"],
        element("td", proved, class_="number warn" if found["accuses"] else "number"),
        _write_claim(found),
        "-" if estimate is None else f"{estimate:.3f}{star}",
        f"{found['confidence']:.0%}",
    ]


def _write_claim(found: Mapping[str, Any]) -> str:
    voided_by, claimed = _find_claim(found)
    if not math.isfinite(claimed):
        return "nothing"
    whose = f" ({voided_by})" if voided_by else ""
    return f"{formats.write_epsilon(claimed)}{whose} at delta {found['delta']:g}"


def _find_claim(found: Mapping[str, Any]) -> tuple[str, float]:
    """What voids the claimed number, and the number."""
    for voided_by, called in departures.EPSILON_NAMES.items():
        claimed = found.get(f"{called}_claimed")
        if claimed is not None:
            return voided_by, float(claimed)
    return "", math.inf


def _has_claim(audit: Study) -> bool:
    return math.isfinite(_find_claim(audit.contents)[1])


def _write_verdict(audit: Study) -> list[Markup]:
    found = audit.contents
    checks = found["checks"]
    passed = sum(bool(check["passed"]) for check in checks)
    said = f" {passed} of {len(checks)} direct checks of the mechanism passed." if checks else ""
    colour = "statement warn" if found["accuses"] else "statement"
    return [
        element("h3", name(audit.name)),
        element("p", f"{found['verdict']}{said}", class_=colour),
    ]
