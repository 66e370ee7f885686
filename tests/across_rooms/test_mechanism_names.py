"""Nobody asks for a mechanism's name, and the documentation says of each what its object says."""

import ast
import collections
import pathlib
import re

from fedrec_tff.aggregators import registry
from fedrec_tff.privacy.mechanisms import base, kinds

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MECHANISMS = pathlib.Path("fedrec_tff/privacy/mechanisms")
# Where aggregators get their names; of a mechanism's there are the aggregators that run it.
_REGISTRATION = pathlib.Path("fedrec_tff/aggregators/builtin.py")
_NAMES = {row.aggregator or kind.name for kind in kinds.KINDS.values() for row in kind.rows}
_NAME = re.compile(rf"\b({'|'.join(sorted(_NAMES, key=len, reverse=True))})\b")
# Whoever needs one sum with noise, and no run's mechanism.
_SINGLE_SUMS = (
    "fedrec_tff/privacy/release_calibration.py",
    "fedrec_tff/studies/baselines/release.py",
)
_FOR_ALL = {"base", "kinds", "terms"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _find_names(source):
    """The mechanisms' names in all strings of a module but its docstrings, with lines."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None
    }
    return [
        (node.lineno, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in docstrings
        for name in _NAME.findall(node.value)
    ]


def test_names_are_found_where_they_stand():
    source = (
        '"""About dp_tree."""\n'
        "def ask(name):\n"
        '    """Not dp_adaptive."""\n'
        '    return name in ("dp_gaussian", f"choose {1} or ddp_skellam") or "build_dp_tree"\n'
    )
    assert _find_names(source) == [(4, "dp_gaussian"), (4, "ddp_skellam")]
    assert len(_NAMES) == len(kinds.KINDS) + 1


def test_no_module_has_the_name_of_a_mechanism():
    found, homes = [], collections.defaultdict(set)
    for path in sorted((_ROOT / "fedrec_tff").rglob("*.py")):
        place = path.relative_to(_ROOT)
        for line, name in _find_names(path.read_text()):
            if place.parent == _MECHANISMS:
                homes[name].add(place.name)
            elif place != _REGISTRATION:
                found.append(f"{place}:{line}: {name}")
    assert not found, f"ask kinds.KINDS[...], not for a name: {found}"
    assert set(homes) == _NAMES
    for name, files in homes.items():
        assert len(files) == 1, f"{name} has one file of its own, not {files}"


def test_only_builders_know_a_mechanism_from_the_others():
    for path in sorted((_ROOT / "fedrec_tff").rglob("*.py")):
        place = path.relative_to(_ROOT)
        imported = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module == "fedrec_tff.privacy.mechanisms"
            for alias in node.names
        }
        if place.parts[1] == "aggregators" or place.parent == _MECHANISMS:
            continue
        allowed = _FOR_ALL | ({"gaussian"} if str(place) in _SINGLE_SUMS else set())
        assert imported <= allowed, f"{place} knows {imported - allowed}: ask its kind"


def _read_table():
    """The rows of the table in docs/privacy.md: names, and the other cells."""
    section = (_ROOT / "docs" / "privacy.md").read_text().split("## 2. The mechanisms")[1]
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert header[0] == "`--aggregator`"
    assert len(header) == len(base.TableRow.__dataclass_fields__)
    return [(cells[0].replace("`", "").split(", "), tuple(cells[1:])) for cells in rows]


def test_the_table_of_the_documentation_has_the_rows_of_the_mechanisms():
    documented = [(name, cells) for names, cells in _read_table() for name in names]
    expected = []
    for kind in kinds.KINDS.values():
        for row in kind.rows:
            cells = (row.noise, row.sensitivity, row.sampler, row.relation, row.cost)
            cells += (row.accountant, row.trusted, row.source)
            expected.append((row.aggregator or kind.name, cells))
    assert sorted(documented) == sorted(expected)


def test_rows_name_the_samplers_that_are_allowed():
    """`the same` is what the row above says."""
    said, above = collections.defaultdict(set), ""
    for names, cells in _read_table():
        above = above if cells[2] == "the same" else cells[2]
        for name in names:
            said[name] |= set(re.findall(r"`(\w+)`", above))
    for name in _NAMES:
        assert said[name] == set(registry.get(name).mechanism_kind.samplings), name


def test_rows_name_whom_the_kind_trusts():
    trusted = {base.SERVER: "server", base.DEVICE: "nobody else", base.COHORT: "secure sum"}
    for kind in kinds.KINDS.values():
        for row in kind.rows:
            if row.aggregator is None:
                assert row.trusted.startswith(trusted[kind.noise_source]), kind.name
