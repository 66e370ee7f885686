"""The workers of a driver: who is there, who does what, and what becomes of those that are lost."""

# Tested in tests/cluster/test_lost_workers.py.

import collections
import dataclasses
import itertools
import logging
import time
from collections.abc import Generator, Mapping
from typing import Any

from fedrec_tff import errors
from fedrec_tff.cluster import messages, versions
from fedrec_tff.cluster.worker import Worker, WorkerOptions
from fedrec_tff.execution.exceptions import WorkerLostError, WorkerUnfitError

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 45.0
_START_SECONDS = 300.0
# A worker that is lost so often in a row, without any work done in between, is not replaced.
_MAX_LOSSES = 3
# What Ray says of a worker whose constructor failed.
_CREATION = "raised in its creation task"
_logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Seat:
    """The place of a worker, and of its replacements.

    Attributes:
      index: Number of the seat.
      actor: Handle of the worker; None if it was given up.
      reference: Reference to what the worker is about to return; None if it has nothing to do.
      task: Key of the work that it does; None while it starts.
      is_ready: Whether it has started.
      num_losses: How often in a row a worker was lost here.
      unreadable: Keys of tables that the worker cannot read where they lie.
    """

    index: int
    actor: Any = None
    reference: Any = None
    task: int | None = None
    is_ready: bool = False
    num_losses: int = 0
    unreadable: frozenset[str] = frozenset()


class Workers:
    """Workers that live from round to round, and are replaced when they are lost.

    Use as a context manager, at whose end none is left. A worker that takes long to start joins
    when it is there.

    Attributes:
      rates: Users a second of each worker in the latest round, by number; 0 for who had none.
    """

    def __init__(
        self, ray: Any, options: WorkerOptions, num_workers: int | None, most: int
    ) -> None:
        """Initialises the workers, which start in the background.

        Args:
          ray: The module, connected.
          options: What each worker has.
          num_workers: Number of workers; None for as many as there is room for.
          most: Number of workers that there is anything to do for.

        Raises:
          UserError: If there is room for none.
        """
        self._ray = ray
        self._options = options
        num_workers = min(num_workers or self._count_places(), most)
        self._seats = [_Seat(index) for index in range(num_workers)]
        self._numbers = itertools.count()
        self._has_told_of_unreadable = False
        self.rates: dict[int, float] = {}

    def __enter__(self) -> "Workers":
        for seat in self._seats:
            self._hire(seat)
        return self

    def __exit__(self, *args: object) -> None:
        for seat in self._seats:
            self._dismiss(seat)

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def num_threads(self) -> int:
        """The number of threads of each worker."""
        return self._options.num_threads

    @property
    def num_gpus(self) -> float:
        """The number of GPUs of each worker."""
        return self._options.num_gpus

    def wait_for_all(self) -> None:
        """Waits until every worker has started, for who wants to measure them.

        Raises:
          WorkerLostError: If they are lost, or none starts.
          WorkerUnfitError: If workers cannot work.
        """
        while any(seat.reference is not None for seat in self._seats):
            for seat in self._wait():
                self._receive(seat)

    def create_key(self) -> str:
        """A key for a form that no other form of these workers has."""
        return f"form {next(self._numbers)}"

    def put(self, value: Any) -> Any:
        """Puts an object where every worker finds it, once for each node; returns a reference."""
        return self._ray.put(value)

    def run(
        self,
        works: Mapping[int, messages.Work],
        references: Mapping[str, Any],
        tables: Mapping[str, Any],
    ) -> Generator[tuple[int, messages.Outcome], None, None]:
        """Has work done, in any order.

        Work whose worker is lost is done again by another: what is yielded does not tell.

        Args:
          works: Work by key.
          references: References to what the work names, by key.
          tables: Tables that the work names, by key, for workers that cannot read them.

        Yields:
          The key of each work, and its outcome.

        Raises:
          WorkerLostError: If no worker is left.
          WorkerUnfitError: If workers cannot work.
        """
        waiting = collections.deque(works)
        done: dict[int, list[float]] = {seat.index: [0.0, 0.0] for seat in self._seats}
        self._revive()
        try:
            while waiting or any(seat.task is not None for seat in self._seats):
                for seat in self._seats:
                    if waiting and seat.is_ready and seat.task is None:
                        seat.task = waiting.popleft()
                        self._assign(seat, works[seat.task], references, tables)
                for seat in self._wait():
                    key = seat.task
                    outcome = self._receive(seat)
                    if key is None:
                        continue
                    if outcome is None or outcome.unreadable:
                        waiting.appendleft(key)
                        self._note_unreadable(seat, outcome)
                        continue
                    done[seat.index][0] += works[key].num_clients
                    done[seat.index][1] += outcome.seconds
                    yield key, outcome
        except (Exception, GeneratorExit):
            self._drop_tasks()
            raise
        self.rates = {
            index: clients / seconds if seconds else 0.0
            for index, (clients, seconds) in done.items()
        }

    def _assign(
        self,
        seat: _Seat,
        work: messages.Work,
        references: Mapping[str, Any],
        tables: Mapping[str, Any],
    ) -> None:
        unreadable = seat.unreadable & tables.keys()
        if unreadable:
            work = messages.load_rows(work, {key: tables[key] for key in unreadable})
        readable = {key: found for key, found in references.items() if key not in unreadable}
        seat.reference = seat.actor.run.remote(work, readable)

    def _note_unreadable(self, seat: _Seat, outcome: messages.Outcome | None) -> None:
        if outcome is None:
            return
        if not self._has_told_of_unreadable:
            _logger.warning(
                "worker %d does not find the clients' data where they lie here, or other ones: "
                "rows are sent to such workers in each round",
                seat.index,
            )
            self._has_told_of_unreadable = True
        seat.unreadable |= set(outcome.unreadable)

    def _count_places(self) -> int:
        """For how many workers the cluster has room now."""
        needed = {"CPU": float(self._options.num_threads), "GPU": self._options.num_gpus}
        needed = {name: amount for name, amount in needed.items() if amount}
        places = sum(
            int(min(node["Resources"].get(name, 0.0) // amount for name, amount in needed.items()))
            for node in self._ray.nodes()
            if node["Alive"]
        )
        if not places:
            raise errors.UserError(
                "no node of the cluster has room for a worker, each of which takes "
                f"{self._describe_needs()}: see `ray status`; --ray_workers waits for nodes that "
                "are to come"
            )
        return places

    def _describe_needs(self) -> str:
        gpus = f" and {self._options.num_gpus:g} GPUs" if self._options.num_gpus else ""
        return f"{self._options.num_threads} CPUs{gpus}"

    def _hire(self, seat: _Seat) -> None:
        seat.actor = (
            self._ray.remote(Worker)
            .options(
                num_cpus=self._options.num_threads,
                num_gpus=self._options.num_gpus,
                max_restarts=0,
                scheduling_strategy="SPREAD",
            )
            .remote(self._options)
        )
        seat.is_ready, seat.task, seat.unreadable = False, None, frozenset()
        seat.reference = seat.actor.start.remote()

    def _dismiss(self, seat: _Seat) -> None:
        if seat.actor is not None:
            self._ray.kill(seat.actor, no_restart=True)
        seat.actor = seat.reference = seat.task = None
        seat.is_ready = False

    def _revive(self) -> None:
        """Gives seats that were given up another chance, once a round."""
        for seat in self._seats:
            if seat.actor is None:
                seat.num_losses = _MAX_LOSSES - 1
                self._hire(seat)

    def _wait(self) -> list[_Seat]:
        """Waits until a worker has something to tell, while there are any."""
        start, has_told = time.monotonic(), False
        while True:
            pending = {seat.reference: seat for seat in self._seats if seat.reference is not None}
            if not pending:
                raise WorkerLostError(
                    "all workers were lost, most likely for lack of memory or with their nodes"
                )
            ready, _ = self._ray.wait(
                list(pending), num_returns=1, timeout=_POLL_SECONDS, fetch_local=False
            )
            if ready:
                return [pending[reference] for reference in ready]
            if any(seat.is_ready for seat in self._seats):
                continue
            seconds = time.monotonic() - start
            if seconds > _PATIENCE_SECONDS and not has_told:
                _logger.warning(
                    "waiting for workers to start: each takes %s of a node (see `ray status`)",
                    self._describe_needs(),
                )
                has_told = True
            if seconds > _START_SECONDS:
                raise WorkerLostError(
                    f"no worker has started within {_START_SECONDS:.0f} s, each of which takes "
                    f"{self._describe_needs()} of a node (see `ray status`)"
                )

    def _receive(self, seat: _Seat) -> messages.Outcome | None:
        """Takes what a worker returned; None if it has started, or was lost."""
        exceptions = self._ray.exceptions
        reference, was_ready = seat.reference, seat.is_ready
        try:
            found = self._ray.get(reference)
        except exceptions.RayError as error:
            # An error of ours, and not the end of a process, nor of its node, which the process may
            # live to see: it cannot fetch what it needs. Errors of clients' work are in outcomes.
            is_error = isinstance(error, exceptions.RayTaskError) and not isinstance(error, OSError)
            if is_error or _CREATION in str(error):
                raise WorkerUnfitError(
                    f"a worker of the cluster cannot work: {str(error).strip().splitlines()[-1]}"
                ) from error
            self._replace(seat, error)
            return None
        seat.reference = seat.task = None
        if was_ready:
            seat.num_losses = 0
            return found
        difference = versions.find_difference(found, versions.describe())
        if difference is not None:
            raise WorkerUnfitError(
                f"a worker of the cluster is of another version: {difference}; install the same on "
                "every node"
            )
        seat.is_ready = True
        return None

    def _replace(self, seat: _Seat, error: Exception) -> None:
        what = "; another does what it did" if seat.task is not None else ""
        reason = type(error).__name__
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            # Not of ours alone: Ray looks at the node.
            reason += ": the memory of its node was nearly full, and Ray ended it"
        _logger.warning("worker %d was lost (%s)%s", seat.index, reason, what)
        self._dismiss(seat)
        seat.num_losses += 1
        if seat.num_losses < _MAX_LOSSES:
            self._hire(seat)

    def _drop_tasks(self) -> None:
        """Leaves nothing behind for the next round: workers that are still busy are waited for."""
        busy = {seat.reference: seat for seat in self._seats if seat.task is not None}
        for reference, seat in busy.items():
            self._ray.wait([reference], timeout=None, fetch_local=False)
            try:
                self._ray.get(reference)
            except self._ray.exceptions.RayTaskError:
                # Of the same kind as the one that ended the round.
                pass
            except self._ray.exceptions.RayError as error:
                self._replace(seat, error)
                continue
            seat.reference = seat.task = None
