"""Opens a page on this machine that recommends: choose items, see what a model makes of them.

  python -m experiments.playground runs/mine
  python -m experiments.playground runs/ml-1m runs/ml-1m-eps8

Folders are those of finished runs (experiments.train) or of exports (experiments.export); of two,
the page shows the lists side by side. It is there for this machine alone, loads nothing from the
network, and keeps nothing; Ctrl-C ends it. docs/playground.md shows the page.
"""

import sys
from typing import TYPE_CHECKING

from absl import flags

from experiments import app
from experiments.command_line import opened_folders
from fedrec_tff import errors

if TYPE_CHECKING:
    from fedrec_tff.serving.playground import http_server

_MAX_MODELS = 2
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen on. Any other than the loopback's opens the page to the network, without "
    "password or encryption.",
)
_PORT = flags.DEFINE_integer(
    "port", 8808, "Port to listen on; 0 for a free one.", lower_bound=0, upper_bound=65535
)
flags.adopt_module_key_flags(opened_folders)


def main(argv: list[str]) -> None:
    """Opens models, and answers until it is interrupted."""
    paths = argv[1:]
    if not 1 <= len(paths) <= _MAX_MODELS:
        raise errors.UserError(
            f"name the folder of a run or of an export, or two to compare them; found {len(paths)}"
        )
    from fedrec_tff.serving import opening
    from fedrec_tff.serving.playground import http_server

    for path in paths:
        opening.check_can_be_opened(path, named=opened_folders.MODEL.value)
    with http_server.PlaygroundServer(_HOST.value, _PORT.value) as server:
        _serve(server, paths)


def _serve(server: "http_server.PlaygroundServer", paths: list[str]) -> None:
    from fedrec_tff.serving.playground import playground, shown_model

    if not server.is_on_loopback:
        print(
            f"warning: --host={_HOST.value} is not this machine's alone: WHOEVER REACHES IT OVER "
            "THE NETWORK can use the page, which has no password and no encryption",
            file=sys.stderr,
        )
    print("starting TensorFlow", flush=True)
    models = shown_model.open_models(paths, opened_folders.MODEL.value)
    ready = playground.Playground(models)
    # What is compiled, is compiled now.
    ready.recommend([item["id"] for item in ready.create_example()["history"]], 1)
    print(f"open {server.url} in a browser; Ctrl-C ends it", flush=True)
    try:
        server.serve(ready)
    except KeyboardInterrupt:
        print("ended", flush=True)


if __name__ == "__main__":
    app.run(main)
