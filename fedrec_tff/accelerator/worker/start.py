"""Starts the worker, in its own environment: `python start.py SOCKET INCOMING OUTGOING DEVICE`.

The first three are descriptors that were inherited. Only this package is taken from where this file
is: other packages beside it are of another environment.
"""

# Tested in tests/accelerator/test_worker_process.py.

import importlib.util
import pathlib
import sys


def _import_this_project() -> None:
    folder = pathlib.Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _import_this_project()
    from fedrec_tff.accelerator.worker import serving

    *descriptors, device = sys.argv[1:]
    serving.serve(*map(int, descriptors), device)
