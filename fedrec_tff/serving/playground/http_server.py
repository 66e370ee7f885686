"""The playground's server: a page, its parts, and four questions; nothing else is answered.

It listens on loopback, which other people's machines don't reach; but other people's pages do, in
the browser of whoever has them open. So requests are refused whose `Host` is no name of this
machine (DNS rebinding), or which a browser says another page has made; and the page itself may load
nothing from elsewhere, and be framed nowhere.
"""

import contextlib
import errno
import http.server
import importlib.resources
import ipaddress
import json
import socket
import socketserver
import sys
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fedrec_tff import errors
from fedrec_tff.serving.playground.playground import Playground

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 1 << 16
_TIMEOUT_SECONDS = 10.0
_JSON = "application/json"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

# A part of the page: its type, and its bytes.
Asset = tuple[str, bytes]


def read_assets() -> dict[str, Asset]:
    """Reads the parts of the page, by their paths."""
    folder = importlib.resources.files(__package__)
    return {path: (kind, (folder / name).read_bytes()) for path, (name, kind) in _FILES.items()}


class PlaygroundServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens from the start, so that a port that is taken is told at once; answers when asked to.

    Attributes:
      playground: What answers; requests wait until `serve` is called with it.
      assets: Parts of the page, by their paths.
    """

    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, assets: Mapping[str, Asset] | None = None) -> None:
        """Begins to listen.

        Args:
          host: Name or address of this machine.
          port: Port, 0 for a free one.
          assets: Parts of the page; None for those of this package.

        Raises:
          UserError: If nobody can listen there.
        """
        self.assets = read_assets() if assets is None else assets
        self._host = host
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.address_family, address = found[0][0], found[0][4]
            super().__init__(address[:2], _Handler)
        except OSError as error:
            raise _explain(error, host, port) from error

    def serve(self, playground: Playground) -> None:
        """Answers until the process is interrupted, or `shutdown` is called in another thread."""
        self.playground = playground
        self.serve_forever()

    @property
    def url(self) -> str:
        """The page's address."""
        name = f"[{self._host}]" if ":" in self._host else self._host
        if ipaddress.ip_address(self.server_address[0]).is_unspecified:
            # All addresses, of which none is to be written.
            name = socket.gethostname()
        return f"http://{name}:{self.server_address[1]}/"

    @property
    def is_on_loopback(self) -> bool:
        """Whether no other machine can ask."""
        return ipaddress.ip_address(self.server_address[0]).is_loopback

    def is_asked_by_name(self, host: str | None) -> bool:
        """Whether a request was made to this machine under a name that is its own.

        A page elsewhere may let its name point here. It cannot let an address do so, and whoever
        comes through a tunnel asks another port.

        Args:
          host: The request's header `Host`.
        """
        try:
            name = urllib.parse.urlsplit(f"//{host or ''}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self._host.lower()):
            return True
        if _is_address(name):
            return not self.is_on_loopback or ipaddress.ip_address(name).is_loopback
        return not self.is_on_loopback and name == socket.gethostname().lower()

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        """Answers in a thread, and keeps the connection until that is done."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        """Ends a connection."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Ends all connections, and returns when no thread is left."""
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of those who hang up; an error of ours is told with its traceback."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    server: PlaygroundServer
    timeout = _TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Sends a part of the page, or answers a question that changes nothing."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answers a question that is too large for an address."""
        self._answer(self._post)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuses in a sentence, which is JSON as all answers are."""
        self._send_json(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase})

    def version_string(self) -> str:
        """What the server calls itself."""
        return "fedrec playground"

    def log_message(self, *args: Any) -> None:
        """Says nothing of requests."""

    def _answer(self, answer: Callable[[urllib.parse.SplitResult], None]) -> None:
        address = urllib.parse.urlsplit(self.path)
        if not self.server.is_asked_by_name(self.headers.get("Host")):
            self.send_error(HTTPStatus.FORBIDDEN, "ask by the address that the playground printed")
        elif address.path.startswith("/api/") and self._is_from_elsewhere():
            self.send_error(HTTPStatus.FORBIDDEN, "another page may not ask")
        else:
            self._guard(lambda: answer(address))

    def _guard(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except errors.UserError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        except OSError:
            # Whoever asked has hung up.
            raise
        except Exception:
            traceback.print_exc()
            self.send_error(
                HTTPStatus.INTERNAL_SERVER_ERROR, "this is a bug: the terminal shows where"
            )

    def _get(self, address: urllib.parse.SplitResult) -> None:
        playground = self.server.playground
        if address.path in self.server.assets:
            self._send(HTTPStatus.OK, *self.server.assets[address.path])
        elif address.path == "/api/models":
            self._send_json(HTTPStatus.OK, playground.describe())
        elif address.path == "/api/search":
            [text, *_] = urllib.parse.parse_qs(address.query).get("q", [""])
            self._send_json(HTTPStatus.OK, playground.search(text))
        elif address.path == "/api/example":
            self._send_json(HTTPStatus.OK, playground.create_example())
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _post(self, address: urllib.parse.SplitResult) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"ask with a Content-Length of {MAX_BODY_BYTES} bytes at most",
            )
            return
        body = self.rfile.read(int(length))
        if address.path != "/api/recommend":
            self.send_error(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        elif self.headers.get_content_type() != _JSON:
            self.send_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"ask with {_JSON}")
        else:
            asked = _parse(body)
            answer = self.server.playground.recommend(asked.get("history"), asked.get("k"))
            self._send_json(HTTPStatus.OK, answer)

    def _is_from_elsewhere(self) -> bool:
        """Whether a browser says that another page asks."""
        site = self.headers.get("Sec-Fetch-Site", "none")
        own = f"http://{self.headers.get('Host')}"
        return site not in ("same-origin", "none") or self.headers.get("Origin", own) != own

    def _send_json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, _JSON, json.dumps(value, allow_nan=False).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise errors.UserError("the request is no JSON object: ask with history and k")
    return asked


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _explain(error: OSError, host: str, port: int) -> errors.UserError:
    if error.errno == errno.EADDRINUSE:
        return errors.UserError(
            f"--port={port}: something listens there already, another playground perhaps: name "
            "another, or --port=0 for a free one"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return errors.UserError(f"--port={port}: is not open to you: name one above 1023")
    return errors.UserError(f"--host={host}: is no address of this machine: leave it out")
