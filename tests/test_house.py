"""The house: who imports whom, how full a room is, and where each module is tested."""

import ast
import itertools
import pathlib
import re
import tomllib

import pytest
from importlinter import api

import fedrec_tff

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_MOST_MODULES = 30
_TESTED_IN = re.compile(r"^# Tested in (\S+\.py(?: and \S+\.py)*)\.$", re.MULTILINE)
_MODULES = sorted(
    path.relative_to(_ROOT)
    for path in (_ROOT / "fedrec_tff").rglob("*.py")
    if path.name != "__init__.py"
)


def _differ_by_a_letter(one, other):
    short, long = sorted((one, other), key=len)
    if len(short) == len(long):
        return sum(a != b for a, b in zip(short, long, strict=True)) == 1
    return any(short == long[:i] + long[i + 1 :] for i in range(len(long)))


def _read_top(path):
    """What stands between a module's docstring and its first statement."""
    text = (_ROOT / path).read_text()
    first, *rest = ast.parse(text).body
    end = rest[0].lineno - 1 if rest else len(text)
    return "\n".join(text.split("\n")[first.end_lineno : end])


def test_imports_point_down_and_never_in_circles():
    assert pathlib.Path(fedrec_tff.__file__).is_relative_to(_ROOT)
    # What breaks a contract is printed.
    assert api.use_cases.lint_imports(str(_ROOT / "pyproject.toml"), cache_dir=None, no_logo=True)


@pytest.mark.parametrize("top", ["fedrec_tff", "experiments", "tests"])
def test_no_folder_is_too_full(top):
    folders = [_ROOT / top, *(path for path in (_ROOT / top).rglob("*") if path.is_dir())]
    for folder in folders:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= _MOST_MODULES, folder.relative_to(_ROOT)


def test_no_neighbours_differ_by_a_letter():
    for _, neighbours in itertools.groupby(_MODULES, key=lambda path: path.parent):
        for one, other in itertools.combinations(neighbours, 2):
            assert not _differ_by_a_letter(one.stem, other.stem), (one, other)


def test_every_module_has_its_test_or_says_where_it_is_tested():
    """In the same folder under `tests/`: `test_<module>.py`, or `test_<folder>_<module>.py`.

    The second where another folder has a module of that name, since tests are imported by name.
    """
    for path in _MODULES:
        folder = _ROOT / "tests" / path.parent.relative_to("fedrec_tff")
        names = (f"test_{path.stem}.py", f"test_{path.parent.name}_{path.stem}.py")
        has_namesake = any((folder / name).exists() for name in names)
        said = _TESTED_IN.findall(_read_top(path))
        assert has_namesake or said, (
            f"{path}: add a line '# Tested in tests/....' below its docstring"
        )
        for name in itertools.chain(*(line.split(" and ") for line in said)):
            assert (_ROOT / name).exists(), f"{path}: is said to be tested in {name}"


def test_no_two_tests_have_one_name():
    names = [path.name for path in (_ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


@pytest.mark.parametrize("package", ["fedrec_tff", "experiments"])
def test_what_is_no_python_is_in_a_wheel_too(package):
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"].get(package, [])
    shipped = {path for pattern in patterns for path in (_ROOT / package).glob(pattern)}
    files = {path for path in (_ROOT / package).rglob("*") if path.is_file()}
    others = {path for path in files if path.suffix not in (".py", ".pyc")}
    assert others <= shipped, sorted(others - shipped)
