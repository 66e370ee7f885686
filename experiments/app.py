"""How every binary starts and ends: quiet logs, one line for a user's mistake, clean exits."""

import os
import sys
from collections.abc import Callable

from absl import app, logging
from absl import flags as absl_flags

from fedrec_tff import errors, quiet

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs a binary and exits.

    Args:
      main: Takes the arguments that are no flags, the program's name first; returns the exit
        status, None for success. TensorFlow must not be imported before it is called.
    """
    quiet.make_logs_quiet()
    quiet.ignore_warnings()
    app.run(lambda argv: _guarded(main, argv))


def check_no_arguments(argv: list[str]) -> None:
    """Refuses what is left on the command line after the flags.

    Args:
      argv: What absl hands to `main`, the program's name first.

    Raises:
      UserError: If anything is left.
    """
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]!r} is no flag: write --name=value")


def drop_output() -> None:
    """Writes no more to standard output: whoever read it has enough, as `| head` has."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _guarded(main: Callable[[list[str]], int | None], argv: list[str]) -> int | None:
    if not absl_flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)
    try:
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
