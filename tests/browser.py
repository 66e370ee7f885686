"""A headless Chromium for tests of pages, spoken to by pipes: no driver, no port, no network."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_SECONDS = 120.0
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-3d-apis", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe"),
)


class Page:
    """A page that is open, and all that it has asked for since.

    Attributes:
      requests: Addresses that were asked for.
    """

    def __init__(self, read, write, session=None):
        self._read, self._write, self._session = read, write, session
        self._buffer, self._number = b"", 0
        self._events = set()
        self.requests = []

    def call(self, method, **params):
        """Sends a command of the DevTools protocol, and waits for what it returns."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self._number:
            pass
        if "error" in reply:
            raise AssertionError(f"{method}: {reply['error']}")
        return reply["result"]

    def open(self, address):
        """Opens a page, and waits until it has all that it asks for."""
        self._events.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._receive()

    def evaluate(self, expression):
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def resize(self, width, height=900):
        """Makes the window as large."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def emulate(self, media="screen", scheme="light"):
        """Shows the page on a medium, in a colour scheme."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])

    def print(self):
        """The page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    def photograph(self, height=None):
        """The page as a PNG, from its top: all of it, or as much as is asked for."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        found = self.call(
            "Page.captureScreenshot", clip={**clip, "scale": 1}, captureBeyondViewport=True
        )
        return base64.b64decode(found["data"])

    def attach(self):
        """The first page of a browser that was just started."""
        while not (
            pages := [
                target
                for target in self.call("Target.getTargets")["targetInfos"]
                if target["type"] == "page"
            ]
        ):
            time.sleep(0.05)
        target = pages[0]["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self._read, self._write, session)
        for domain in ("Page", "Network", "Runtime"):
            page.call(f"{domain}.enable")
        return page

    def _receive(self):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], _TIMEOUT_SECONDS)
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                raise AssertionError("the browser says nothing more")
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(text)
        self._events.add(message.get("method"))
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message


@contextlib.contextmanager
def start(folder):
    """Starts a browser, and ends it; the test is skipped where there is none.

    Args:
      folder: Folder for the browser's own files.

    Yields:
      An empty page.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: install one of {', '.join(_NAMES)}")
    to_read, from_browser = os.pipe()
    from_test, to_write = os.pipe()
    # Chromium reads commands from descriptor 3, and answers on 4.
    script = f'exec "$@" 3<&{from_test} 4>&{from_browser}'
    process = subprocess.Popen(
        [
            *("bash", "-c", script, "bash", program, *_FLAGS),
            *(f"--user-data-dir={folder}", "about:blank"),
        ],
        pass_fds=(from_test, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(from_test)
    os.close(from_browser)
    try:
        yield Page(to_read, to_write).attach()
    finally:
        # The browser's children, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(to_read)
        os.close(to_write)
