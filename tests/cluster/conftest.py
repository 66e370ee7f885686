"""A real Ray cluster of two nodes on this machine, and workers on it; skipped without Ray.

All of it ends with the module: a process has one connection to Ray, and tests of other modules
that connect would find a cluster whose processors are taken.
"""

import importlib.util

import cluster_computations
import pytest
import strikes

from fedrec_tff.cluster import connection, ray_package
from fedrec_tff.cluster.worker import WorkerOptions
from fedrec_tff.cluster.worker_pool import Workers

_STORE_BYTES = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (requirements-ray.txt)")
    # Ray ends workers when a machine's memory is nearly full, whoever has filled it.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    ray_package.import_ray()
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
    yield made
    made.shutdown()
    monkeypatch.undo()


@pytest.fixture(scope="module")
def ray(cluster):
    with connection.connect(cluster.address) as module:
        # Workers do not find the modules of tests.
        module.cloudpickle.register_pickle_by_value(cluster_computations)
        yield module


@pytest.fixture(scope="module")
def striking(ray):
    """Two workers, of which any may be struck down."""
    module = strikes.Striking(ray)
    with Workers(module, WorkerOptions(), 2, 16) as workers:
        module.workers = workers
        yield module
