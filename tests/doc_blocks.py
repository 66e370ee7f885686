"""The fenced blocks of the documentation, and the commands that a shell makes of them."""

import dataclasses
import functools
import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^( *)(```+|~~~+)\s*([\w-]*)\s*$")
_MARK = re.compile(r"<!-- (not run|run by): *(.*?) *-->")
# What may stand in a block; each of them is replaced by a script that notes down how it was called.
_PROGRAMS = (
    *("python", "python3.11", "fedrec", "make", "uv", "git", "docker", "curl", "openssl"),
    *("chromium", ".venv/bin/python", ".venv/bin/fedrec", ".venv/bin/tensorboard"),
    *(".venv/bin/ray", ".venv-docs/bin/mkdocs"),
    ".venv/lib/python3.11/site-packages/tensorflow_federated/data/worker_binary",
)
_ARGUMENT_END, _CALL_END = "\x1f", "\x1e"
_RECORDER = f"""#!/bin/bash
printf '%s{_ARGUMENT_END}' "$0" "$@" >> "$RECORD"
printf '{_CALL_END}' >> "$RECORD"
"""


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
      page: Path of the page in the repository.
      line: Number of the line of its fence.
      language: What is written behind the fence.
      text: What stands in it.
      not_run: Reason why nobody runs it, of a comment `<!-- not run: ... -->` above it; None
        without one.
      run_by: Test of a comment `<!-- run by: ... -->` above it.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    run_by: str | None = None

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"


def find_pages() -> list[str]:
    """The pages, as paths in the repository."""
    names = ["README.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    return names + [str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md"))]


def parse(page: str, text: str) -> list[Block]:
    """The blocks of a page.

    Args:
      page: Path of the page, for messages.
      text: Its Markdown.

    Returns:
      The blocks in their order.
    """
    blocks, opened, mark = [], None, None
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened = (number, fence, mark)
            inside: list[str] = []
        elif opened is None:
            # Directly above, or with one empty line between.
            mark = _MARK.fullmatch(line.strip()) or (mark if not line.strip() else None)
        elif fence and not fence[3] and fence[2].startswith(opened[1][2]):
            start, first, above = opened
            kinds = {} if above is None else {above[1].replace(" ", "_"): above[2]}
            body = "\n".join(row[len(first[1]) :] for row in inside) + "\n"
            blocks.append(Block(page, start, first[3], body, **kinds))
            opened = mark = None
        else:
            inside.append(line)
    assert opened is None, f"{page}:{opened[0]}: the block does not end"
    return blocks


@functools.cache
def find_blocks() -> tuple[Block, ...]:
    """The blocks of all pages."""
    return tuple(b for page in find_pages() for b in parse(page, (ROOT / page).read_text()))


def record_calls(texts: Sequence[str]) -> list[tuple[list[list[str]], str]]:
    """What a shell calls, block by block; nothing of it is executed.

    Args:
      texts: Blocks of commands.

    Returns:
      The calls of each, with the program's name first, and what the shell had to complain about.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in _PROGRAMS:
            path = root / (name if "/" in name else f"programs/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_RECORDER)
            path.chmod(0o755)
        return [_record(text, root) for text in texts]


def _record(text: str, root: pathlib.Path) -> tuple[list[list[str]], str]:
    log = root / "calls"
    log.write_text("")
    ended = subprocess.run(
        ["/bin/bash", "-e", "-c", f"{text}\nwait"],
        cwd=root,
        env={"PATH": str(root / "programs"), "RECORD": str(log), "HOME": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    calls = [call.split(_ARGUMENT_END)[:-1] for call in log.read_text().split(_CALL_END)[:-1]]
    for call in calls:
        call[0] = call[0].removeprefix(f"{root / 'programs'}{os.sep}").removeprefix("./")
    complaint = ended.stderr.strip() or (
        f"ends with {ended.returncode}" if ended.returncode else ""
    )
    return calls, complaint
