"""Workers and nodes that are lost in the middle of a round change nothing but a line in the log."""

import cluster_computations as made
import numpy as np
import pytest
import strikes

from fedrec_tff.cluster import worker_pool
from fedrec_tff.cluster.ray_context import RayContext
from fedrec_tff.cluster.worker import WorkerOptions
from fedrec_tff.cluster.worker_pool import Workers
from fedrec_tff.execution import exceptions
from fedrec_tff.secure_sums.masking import masked_sum

_MODEL = np.float32([0.1, -0.2, 0.3, 0.4])


def _run(workers, computation, arguments, **options):
    with RayContext(made.create_options(**options), workers).install():
        return np.asarray(computation(*arguments)).tobytes()


@pytest.fixture(scope="module")
def expected():
    arguments = _MODEL, made.create_cohort(43)
    return np.asarray(made.run_compiled(made.train, arguments)[0]).tobytes()


def _wait_until_ready(striking, num_ready):
    """Rounds go on until a worker that was lost has been replaced."""
    for _ in range(1000):
        if sum(seat.is_ready for seat in striking.workers._seats) >= num_ready:
            return
        _run(striking.workers, made.train, (_MODEL, made.create_cohort(43)))
    raise AssertionError("a worker that was lost was not replaced")


def test_a_worker_that_is_killed_in_a_round_changes_no_bit(striking, expected, caplog):
    arguments = _MODEL, made.create_cohort(43)
    _wait_until_ready(striking, 2)
    processes = {seat.index: striking.find_process(seat) for seat in striking.workers._seats}
    struck = []
    striking.strike(lambda seat: (struck.append(seat.index), strikes.kill(processes[seat.index])))
    assert _run(striking.workers, made.train, arguments) == expected
    (lost,) = struck
    told = [r.getMessage() for r in caplog.records if "was lost" in r.getMessage()]
    assert told == [f"worker {lost} was lost (ActorDiedError); another does what it did"]


def test_a_secure_sum_counts_nobody_twice_if_a_worker_is_killed(striking):
    cohort = made.create_cohort(25)
    expected = made.run_compiled(made.count, (cohort,))[0]
    _wait_until_ready(striking, 1)
    ready = [seat for seat in striking.workers._seats if seat.is_ready]
    processes = {seat.index: striking.find_process(seat) for seat in ready}
    striking.strike(lambda seat: strikes.kill(processes[seat.index]))
    found = _run(striking.workers, made.count, (cohort,), secure_sum=masked_sum.MaskedSum())
    assert found == np.asarray(expected).tobytes()


def test_a_worker_that_outlives_its_node_for_a_moment_is_lost_too(striking, expected, caplog):
    _wait_until_ready(striking, 2)

    def cut_off(worker):
        def fetch(*_):
            raise OSError("Failed to read data from the socket: End of file")

        worker._fetch = fetch

    striking.get(striking.workers._seats[0].actor.__ray_call__.remote(cut_off))
    assert _run(striking.workers, made.train, (_MODEL, made.create_cohort(43))) == expected
    assert "worker 0 was lost (RayTaskError(OSError)); another does what it did" in caplog.text


def test_a_node_that_is_lost_in_a_round_changes_no_bit(cluster, ray, expected):
    node = cluster.add_node(num_cpus=1, resources={"doomed": 1}, object_store_memory=80 * 2**20)
    striking = strikes.Striking(ray)
    with Workers(striking, WorkerOptions(), 2, 16) as workers:
        striking.workers = workers
        _wait_until_ready(striking, 1)
        striking.strike(lambda seat: cluster.remove_node(node, allow_graceful=False))
        assert _run(workers, made.train, (_MODEL, made.create_cohort(43))) == expected


def test_when_all_are_lost_one_line_says_so(ray, monkeypatch):
    monkeypatch.setattr(worker_pool, "_MAX_LOSSES", 1)
    striking = strikes.Striking(ray)
    with Workers(striking, WorkerOptions(), 1, 16) as workers:
        striking.workers = workers
        _wait_until_ready(striking, 1)
        process = striking.find_process(workers._seats[0])
        striking.strike(lambda seat: strikes.kill(process))
        with pytest.raises(exceptions.WorkerLostError, match="all workers were lost"):
            _run(workers, made.train, (_MODEL, made.create_cohort(43)))
