"""Runs a binary many times, each in a fork of one process that has imported what all of them need.

What a process imports takes a second where mistakes are told, and five with TensorFlow; a fork
has it for nothing. Nothing of TensorFlow's runtime is started before the fork. Each ends as a
process of its own would: with a status, an output and errors.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence

import forks


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
    ended = forks.ask(__file__, request, **options)
    return [
        subprocess.CompletedProcess(command, *one)
        for command, one in zip(commands, ended, strict=True)
    ]


def _run(binary: str, command: list[str]) -> None:
    """Never returns: ends as the binary does."""
    sys.argv = [binary, *command]
    app = importlib.import_module("experiments.app")
    app.run(sys.modules[f"experiments.{binary}"].main)


def main() -> None:
    """Serves the request on the standard input."""
    request = json.load(sys.stdin)
    binary = request["binary"]
    forks.import_once([f"experiments.{binary}", *request["imports"]])
    print(json.dumps([forks.run(_run, binary, command) for command in request["commands"]]))


if __name__ == "__main__":
    main()
