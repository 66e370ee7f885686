"""The compiled context, for those who ask afterwards whether it compiled, and if not, why."""

# Tested in tests/checks/test_aggregator_check.py and tests/checks/test_model_check.py.

import contextlib
import logging
from collections.abc import Iterator

from fedrec_tff.execution import compiled, forms, rounds

_LOGGER = logging.getLogger(compiled.__name__)


class WatchedContext(compiled.CompiledContext):
    """Keeps what it runs.

    Attributes:
      rounds: Rounds that were run.
      reasons: Reasons why client work was not compiled, where it was not, as the log would say.
      has_secure_sums: Whether a round had secure sums, which TFF's own runtime lacks.
    """

    def __init__(self) -> None:
        """Has run nothing yet."""
        super().__init__()
        self.rounds: list[rounds.FederatedRound] = []
        self.reasons: list[str] = []
        self.has_secure_sums = False

    @property
    def takes_steps(self) -> bool:
        """Rounds of a run need a MapReduce form: their states are written in place."""
        return False

    @property
    def is_compiled(self) -> bool:
        """Whether XLA compiles the client work of all rounds so far."""
        return all(found.is_compiled for found in self.rounds)

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """See `CompiledContext`."""
        self.has_secure_sums |= bool(form.slots)
        self.rounds.append(super().create_round(form))
        return self.rounds[-1]

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Installs the context; what it logs goes to `reasons` instead."""
        handler = _Collector(self.reasons)
        propagates = _LOGGER.propagate
        _LOGGER.addHandler(handler)
        _LOGGER.propagate = False
        try:
            with self.install():
                yield
        finally:
            _LOGGER.removeHandler(handler)
            _LOGGER.propagate = propagates


class _Collector(logging.Handler):
    """Collects the arguments of what is logged as a warning: reasons, in the compiled context."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._reasons = reasons

    def emit(self, record: logging.LogRecord) -> None:
        self._reasons.append(str(record.args[0]) if record.args else record.getMessage())
