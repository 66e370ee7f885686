"""Runs a binary about plug-ins in a process, and tells whether TensorFlow was imported."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
_CODE = """
import importlib
import sys
from absl import flags
from experiments import app

binary = importlib.import_module(sys.argv.pop(1))
status = app._guarded(binary.main, flags.FLAGS(sys.argv))
print("tensorflow" in sys.modules, file=sys.stderr)
sys.exit(status)
"""


def run_main(binary, *arguments, path=ROOT):
    """Status, output, errors, and whether TensorFlow was imported; `path` is on Python's path."""
    child = subprocess.run(
        [sys.executable, "-c", _CODE, binary, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{path}"},
        timeout=300,
        check=False,
    )
    *error, imported_tensorflow = child.stderr.strip().splitlines()
    return child.returncode, child.stdout, "\n".join(error), imported_tensorflow == "True"


def write_package(folder, group, code):
    """Installs a package whose entry point is its `build`, and one that is not there."""
    info = folder / "somebody-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{group}]\nsomebodys = somebody:build\nbroken = somebody:missing\n"
    )
    (folder / "somebody.py").write_text(code)
