"""Runs a binary many times, each in a fork of one process that has imported what all of them need.

What a process imports takes a second where mistakes are told, and five with TensorFlow; a fork
has it for nothing. Nothing of TensorFlow's runtime is started before the fork. Each ends as a
process of its own would: with a status, an output and errors.
"""

import gc
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 600.0


def run_all(
    binary: str, commands: Sequence[Sequence[str]], imports: Sequence[str] = (), **options
) -> list[subprocess.CompletedProcess]:
    """Runs a binary once for each command line.

    Args:
      binary: Name of the binary.
      commands: The command lines, without the name of the program.
      imports: Modules that are imported once for all, beside the binary.
      **options: Options of `subprocess.run`.

    Returns:
      What became of each.
    """
    request = {"binary": binary, "commands": [list(c) for c in commands], "imports": list(imports)}
    environment = {n: v for n, v in os.environ.items() if n != "TF_CPP_MIN_LOG_LEVEL"}
    child = subprocess.run(
        [sys.executable, __file__],
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
    ended = json.loads(child.stdout.splitlines()[-1])
    return [
        subprocess.CompletedProcess(command, *one)
        for command, one in zip(commands, ended, strict=True)
    ]


def _run(binary: str, command: list[str], folder: pathlib.Path) -> None:
    """Never returns: ends as the binary does."""
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    sys.argv = [binary, *command]
    app = importlib.import_module("experiments.app")
    app.run(sys.modules[f"experiments.{binary}"].main)
    sys.exit(0)


def _run_in_fork(binary: str, command: list[str]) -> tuple[int, str, str]:
    # No context manager: the fork would leave it too.
    folder = pathlib.Path(tempfile.mkdtemp())
    process = os.fork()
    if process == 0:
        _run(binary, command, folder)
    _, status = os.waitpid(process, 0)
    output, errors = ((folder / name).read_text() for name in ("out", "err"))
    shutil.rmtree(folder)
    return os.waitstatus_to_exitcode(status), output, errors


def main() -> None:
    """Serves the request on the standard input."""
    request = json.load(sys.stdin)
    quiet = importlib.import_module("fedrec_tff.quiet")
    quiet.make_logs_quiet()
    quiet.ignore_warnings()
    importlib.import_module(f"experiments.{request['binary']}")
    for module in request["imports"]:
        importlib.import_module(module)
    # No fork looks through what is imported for garbage.
    gc.freeze()
    ended = [_run_in_fork(request["binary"], command) for command in request["commands"]]
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
