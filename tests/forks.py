"""A child that imports once what many need, and forks of it, each of which does one thing."""

import gc
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 600.0


def ask(script: str, request: Any, **options: Any) -> Any:
    """Runs a script in a process of its own.

    Args:
      script: Path of the script, which reads JSON and prints JSON last.
      request: What it reads.
      **options: Options of `subprocess.run`.

    Returns:
      What it printed.
    """
    environment = {n: v for n, v in os.environ.items() if n != "TF_CPP_MIN_LOG_LEVEL"}
    child = subprocess.run(
        [sys.executable, script],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=False,
        **options,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


def import_once(modules: Iterable[str]) -> None:
    """Imports, quietly, what all forks need; none looks through it for garbage."""
    gc.disable()
    quiet = importlib.import_module("fedrec_tff.quiet")
    quiet.make_logs_quiet()
    quiet.ignore_warnings()
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()


def run(work: Callable[..., None], *arguments: Any) -> tuple[int, str, str]:
    """Calls a function in a fork, which then ends as an interpreter does.

    Args:
      work: The function; it may end the process.
      *arguments: Its arguments.

    Returns:
      The status, the output and the errors of the fork.
    """
    # No context manager: the fork would leave it too.
    folder = pathlib.Path(tempfile.mkdtemp())
    process = os.fork()
    if process == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(file, descriptor)
        work(*arguments)
        sys.exit(0)
    _, status = os.waitpid(process, 0)
    output, errors = ((folder / name).read_text() for name in ("out", "err"))
    shutil.rmtree(folder)
    return os.waitstatus_to_exitcode(status), output, errors
