"""Runs pieces of code one after the other, as a notebook does; see `tests/forked_binaries.py`.

Each program is a fork of one process that has imported what all of them need. Its pieces share
one namespace, and run inside of a running event loop, as those of a notebook do.
"""

import asyncio
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import traceback
from collections.abc import Sequence

import forks

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
    ended = forks.ask(__file__, request)
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


def _run(program: dict) -> None:
    os.chdir(program["folder"])
    sys.path.insert(0, program["folder"])
    try:
        asyncio.run(_run_pieces(program["pieces"]))
    except BaseException:
        traceback.print_exc()
        sys.exit(1)


def main() -> None:
    """Serves the request on the standard input."""
    request = json.load(sys.stdin)
    forks.import_once(request["imports"])
    print(json.dumps([forks.run(_run, program) for program in request["programs"]]))


if __name__ == "__main__":
    main()
