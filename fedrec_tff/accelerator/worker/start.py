"""Starts the worker in its own environment: `start.py SOCKET INCOMING OUTGOING DEVICE NUMBER`.

The first three are descriptors that were inherited, the last is how many devices a CPU is. Of what
is beside this project only the project itself is taken: the rest is of another environment.
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

    *descriptors, device, num_cpu_devices = sys.argv[1:]
    serving.serve(*map(int, descriptors), device, int(num_cpu_devices))
