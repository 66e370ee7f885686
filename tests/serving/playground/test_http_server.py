"""The server by HTTP: what it answers, and all that it refuses."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse

import pytest
import toy_models

import fedrec_tff
from fedrec_tff.serving.playground import http_server, playground

_JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def _serve(host="127.0.0.1"):
    models = toy_models.create_models()
    before = set(threading.enumerate())
    with http_server.PlaygroundServer(host, 0) as server:
        thread = threading.Thread(target=server.serve, args=[playground.Playground(models)])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
    # Neither a thread nor a connection outlives it.
    assert set(threading.enumerate()) <= before


@pytest.fixture(name="server", scope="module")
def _server():
    with _serve() as server:
        yield server


def _ask(server, path, method="GET", body=None, headers=None):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def _recommend(server, asked, headers=None):
    status, _, body = _ask(
        server, "/api/recommend", "POST", json.dumps(asked), _JSON | (headers or {})
    )
    return status, json.loads(body)


def test_it_answers_what_the_playground_does(server):
    expected = playground.Playground(toy_models.create_models())
    asked = {"history": ["i1", "i3"], "k": 5}
    assert _recommend(server, asked) == (200, expected.recommend(["i1", "i3"], 5))
    for path, answer in (
        ("/api/models", expected.describe()),
        ("/api/search?q=am%C3%A9lie", expected.search("amélie")),
        ("/api/search", {"hits": [], "num_found": 0}),
    ):
        status, headers, body = _ask(server, path)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body) == answer
    assert len(json.loads(_ask(server, "/api/example")[2])["history"]) == 5


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?x=1", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
def test_the_page_and_its_parts_may_load_nothing_from_elsewhere(server, path, kind):
    status, headers, body = _ask(server, path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert len(body) == int(headers["Content-Length"]) > 0
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"https:" not in body
    assert b"innerHTML" not in body


@pytest.mark.parametrize(
    "path", ["/api", "/api/recommend", "/page.html", "/../http_server.py", "/__init__.py", "//x/"]
)
def test_there_is_nothing_else(server, path):
    status, _, body = _ask(server, path)
    assert status == 404
    assert json.loads(body) == {"error": "there is nothing at this address"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_it_is_asked_by_get_and_post_alone(server, method):
    status, headers, _ = _ask(server, "/", method)
    assert status == 501
    assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "192.168.1.7", "", "[::1", "localhost.evil.example"],
)
def test_other_names_of_this_machine_are_refused(server, host):
    for path in ("/", "/api/models"):
        status, _, body = _ask(server, path, headers={"Host": host})
        assert status == 403
        assert b"address that the playground printed" in body


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_its_own_names_are_taken_at_any_port(server, host):
    assert _ask(server, "/api/models", headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_may_not_ask(server, headers):
    status, answer = _recommend(server, {"history": [], "k": 1}, headers)
    assert (status, answer) == (403, {"error": "another page may not ask"})
    assert _ask(server, "/api/search?q=story", headers=headers)[0] == 403


def test_its_own_page_may_ask(server):
    host = f"127.0.0.1:{server.server_address[1]}"
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert _recommend(server, {"history": [], "k": 1}, headers)[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        ("{", _JSON, 400, "no JSON object"),
        ("[1]", _JSON, 400, "no JSON object"),
        ("[" * 60_000, _JSON, 400, "no JSON object"),
        (b"\xff\xfe", _JSON, 400, "no JSON object"),
        ('{"k": 3}', _JSON, 400, "history: a list"),
        ('{"history": [], "k": 1e9}', _JSON, 400, "k: a whole number"),
        ("{}", {"Content-Type": "text/plain"}, 415, "application/json"),
        ("", _JSON | {"Content-Length": "65537"}, 413, "65536 bytes"),
        ("", _JSON | {"Content-Length": "-1"}, 413, "65536 bytes"),
    ],
)
def test_what_is_malformed_or_large_is_refused_in_a_sentence(
    server, body, headers, status, message
):
    found, _, answer = _ask(server, "/api/recommend", "POST", body, headers)
    assert found == status
    assert message in json.loads(answer)["error"]


def test_a_long_search_is_refused(server):
    status, _, answer = _ask(server, f"/api/search?q={'a' * 201}")
    assert status == 400
    assert "200 characters" in json.loads(answer)["error"]


def test_an_error_of_ours_tells_the_page_nothing_of_it(server, monkeypatch, capsys):
    monkeypatch.setattr(server.playground, "describe", lambda: 1 / 0)
    status, _, answer = _ask(server, "/api/models")
    assert (status, json.loads(answer)) == (
        500,
        {"error": "this is a bug: the terminal shows where"},
    )
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_whoever_says_nothing_does_not_keep_it_from_ending(capfd):
    with _serve() as server:
        silent = socket.create_connection(server.server_address[:2])
        # Answered after the silent one was taken.
        assert _ask(server, "/api/models")[0] == 200
    assert silent.recv(1) == b""
    silent.close()
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_one_line(server):
    with pytest.raises(fedrec_tff.UserError, match=r"something listens there already.*--port=0"):
        http_server.PlaygroundServer("127.0.0.1", server.server_address[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no host", "nothing.invalid"])
def test_a_host_that_is_none_is_one_line(host):
    with pytest.raises(fedrec_tff.UserError, match=f"--host={host}: is no address of this machine"):
        http_server.PlaygroundServer(host, 0)


def test_the_url_is_what_a_browser_takes(server):
    url = urllib.parse.urlsplit(server.url)
    assert (url.scheme, url.hostname, url.port) == ("http", *server.server_address)
    assert server.is_on_loopback


def test_open_to_the_network_it_is_asked_by_addresses_and_its_name(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Workstation")
    with http_server.PlaygroundServer("0.0.0.0", 0) as server:
        assert not server.is_on_loopback
        assert urllib.parse.urlsplit(server.url).hostname == "workstation"
        for host in ("192.168.1.7:8808", "workstation:8808", "localhost", "[2001:db8::1]:1"):
            assert server.is_asked_by_name(host)
        for host in ("evil.example", "workstation.evil.example", None):
            assert not server.is_asked_by_name(host)


def test_parts_of_the_page_are_files_of_the_package():
    import pathlib
    import tomllib

    root = pathlib.Path(fedrec_tff.__file__).parent
    [kinds] = tomllib.loads((root.parent / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ].values()
    packed = {path for kind in kinds for path in root.glob(kind)}
    folder = root / "serving" / "playground"
    assert {
        path for path in folder.iterdir() if path.suffix in (".html", ".css", ".js", ".svg")
    } <= packed
    assert len(http_server.read_assets()) == 4
