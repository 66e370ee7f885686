"""Strikes workers down while they work."""

import os
import signal


class Striking:
    """The module `ray`, which does something at the first waiting for work that is under way."""

    def __init__(self, module):
        self._module = module
        self._strike = None
        self.workers = None

    def __getattr__(self, name):
        return getattr(self._module, name)

    def strike(self, what):
        """Has `what` called with a worker that has just been given work."""
        self._strike = what

    def wait(self, references, **options):
        busy = [seat for seat in self.workers._seats if seat.task is not None]
        if self._strike is not None and busy:
            strike, self._strike = self._strike, None
            strike(busy[0])
        return self._module.wait(references, **options)

    def find_process(self, seat):
        """The process of a worker that has nothing to do."""
        return self._module.get(seat.actor.__ray_call__.remote(lambda worker: os.getpid()))


def kill(process):
    os.kill(process, signal.SIGKILL)
