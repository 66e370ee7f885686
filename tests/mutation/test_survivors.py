"""What is told of mutants, and of the reasons why some survive."""

import math
import pathlib
import tomllib

import survivors

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _result(outcome, area="sums", line=1):
    names = {"path": "a.py", "before": "x + 1", "after": "x - 1"}
    return {"area": area, "outcome": outcome, "line": line, **names}


def test_shares_have_wilsons_interval_and_survivors_their_reason(tmp_path, monkeypatch):
    reasons = tmp_path / "survivors.toml"
    monkeypatch.setattr(survivors, "_REASONS", reasons)
    results = [_result("killed")] * 17 + [_result("timeout")] + [_result("survived", line=7)] * 2
    results += [_result("killed", "metrics")]
    reasons.write_text("survivor = []")
    *table, blank, told, before, after = survivors.describe(results[:-2] + results[-1:]).split("\n")
    # Wilson 1927, written out for 18 of 19.
    n, share, z = 19, 18 / 19, 1.959964
    middle, half = share + z * z / 2 / n, z * math.sqrt(share * (1 - share) / n + (z / 2 / n) ** 2)
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    row = f"| sums | 19 | 18 | 1 | 1 | 94.7 % | {100 * low:.1f} to {100 * high:.1f} % |"
    assert table[2] == row
    assert table[3].startswith("| metrics | 1 | 1 | 0 | 0 | 100.0 % |")
    assert table[4].startswith("| all | 20 | 19 | 1 | 1 | 95.0 % |")
    assert (blank, told) == ("", "a.py:7: NO REASON GIVEN")
    assert (before, after) == ("  - x + 1", "  + x - 1")
    reasons.write_text('[[survivor]]\npath="a.py"\nbefore="x + 1"\nafter="x - 1"\nreason="why"')
    assert survivors.describe(results).count("a.py:7: why") == 2


def test_reasons_are_about_lines_that_there_are():
    for survivor in tomllib.loads((_ROOT / "tests/mutation/survivors.toml").read_text())[
        "survivor"
    ]:
        lines = (_ROOT / survivor["path"]).read_text().split()
        assert " ".join(survivor["before"].split()) in " ".join(lines), survivor
        assert survivor["reason"]
        assert survivor["after"] != survivor["before"]
