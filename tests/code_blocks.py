"""Runs pieces of code one after the other, as a notebook does; see `tests/forked_binaries.py`.

Each program is a fork of one process that has imported what all of them need. Its pieces share
one namespace, and run inside of a running event loop, as those of a notebook do.
"""

import asyncio
import dataclasses
import gc
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 600.0
_WRITE = "%%writefile "


@dataclasses.dataclass(frozen=True)
class Program:
    """Pieces of code that belong together.

    Attributes:
      folder: Folder in which they run, and from which they import.
      pieces: Their names, as tracebacks show them, and their text. One that begins with
        `%%writefile NAME` is written into that file instead.
    """

    folder: str
    pieces: tuple[tuple[str, str], ...]


def run_all(
    programs: Sequence[Program], imports: Sequence[str] = ()
) -> list[subprocess.CompletedProcess]:
    """Runs programs, each in a fork of one process.

    Args:
      programs: The programs.
      imports: Modules that are imported once for all.

    Returns:
      What became of each; the status is 0 if all of its pieces ran.
    """
    request = {"imports": list(imports), "programs": [dataclasses.asdict(p) for p in programs]}
    child = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert child.returncode == 0, child.stderr
    ended = json.loads(child.stdout.splitlines()[-1])
    return [
        subprocess.CompletedProcess(program.folder, *one)
        for program, one in zip(programs, ended, strict=True)
    ]


async def _run_pieces(pieces: Sequence[Sequence[str]]) -> None:
    namespace = {"__name__": "__main__"}
    for name, text in pieces:
        if text.startswith(_WRITE):
            first, _, body = text.partition("\n")
            pathlib.Path(first.removeprefix(_WRITE).strip()).write_text(body)
        else:
            exec(compile(text, name, "exec"), namespace)


def _run(program: dict, folder: pathlib.Path) -> None:
    """Never returns."""
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    os.chdir(program["folder"])
    sys.path.insert(0, program["folder"])
    try:
        asyncio.run(_run_pieces(program["pieces"]))
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    # As an interpreter ends, so that libraries shut down what they have started.
    sys.exit(status)


def _run_in_fork(program: dict) -> tuple[int, str, str]:
    # No context manager: the fork would leave it too.
    folder = pathlib.Path(tempfile.mkdtemp())
    process = os.fork()
    if process == 0:
        _run(program, folder)
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
    for module in request["imports"]:
        importlib.import_module(module)
    gc.freeze()
    print(json.dumps([_run_in_fork(program) for program in request["programs"]]))


if __name__ == "__main__":
    main()
