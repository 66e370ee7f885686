"""What this stack says without being asked, kept to errors: TensorFlow's logs and warnings.

Nothing heavy is imported here, for the C++ part of TensorFlow reads its level when it is imported.
"""

import atexit
import contextlib
import logging as std_logging
import os
import sys
import warnings
from collections.abc import Iterator

_IN_VAIN = "Object was never used"
_IGNORED = (DeprecationWarning, UserWarning)
# Somebody imports tqdm.auto, which would have us install widgets in a notebook.
_NO_WIDGETS = "IProgress not found"


def make_logs_quiet() -> None:
    """Asks TensorFlow's C++ part and the libraries it drags in for errors only, for good."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # TFF's own aggregators make operations in vain, and TensorFlow tells each with its traceback.
    std_logging.getLogger("tensorflow").addFilter(_is_worth_a_line)


def ignore_warnings() -> None:
    """Leaves out warnings about other people's code, from now on."""
    for category in _IGNORED:
        warnings.filterwarnings("ignore", category=category)
    warnings.filterwarnings("ignore", message=_NO_WIDGETS)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Is quiet inside of the block, in a process that is somebody else's.

    Warnings and the levels of logs are as they were afterwards; TensorFlow's C++ part, which
    reads its level once, stays quiet.
    """
    # Imported here, since `import fedrec_tff` is to be instant.
    from absl import logging

    make_logs_quiet()
    # Once, however often this is called.
    atexit.unregister(drop_default_context)
    atexit.register(drop_default_context)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    # A filter, for TensorFlow sets its logger's level when it is imported.
    logger = std_logging.getLogger("tensorflow")
    logger.addFilter(_is_error)
    try:
        with warnings.catch_warnings():
            ignore_warnings()
            yield
    finally:
        logger.removeFilter(_is_error)
        logging.set_verbosity(verbosity)


def drop_default_context() -> None:
    """Drops TFF's default context while the interpreter is whole.

    What the context holds has a destructor that needs the module `subprocess`, and else fails with
    a traceback when the interpreter has given that up.
    """
    if "tensorflow_federated" in sys.modules:
        import tensorflow_federated as tff

        from fedrec_tff.execution import debug

        tff.framework.set_default_context(debug.DebugContext())


def _is_worth_a_line(record: std_logging.LogRecord) -> bool:
    return _IN_VAIN not in record.getMessage()


def _is_error(record: std_logging.LogRecord) -> bool:
    return record.levelno >= std_logging.ERROR
