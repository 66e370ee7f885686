"""The commands of binaries about what people write themselves: list, describe NAME, check NAME."""

from collections.abc import Callable, Iterable, Mapping

from fedrec_tff import errors
from fedrec_tff.checks import findings, plugin_text

_EXIT_FAILED = 1

# What runs a command, and how many names it takes.
Command = tuple[Callable[..., int | None], int]


def run(argv: list[str], commands: Mapping[str, Command], usage: str) -> int | None:
    """Does what the first argument says.

    Args:
      argv: Arguments that absl hands to `main`, the program's name first.
      commands: Commands by name.
      usage: Text that says how the binary is called, for errors.

    Returns:
      The exit status.

    Raises:
      UserError: If it is no command, or has more or fewer names than it takes.
    """
    command, *arguments = argv[1:] or [""]
    if command not in commands:
        found = f"{command!r} is no command: " if command else ""
        raise errors.UserError(f"{found}{usage}")
    run_command, num_arguments = commands[command]
    if len(arguments) != num_arguments:
        raise errors.UserError(f"{command} takes {num_arguments or 'no'} name: {usage}")
    return run_command(*arguments)


def tell(found: Iterable[findings.Finding]) -> int | None:
    """Prints findings as they come.

    Args:
      found: Findings of a check.

    Returns:
      The exit status: 1 if a check failed.
    """
    failed = False
    for finding in found:
        print(plugin_text.to_line(finding.status, finding.name, finding.text), flush=True)
        failed |= finding.status == findings.FAIL
    return _EXIT_FAILED if failed else None
