"""Command lines of the binaries as far as their checks: up to what reads files or trains.

A binary checks its flags before it imports what does the work, so a command line has passed when
that is imported, or asks for a finished run. Each runs in a fork of a process that has imported
its binary, so that all together take seconds. What files would tell is not checked.
"""

import gc
import importlib
import importlib.abc
import json
import os
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence

import forks

_REACHED = 77
# The work: whatever of these is imported by `main`.
_WORK = (
    *("fedrec_tff.run.session", "fedrec_tff.run.data", "fedrec_tff.studies."),
    *("fedrec_tff.serving.", "fedrec_tff.benchmarks.", "fedrec_tff.checks.aggregator_check"),
    *("fedrec_tff.checks.model_check", "fedrec_tff.privacy.population_ledger"),
    *("fedrec_tff.accelerator.", "tensorflow", "tensorflow_federated", "jax"),
)
# Work that a binary has imported already, and what reads a file that is not there.
_WORK_FUNCTIONS = {
    "fedrec_tff.run.finished.finished_run": ("find",),
    "fedrec_tff.serving.opening": ("check_can_be_opened",),
    "fedrec_tff.privacy.planning": ("plan",),
    "fedrec_tff.benchmarks.scale.deployment_plan": ("plan",),
    "fedrec_tff.benchmarks.scale.held_against": ("compare_recorded",),
    "fedrec_tff.serving.index_libraries": ("load",),
}
_FILES = {
    "fedrec_tff.anonymization.keys": ("read_key", b"0" * 32),
    "fedrec_tff.serving.history_files": ("read", []),
}
# What nearly all of them import, or ask of a private run.
_SHARED = (
    *("numpy", "absl.app", "experiments.app", "fedrec_tff.run.preset.asked"),
    *("fedrec_tff.privacy.releases", "fedrec_tff.privacy.distributed", "fedrec_tff.models.towers"),
)
# Made by commands before.
_MADE = ("--flagfile=",)


def check_all(commands: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, list[str | None]]:
    """Has binaries check command lines.

    Args:
      commands: Command lines of each binary, without the name of the program.

    Returns:
      For each what it is refused with, or None.
    """
    return forks.ask(__file__, {name: list(map(list, lines)) for name, lines in commands.items()})


class _Stop(importlib.abc.MetaPathFinder):
    """Ends the process where the work begins."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Looks for nothing."""
        if any(name == work or name.startswith(work) for work in _WORK):
            os._exit(_REACHED)


def _reach(*_: object, **__: object) -> None:
    os._exit(_REACHED)


def _put_stops() -> None:
    for module, names in _WORK_FUNCTIONS.items():
        if module in sys.modules:
            for name in names:
                setattr(sys.modules[module], name, _reach)
    for module, (name, value) in _FILES.items():
        if module in sys.modules:
            setattr(sys.modules[module], name, lambda *_, value=value: value)
    sys.meta_path.insert(0, _Stop())


def _fork(work: Callable[..., None], folder: pathlib.Path, *arguments: object) -> tuple[int, str]:
    """Calls a function in a fork, and waits: the status, and what it wrote to standard error."""
    process = os.fork()
    if process == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, descriptor)
        _end_with(work, *arguments)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), (folder / "err").read_text()


def _end_with(work: Callable[..., None], *arguments: object) -> None:
    """Never returns: what called the fork is not cleaned up after here."""
    status = 0
    try:
        work(*arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _run(binary: str, command: list[str]) -> None:
    sys.argv = [binary, *(part for part in command if not part.startswith(_MADE))]
    app = importlib.import_module("experiments.app")
    app.run(sys.modules[f"experiments.{binary}"].main)


def _serve(binary: str, commands: list[list[str]], folder: pathlib.Path) -> None:
    """Leaves what it has found in the folder."""
    importlib.import_module(f"experiments.{binary}")
    _put_stops()
    gc.freeze()
    found = []
    inner = folder / "inner"
    inner.mkdir()
    for command in commands:
        status, errors = _fork(_run, inner, binary, command)
        found.append(None if status in (0, _REACHED) else errors.strip() or f"status {status}")
    (folder / "found").write_text(json.dumps(found))


def main() -> None:
    """Serves the request on the standard input."""
    for module in _SHARED:
        importlib.import_module(module)
    gc.freeze()
    found = {}
    for binary, commands in json.load(sys.stdin).items():
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            status, errors = _fork(_serve, folder, binary, commands, folder)
            assert status == 0, f"{binary}: {errors}"
            found[binary] = json.loads((folder / "found").read_text())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
