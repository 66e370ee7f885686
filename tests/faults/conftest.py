"""One server and one run that is left alone for all tests of faults."""

import dataclasses
import pathlib
import pickle

import pytest
import snapshots
import system_calls

from fedrec_tff.privacy import ledger as ledger_lib

pytest.register_assert_rewrite("faulty_runs")

from faulty_runs import FaultServer, Outcome, read_outcome  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    obstacle = system_calls.find_obstacle()
    if obstacle is not None:
        pytest.skip(obstacle)
    server = FaultServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@dataclasses.dataclass(frozen=True)
class LeftAlone:
    """A run that nothing went wrong in, in a folder that can be brought to any state it had."""

    root: pathlib.Path
    operations: tuple
    snapshots: list
    outcome: Outcome
    kept: pathlib.Path

    def restore(self, state):
        snapshots.restore(self.root, state, {self.kept.name: self.kept})

    def find(self, *starts):
        """What a kill at moments leaves, each the first whose name begins so."""
        named = [(s.moment.partition(": ")[2] or s.moment, s.state) for s in self.snapshots]
        return [next(state for name, state in named if name.startswith(start)) for start in starts]


@pytest.fixture(scope="session")
def left_alone(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("left_alone")
    root, film = folder / "run", folder / "snapshots"
    session = server.train(root, snapshots_to=str(film))
    session.check_is_clean()
    assert session.status == 0, session.stderr
    with film.open("rb") as file:
        taken = pickle.load(file)
    # A ledger that is another file is taken for a copy.
    kept = folder / ledger_lib.FILE_NAME
    kept.hardlink_to(root / kept.name)
    return LeftAlone(root, session.operations, taken, read_outcome(server, root), kept)
