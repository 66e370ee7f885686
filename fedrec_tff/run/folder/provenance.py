"""What a result was made by: the commit of this code, and the versions of packages."""

# Tested in tests/whole_runs/test_run_outputs.py.

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterable


def git_revision() -> str | None:
    """The commit of this code, with `-dirty` if files differ; None where it is not in git."""
    folder = os.path.dirname(os.path.abspath(__file__))
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of installed packages, by name."""
    installed = {package: importlib.metadata.version(package) for package in packages}
    return {"python": sys.version.split()[0], **installed}
