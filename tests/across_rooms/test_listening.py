"""What listens does so on this machine alone, unless it is told otherwise: where that is in code.

`tests/whole_runs/test_reachable_processes.py` looks at processes that run.
"""

import ast
import inspect
import pathlib

import pytest

from fedrec_tff.cluster import connection
from fedrec_tff.serving.playground import http_server

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Calls that make a process listen, or start one that does.
_LISTENS = {
    *("bind", "listen", "create_server", "start_server", "start_unix_server", "serve_forever"),
    *("HTTPServer", "ThreadingHTTPServer", "TCPServer", "SimpleXMLRPCServer"),
    *("add_insecure_port", "add_secure_port", "launch", "start_server"),
    *("WorkerProcess", "PlaygroundServer", "Server"),
}
# Where there are such calls, and what keeps others from what listens.
_KNOWN = {
    # Loopback by default, see below and tests/serving/.
    "fedrec_tff/serving/playground/http_server.py": {"serve_forever"},
    "experiments/playground.py": {"PlaygroundServer"},
    # TFF's worker, tied to the loopback device: tests/execution/test_native_worker.py.
    "fedrec_tff/execution/native.py": {"WorkerProcess"},
    # A socket pair; the other end is a child.
    "fedrec_tff/accelerator/pjrt_context.py": {"WorkerProcess"},
    # Parties of a protocol in this process, no sockets.
    "fedrec_tff/secure_sums/masking/masked_sum.py": {"Server"},
    "fedrec_tff/secure_sums/encryption/encrypted_sum.py": {"Server"},
}


def _find_calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in _LISTENS:
                yield name


def test_nothing_else_listens():
    found = {}
    for folder in ("fedrec_tff", "experiments", "examples"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            names = set(_find_calls(path))
            if names:
                found[str(path.relative_to(_ROOT))] = names
    assert found == _KNOWN


def test_the_playground_is_for_this_machine_unless_told_otherwise():
    flags = ast.parse((_ROOT / "experiments" / "playground.py").read_text())
    defaults = [
        node.args[1].value
        for node in ast.walk(flags)
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]) == "'host'"
    ]
    assert defaults == [http_server.LOOPBACK] == ["127.0.0.1"]
    with http_server.PlaygroundServer(http_server.LOOPBACK, 0) as server:
        assert server.is_on_loopback
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("address", ["local", "auto"])
def test_a_ray_of_our_own_is_on_loopback_and_a_cluster_is_left_as_it_is(address):
    """Ray listens on all addresses of a node whose address is not that of the loopback."""
    asked = {}

    class Ray:
        class job_config:  # noqa: N801
            JobConfig = staticmethod(lambda **options: None)

        class _private:  # noqa: N801
            class worker:  # noqa: N801
                print_to_stdstream = None

        init = staticmethod(lambda **options: asked.update(options))

    connection._init(Ray, "--ray_address", address, 1)
    expected = {"local": ("127.0.0.1", False), "auto": (None, None)}[address]
    assert (asked.get("_node_ip_address"), asked.get("include_dashboard")) == expected


def test_addresses_to_listen_on_are_written_nowhere_else():
    written = [
        str(path.relative_to(_ROOT))
        for folder in ("fedrec_tff", "experiments", "examples")
        for path in (_ROOT / folder).rglob("*.py")
        if "0.0.0.0" in path.read_text()
    ]
    assert written == []
    assert "127.0.0.1" in inspect.getsource(connection)
