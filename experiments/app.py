"""How every binary starts and ends: quiet logs, one line for a user's mistake, clean exits."""

import os
import re
import signal
import sys
from collections.abc import Callable

from absl import app, logging
from absl import flags as absl_flags

from fedrec_tff import errors, quiet

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
# What absl says of a required flag that was not given.
_MISSING = re.compile(r"flag --(\w+)=None: .* must have a value other than None\.")


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs a binary and exits.

    Args:
      main: Function that takes the arguments that are no flags, the program's name first, and
        returns the exit status, None for success. TensorFlow must not be imported before it is
        called.
    """
    quiet.make_logs_quiet()
    quiet.ignore_warnings()
    app.define_help_flags()
    absl_flags.DEFINE_flag(_HelpFlag())
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse_flags)


class _HelpFlag(app.HelpFlag):
    """`--help` that shows flags by topic; it takes the place of absl's own."""

    def __init__(self) -> None:
        super().__init__()
        self.allow_override = True

    def parse(self, arg: str | bool) -> None:
        """Prints the help text and exits, if the flag is given."""
        if self._parse(arg):
            # Topics are imported for this alone.
            from experiments.command_line import help_text

            help_text.print_help()
            sys.exit(0)


def check_no_arguments(argv: list[str]) -> None:
    """Refuses what is left on the command line after the flags.

    Args:
      argv: The arguments that absl hands to `main`, the program's name first.

    Raises:
      UserError: If anything is left.
    """
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]!r} is no flag: write --name=value")


def drop_output() -> None:
    """Writes no more to standard output: whoever read it has enough, as `| head` has."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_flags(argv: list[str]) -> list[str]:
    """Parses a command line, and the flagfiles that it names.

    Args:
      argv: The command line, the program's name first.

    Returns:
      What is left of it after the flags.

    Raises:
      UserError: If a flag is unknown or has no such value, or a flagfile cannot be read.
    """
    try:
        return absl_flags.FLAGS(argv)
    except absl_flags.Error as error:
        raise errors.UserError("; ".join(map(_rephrase, str(error).splitlines()))) from error
    except BrokenPipeError:
        # Of a help text.
        raise
    except (OSError, UnicodeError) as error:
        # Flagfiles are what is read meanwhile.
        raise errors.UserError(f"--flagfile: it cannot be read: {error}") from error


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; a mistyped flag ends like any other mistake, help like success."""
    try:
        return read_flags(argv)
    except errors.UserError as error:
        sys.exit(_fail(str(error)))
    except SystemExit:
        # Only help texts exit here, and absl has them end with 1.
        sys.exit(0)
    except BrokenPipeError:
        drop_output()
        sys.exit(0)


def _rephrase(line: str) -> str:
    """What absl says of a flag, in the form of all other mistakes."""
    missing = _MISSING.fullmatch(line)
    if missing is not None:
        return f"--{missing[1]} is required: add --{missing[1]}=..."
    return line.strip().removeprefix("flag ").replace(" ?", "?")


def _guarded(main: Callable[[list[str]], int | None], argv: list[str]) -> int | None:
    if not absl_flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)
    try:
        # From here on Ctrl-C is answered, see `experiments/__init__.py`.
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return _run_main(main, argv)
    except errors.UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return None
    except OSError as error:
        told = errors.from_os_error(error)
        if told is None:
            raise
        return _fail(str(told))


def _run_main(main: Callable[[list[str]], int | None], argv: list[str]) -> int | None:
    try:
        return main(argv)
    finally:
        quiet.drop_default_context()


def _fail(message: str) -> int:
    program = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{program}: {message}", file=sys.stderr)
    return EXIT_USER_ERROR
