"""A release manager whose failures do not reach training."""

import collections
from collections.abc import Mapping

import tensorflow_federated as tff

from fedrec_tff.plugins import loading
from fedrec_tff.run import notices


class GuardedReleaseManager(tff.program.ReleaseManager):
    """Hands metrics to a manager; what it fails to take is kept, and tried again later."""

    def __init__(self, manager: tff.program.ReleaseManager, name: str) -> None:
        """Guards a manager.

        Args:
          manager: The manager.
          name: Name of the manager in `--report_to`.
        """
        self._manager, self._name = manager, name
        self._waiting: collections.deque[tuple[dict[str, float], int]] = collections.deque()
        # The number that must wait before the next try: a tracker that is out of reach may take a
        # minute to say so.
        self._num_tried_at = 1
        self._has_failed = False

    async def release(self, value: Mapping[str, float], key: int) -> None:
        """Hands on a round, and all before it that wait.

        Args:
          value: Metrics by name.
          key: Number of the round.
        """
        self._waiting.append((dict(value), key))
        if len(self._waiting) >= self._num_tried_at:
            await self._send()

    async def finish(self) -> None:
        """Tries a last time to hand on what waits, and says what is left."""
        await self._send()
        if self._waiting:
            rounds = {key for _, key in self._waiting}
            notices.say(
                f"warning: --report_to={self._name} has not taken {len(rounds)} rounds, from "
                f"round {min(rounds)} on; the run's folder and TensorBoard have them"
            )

    def close(self) -> None:
        """Closes the manager, if it has anything to close."""
        close = getattr(self._manager, "close", None)
        if close is None:
            return
        try:
            close()
        # Whatever it does.
        except (Exception, SystemExit) as error:
            self._tell(error)

    async def _send(self) -> None:
        while self._waiting:
            metrics, round_number = self._waiting[0]
            try:
                # A copy: nobody else sees what it does with them.
                await self._manager.release(collections.OrderedDict(metrics), round_number)
            # Whatever it does.
            except (Exception, SystemExit) as error:
                self._tell(error)
                self._num_tried_at = 2 * len(self._waiting)
                return
            self._waiting.popleft()
        self._num_tried_at = 1

    def _tell(self, error: BaseException) -> None:
        if not self._has_failed:
            notices.say(
                f"warning: --report_to={self._name} has failed, and training goes on without it: "
                f"{loading.describe_error(error)}"
            )
        self._has_failed = True
