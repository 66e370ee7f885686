"""All binaries under one name: `fedrec train --...` is `python -m experiments.train --...`.

  fedrec
  fedrec NAME --help

Without a name it lists them. Flags are those of the binary, and `python -m experiments` does the
same.
"""

import ast
import difflib
import importlib.util
import pathlib
import runpy
import sys
from collections.abc import Sequence

from experiments import app

# In the order in which they are listed: what makes runs, what looks at them, what comes beside.
NAMES = (
    *("data", "demo", "train", "sweep", "baselines", "compare", "evaluate", "report"),
    *("plan_privacy", "plan_scale", "plan_accelerator", "audit", "ledger", "anonymize"),
    *("export", "compress", "recommend", "playground"),
    *("aggregators", "models", "robustness"),
    *("benchmark_execution", "benchmark_aggregators", "benchmark_evaluation"),
    *("benchmark_index", "benchmark_population", "benchmark_checkpoints"),
)
_HELP = ("help", "--help", "-h")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the binary that the first argument names, or lists all.

    Args:
      argv: The arguments, without the program's name; None for those of this process.

    Returns:
      The exit status, where no binary has ended the process itself.
    """
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["help"]
    if name in _HELP:
        _print(describe())
        return 0
    module = name.replace("-", "_")
    if module not in NAMES:
        close = difflib.get_close_matches(module, NAMES, 1)
        hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(NAMES)}"
        print(f"fedrec: there is no command {name!r}: {hint}", file=sys.stderr)
        return app.EXIT_USER_ERROR
    # As `python -m` does it: absl asks the main module for its flags and its docstring.
    sys.argv = [module, *arguments]
    runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)
    return 0


def describe() -> str:
    """The names of all binaries, and what each says of itself first; imports none of them."""
    width = max(map(len, NAMES))
    lines = [f"  {name:<{width}}  {_read_summary(name)}" for name in NAMES]
    return "\n".join(
        [
            "usage: fedrec NAME [flags]",
            "",
            *lines,
            "",
            "`fedrec NAME --help` tells its flags; `python -m experiments.NAME` is the same.",
        ]
    )


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        app.drop_output()


def _read_summary(name: str) -> str:
    """The first line of a binary's docstring."""
    source = pathlib.Path(importlib.util.find_spec(f"experiments.{name}").origin)
    return ast.get_docstring(ast.parse(source.read_text())).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
