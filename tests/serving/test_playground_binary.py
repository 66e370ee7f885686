"""The playground's binary as its users meet it: mistakes in a line, and a page until Ctrl-C."""

import json
import re
import signal
import socket
import urllib.request

import binaries
import psutil
import pytest
import shipped_models


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return shipped_models.write_run(tmp_path_factory.mktemp("runs") / "mine").root


def _ask(url, path, asked=None):
    body = None if asked is None else json.dumps(asked).encode()
    request = urllib.request.Request(f"{url}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_mistakes_are_a_line(run, tmp_path):
    asks_more = {"user_features": ("age",), "synthetic_users": 30, "synthetic_items": 40}
    other = shipped_models.write_run(tmp_path / "other", **asks_more).root
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port = f"--port={taken.getsockname()[1]}"
        for arguments, message in (
            ([run, run, run], "name the folder of a run or of an export, or two"),
            ([run, tmp_path / "nothing"], "there is no folder"),
            # Before anything is opened of the first one.
            ([run, other], "which a history does not tell"),
            ([run, taken_port], "--port=0 for a free one"),
        ):
            found = binaries.run("playground", *map(str, arguments))
            assert (found.returncode, found.stdout) == (2, "")
            assert message in found.stderr
            assert found.stderr.count("\n") == 1


def test_it_serves_until_it_is_interrupted_and_leaves_nothing(run):
    process = binaries.start("playground", str(run), str(run), "--port=0")
    try:
        for line in iter(process.stdout.readline, ""):
            if (found := re.search(r"open (http://127\.0\.0\.1:\d+/) in", line)) is not None:
                break
        described = _ask(found[1], "api/models")
        one, other = json.loads(_ask(found[1], "api/recommend", {"history": ["i9"], "k": 3}))[
            "lists"
        ]
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert binaries.finish(process) == (0, "ended\n", "")
    finally:
        process.kill()
        process.wait()
    assert [item["id"] for item in one["items"]] == [item["id"] for item in other["items"]]
    assert len(one["items"]) == 3
    assert [model["name"] for model in json.loads(described)["models"]] == ["mine (1)", "mine (2)"]
    # Neither users nor keys of the run, nor where it is.
    for secret in (shipped_models.USER, shipped_models.COHORT_KEY, str(run.parent)):
        assert secret not in described
    assert not any(child.is_running() for child in children)


def test_another_host_is_said_loudly(run):
    process = binaries.start("playground", str(run), "--port=0", "--host=0.0.0.0")
    try:
        line = process.stderr.readline()
    finally:
        process.kill()
        process.communicate()
    assert "WHOEVER REACHES IT OVER THE NETWORK" in line
