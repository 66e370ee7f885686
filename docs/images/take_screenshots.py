"""Takes the pictures of TensorBoard in the docs, with a Chromium that has no window.

  make screenshots
  .venv/bin/python docs/images/take_screenshots.py --logdir=runs/demo-... --output_dir=docs/images

Without --logdir it trains the demo first, whose two runs the pictures show.
"""

import argparse
import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

_PROJECTOR = "tensorboard_projector"
# A picture's name, TensorBoard's address for it and the window's size. Curves are not smoothed.
_PICTURES = {
    "tensorboard": ("?smoothing=0&tagFilter=recall@10$%7Cepsilon#timeseries", "1300,900"),
    "tensorboard_custom_scalars": ("#custom_scalars&_smoothingWeight=0", "1300,900"),
    "tensorboard_hparams": ("#hparams", "2300,420"),
    _PROJECTOR: ("#projector", "1300,800"),
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS_TO_START = 120
# Curves vanish where there is WebGL, and the Projector needs it; it computes for a while.
_OF_CURVES = ("--disable-gpu", "--disable-3d-apis", "--virtual-time-budget=120000")
_OF_POINTS = (
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    "--virtual-time-budget=600000",
)


def main() -> None:
    """Takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--logdir", help="Folder of runs; by default the demo's, trained now.")
    parser.add_argument("--output_dir", default="docs/images", help="Folder of the pictures.")
    given = parser.parse_args()
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(_BROWSERS)} is installed: install Chromium")
    with tempfile.TemporaryDirectory() as scratch:
        logdir = given.logdir or _train_demo(pathlib.Path(scratch) / "demo")
        with _serve(logdir) as address:
            for name, (place, size) in _PICTURES.items():
                path = pathlib.Path(given.output_dir) / f"{name}.png"
                _take(browser, f"{address}/{place}", size, path, f"{scratch}/browser")
                print(path)


def _train_demo(root: pathlib.Path) -> str:
    subprocess.run(
        [sys.executable, "-m", "experiments.demo", f"--output_dir={root}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return str(root)


@contextlib.contextmanager
def _serve(logdir: str) -> Iterator[str]:
    """Runs TensorBoard inside a `with` block; its address is on this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = pathlib.Path(logdir).absolute()
    program = pathlib.Path(sys.executable).with_name("tensorboard")
    server = subprocess.Popen(
        # Its name alone: the page shows it, and where it is on this machine is nobody's business.
        [program, f"--logdir={folder.name}", "--host=127.0.0.1", f"--port={port}"],
        cwd=folder.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for_runs(address)
        yield address
    finally:
        server.terminate()
        server.wait()


def _wait_for_runs(address: str) -> None:
    """Waits until TensorBoard has read a run, and found what is in it."""
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            with urllib.request.urlopen(f"{address}/data/runs") as found:
                has_runs = found.read().strip() not in (b"", b"[]")
            # The Projector looks for its files when it is asked for the first time.
            urllib.request.urlopen(f"{address}/data/plugins_listing").close()
            if has_runs:
                time.sleep(10)
                return
        time.sleep(1)
    sys.exit("TensorBoard has not started")


def _take(browser: str, url: str, size: str, path: pathlib.Path, profile: str) -> None:
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(_OF_POINTS if path.stem == _PROJECTOR else _OF_CURVES),
            *(f"--user-data-dir={profile}", f"--window-size={size}"),
            f"--screenshot={path.absolute()}",
            url,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
