"""Tells what became of mutants: a table by area, and those that survived, with the reason."""

import pathlib
import tomllib

from scipy import stats

_REASONS = pathlib.Path(__file__).with_name("survivors.toml")


def _interval(killed: int, total: int) -> str:
    """Wilson's interval of 95 %."""
    low, high = stats.binomtest(killed, total).proportion_ci(0.95, method="wilson")
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _row(name: str, results: list[dict]) -> str:
    outcomes = [result["outcome"] for result in results]
    total, survived = len(outcomes), outcomes.count("survived")
    killed = total - survived
    share = f"{100 * killed / total:.1f} %"
    cells = (name, total, killed, outcomes.count("timeout"), survived, share)
    return f"| {' | '.join(map(str, cells))} | {_interval(killed, total)} |"


def find_reason(mutant: dict) -> str | None:
    """Why nothing notices a mutant, if somebody wrote it down."""
    keys = ("path", "before", "after")
    for survivor in tomllib.loads(_REASONS.read_text())["survivor"]:
        if all(survivor[key] == mutant[key] for key in keys):
            return survivor["reason"]
    return None


def describe(results: list[dict]) -> str:
    """Describes results.

    Args:
      results: Of mutants, as `run_mutants` keeps them.

    Returns:
      Lines: a table in Markdown, survivors that have a reason, and survivors that have none.
    """
    lines = [
        "| area | mutants | killed | by time | survived | share killed | Wilson's 95 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    areas = dict.fromkeys(result["area"] for result in results)
    lines += [_row(area, [r for r in results if r["area"] == area]) for area in areas]
    lines.append(_row("all", results))
    survivors = [r for r in results if r["outcome"] == "survived"]
    for survivor in sorted(survivors, key=lambda r: (r["path"], r["line"])):
        reason = find_reason(survivor) or "NO REASON GIVEN"
        lines += ["", f"{survivor['path']}:{survivor['line']}: {reason}"]
        lines += [f"  - {survivor['before']}", f"  + {survivor['after']}"]
    return "\n".join(lines)
