"""Templates of issues and pull requests: forms that GitHub accepts, and names that are there."""

import pathlib
import re

import pytest
import yaml

import fedrec_tff

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FOLDER = _ROOT / ".github" / "ISSUE_TEMPLATE"
_FORMS = sorted(_FOLDER.glob("*.yml"))
_KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


@pytest.mark.parametrize("path", _FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_github_asks_for(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= _KINDS
    assert all(field["attributes"]["label"] for field in fields)
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names)
    for field in fields:
        options = field["attributes"].get("options", ["-"])
        # YAML takes a bare yes or no for a truth value, which GitHub refuses.
        assert all(isinstance(option, str) for option in options)


def test_a_bug_is_asked_for_what_is_needed_to_see_it():
    form = yaml.safe_load((_FOLDER / "bug.yml").read_text())
    needed = {field["id"] for field in form["body"] if field.get("validations", {}).get("required")}
    assert {"command", "log", "version", "privacy"} <= needed
    assert {"config"} <= {field.get("id") for field in form["body"]}
    assert fedrec_tff.__version__


def test_what_may_hurt_somebody_is_led_to_where_it_is_not_public():
    for path in (_FOLDER / "bug.yml", _FOLDER / "security_or_privacy.md"):
        assert "SECURITY.md" in path.read_text()
    text = (_ROOT / "SECURITY.md").read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (_ROOT / target).exists(), target


def test_rooms_and_files_that_the_pull_request_names_are_there():
    text = (_ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text()
    for room in re.findall(r"`(\w+)/`", text):
        assert (_ROOT / "fedrec_tff" / room).is_dir(), room
    assert "`CHANGELOG.md`" in text
    assert (_ROOT / "CHANGELOG.md").exists()
