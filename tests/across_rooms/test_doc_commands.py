"""Commands of the docs that train pass the checks of flags, with whatever the preset chooses."""

import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# docs/results.md records commands of earlier versions.
_PAGES = [
    _ROOT / "README.md",
    *(page for page in sorted(_ROOT.glob("docs/**/*.md")) if page.stem != "results"),
]
_COMMAND = re.compile(r"^\S*python -m experiments\.train (.*)$", re.MULTILINE)
# Not of a run; the flagfile is made by a sweep.
_OTHER = ("--output_dir=", "--flagfile=")


def _find_commands():
    for page in _PAGES:
        for found in _COMMAND.findall(page.read_text().replace("\\\n", " ")):
            arguments = shlex.split(found, comments=True)
            if not any("..." in argument or argument == "--help" for argument in arguments):
                given = [one for one in arguments if not one.startswith(_OTHER)]
                yield pytest.param(given, id=f"{page.stem}-{' '.join(given)}"[:80])


_COMMANDS = list(_find_commands())
# A process of its own, since binaries define flags of the same names in one registry.
_CHILD = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from experiments import flags as run_flags
from fedrec_tff import errors

def check(arguments):
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        try:
            left = flags.FLAGS(["train", *arguments])[1:]
            return [bool(run_flags.read_asked().open_flags), left, None]
        except (errors.UserError, flags.Error) as error:
            return [False, [], str(error)]

print(json.dumps([check(arguments) for arguments in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def outcomes():
    commands = [parameter.values[0] for parameter in _COMMANDS]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=True,
    )
    return {tuple(c): found for c, found in zip(commands, json.loads(child.stdout), strict=True)}


def test_commands_are_found():
    assert len(_COMMANDS) > 25


@pytest.mark.parametrize("arguments", _COMMANDS)
def test_a_command_passes_the_checks(arguments, outcomes):
    leaves_open, left, mistake = outcomes[tuple(arguments)]
    assert mistake is None
    assert left == []
    assert leaves_open or "--preset=" in " ".join(arguments)


_PATH = "## From your own CSV to a page"
_PARSE = """
import importlib, json, sys
from absl import flags
importlib.import_module(f"experiments.{sys.argv[1]}")
print(json.dumps(flags.FLAGS(sys.argv[1:])[1:]))
"""


def _parse(binary, arguments):
    """What is left of a binary's arguments after its flags."""
    child = subprocess.run(
        [sys.executable, "-c", _PARSE, binary, *arguments],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def test_the_path_from_a_csv_to_a_page_is_five_commands_that_follow_each_other():
    section = (_ROOT / "README.md").read_text().split(f"{_PATH}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\S*python -m experiments\.(\w+) (.*)$", section, re.MULTILINE)
    binaries = [binary for binary, _ in found]
    assert binaries == ["data", "train", "train", "report", "playground"]
    look, open_run, private_run, report, page = (shlex.split(arguments) for _, arguments in found)
    assert _parse("data", look) == [look[0]] == ["orders.csv"]
    assert _parse("train", open_run) == []
    assert set(look[1:]) < set(open_run)
    assert f"--data_dir={look[0]}" in open_run
    assert set(private_run) - set(open_run) == {
        "--target_epsilon=8",
        "--output_dir=runs/shop-eps8",
    }
    folders = ["runs/shop", "runs/shop-eps8"]
    assert f"--output_dir={folders[0]}" in open_run
    assert _parse("report", report) == _parse("playground", page) == folders
