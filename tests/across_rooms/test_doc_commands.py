"""Commands of the docs that train pass the checks of flags, with whatever the preset chooses."""

import pathlib
import re
import shlex

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import flags as run_flags

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# docs/results.md records commands of earlier versions.
_PAGES = [
    _ROOT / "README.md",
    *(page for page in sorted(_ROOT.glob("docs/*.md")) if page.stem != "results"),
]
_COMMAND = re.compile(r"^\S*python -m experiments\.train (.*)$", re.MULTILINE)
# Not of a run; the flagfile is made by a sweep.
_OTHER = ("--output_dir=", "--flagfile=")


def _find_commands():
    for page in _PAGES:
        for found in _COMMAND.findall(page.read_text().replace("\\\n", " ")):
            arguments = shlex.split(found, comments=True)
            if not any("..." in argument for argument in arguments):
                given = [one for one in arguments if not one.startswith(_OTHER)]
                yield pytest.param(given, id=f"{page.stem}-{' '.join(given)}"[:80])


_COMMANDS = list(_find_commands())


def test_commands_are_found():
    assert len(_COMMANDS) > 25


@pytest.mark.parametrize("arguments", _COMMANDS)
def test_a_command_passes_the_checks(arguments, monkeypatch):
    monkeypatch.chdir(_ROOT)
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        assert flags.FLAGS(["train", *arguments]) == ["train"]
        asked = run_flags.read_asked()
    assert asked.open_flags or "--preset=" in " ".join(arguments)
