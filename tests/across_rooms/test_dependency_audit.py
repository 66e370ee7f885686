"""The audit of dependencies speaks of the versions that the locks have."""

import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_LOCKS = sorted(_ROOT.glob("requirements*.txt"))
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
_ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\d[\w.]*)(?: \(`([\w.-]+)`\))? \|", re.MULTILINE)
_LISTED = re.compile(r"\b([a-z][a-z0-9-]*) (\d+\.\d+[\w.]*\d)\b")
_TEXT = (_ROOT / "docs" / "dependency_audit.md").read_text()


def _read_lock(path):
    return dict(_PINNED.findall(path.read_text()))


def test_every_row_is_about_the_version_in_its_lock():
    rows = _ROW.findall(_TEXT)
    assert len(rows) >= 9
    for package, version, lock in rows:
        pinned = _read_lock(_ROOT / (lock or "requirements.txt"))
        assert pinned.get(package) == version, f"{package} {version}: read the page again"


def test_what_nothing_was_found_about_is_in_the_lock_as_it_is_named():
    section = _TEXT.partition("## Looked for, and nothing found")[2].partition('"Nothing"')[0]
    listed = _LISTED.findall(section)
    pinned = _read_lock(_ROOT / "requirements.txt")
    assert len(listed) >= 10
    assert {name: pinned.get(name) for name, _ in listed} == dict(listed)


def test_there_is_a_date_and_a_command_for_each_lock():
    assert re.search(r"\*\*As of 20\d\d-\d\d-\d\d\.\*\*", _TEXT)
    assert "pip-audit --disable-pip --no-deps -r requirements.txt" in _TEXT
    for lock in _LOCKS:
        kind = lock.stem.removeprefix("requirements")
        assert f"requirements{kind}.txt" in _TEXT or f"{kind}" in _TEXT


@pytest.mark.parametrize(
    ("package", "asked_for"),
    [
        ("tensorflow-federated", r"scipy ~=1\.9\.3"),
        ("tensorflow", r"(protobuf|keras) .*<(5|2\.15)"),
    ],
)
def test_what_holds_versions_back_is_still_asked_for(package, asked_for):
    from importlib import metadata

    assert any(re.search(asked_for, line) for line in metadata.requires(package))
