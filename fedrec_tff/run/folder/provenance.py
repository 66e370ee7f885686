"""What a result was made by: the commit of this code, and the versions of packages."""

# Tested in tests/run/folder/test_provenance.py and tests/whole_runs/test_run_outputs.py.

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterable


def git_revision() -> str | None:
    """The commit of this code, with `-dirty` if files differ; None where it is not in git.

    An installed copy may lie in the repository of another project, whose commit says nothing.
    """
    path = os.path.abspath(__file__)
    git = ["git", "-C", os.path.dirname(path)]
    try:
        if not _call([*git, "ls-files", path]):
            return None
        return _call([*git, "describe", "--always", "--dirty", "--abbrev=40"])
    except (OSError, subprocess.CalledProcessError):
        return None


def _call(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of installed packages, by name."""
    installed = {package: importlib.metadata.version(package) for package in packages}
    return {"python": sys.version.split()[0], **installed}
