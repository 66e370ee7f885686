"""How every binary starts and ends: quiet logs, one line for a user's mistake, clean exits."""

import errno
import logging as std_logging
import os
import sys
import warnings
from collections.abc import Callable

from absl import app, logging
from absl import flags as absl_flags

from fedrec_tff import errors

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_IN_VAIN = "Object was never used"


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs a binary and exits.

    Args:
      main: Takes the arguments that are no flags, the program's name first; returns the exit
        status, None for success. TensorFlow must not be imported before it is called.
    """
    _make_logs_quiet()
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
            from experiments import help_text

            help_text.print_help()
            sys.exit(0)


def check_no_arguments(argv: list[str]) -> None:
    """Refuses what is left on the command line after the flags.

    Args:
      argv: What absl hands to `main`, the program's name first.

    Raises:
      UserError: If anything is left.
    """
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]!r} is no flag: write --name=value")


def _make_logs_quiet() -> None:
    """Asks TensorFlow's C++ part and the libraries it drags in for errors only."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # TFF's own aggregators make operations in vain, and TensorFlow tells each with its traceback.
    std_logging.getLogger("tensorflow").addFilter(lambda r: _IN_VAIN not in r.getMessage())
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; a mistyped flag ends like any other mistake, help like success."""
    try:
        return absl_flags.FLAGS(argv)
    except absl_flags.Error as error:
        message = "; ".join(line.strip() for line in str(error).splitlines())
        sys.exit(_fail(message.replace(" ?", "?")))
    except SystemExit:
        # Only help texts exit here, and absl has them end with 1.
        sys.exit(0)
    except BrokenPipeError:
        _drop_output()
        sys.exit(0)


def _drop_output() -> None:
    """Sends what is still to be printed nowhere; whoever read the output has enough: `| head`."""
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
        _drop_output()
        return None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            return _fail(f"{error.filename or 'writing files'}: {error.strerror}")
        raise


def _run_main(main: Callable[[list[str]], int | None], argv: list[str]) -> int | None:
    """Runs it, and drops TFF's default context while the interpreter is whole.

    What the context holds has a destructor that needs the module `subprocess`, and else fails with
    a traceback when the interpreter has given that up.
    """
    try:
        return main(argv)
    finally:
        if "tensorflow_federated" in sys.modules:
            import tensorflow_federated as tff

            from fedrec_tff.execution import debug

            tff.framework.set_default_context(debug.DebugContext())


def _fail(message: str) -> int:
    program = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{program}: {message}", file=sys.stderr)
    return EXIT_USER_ERROR
