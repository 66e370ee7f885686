"""Runs the tests of a module on each of its mutants, and tells which the tests did not notice.

.venv/bin/python tests/mutation/run_mutants.py build/mutants/1

One process imports TensorFlow and whatever else is slow, but nothing of this project, and forks for
every mutant: the fork puts the mutant into a copy of the checkout and runs there, until one fails,
the tests that the module names: its namesake, and those it says it is tested in. A mutant is killed
when a test fails or the time is up: 30 seconds, or five times what its tests take with nothing
mutated.

What was found is kept in the folder, so that a run that was interrupted goes on; `--again` runs
those once more that survived without a reason in `survivors.toml`.
"""

import argparse
import collections
import contextlib
import gc
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from typing import NamedTuple

import pytest
import survivors as survivors_lib

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_IMPORTED_ONCE = (
    "numpy", "pandas", "scipy.stats", "scipy.optimize", "scipy.signal", "scipy.sparse.linalg",
    "hypothesis.extra.numpy", "dp_accounting.pld.privacy_loss_distribution", "dp_accounting.rdp",
    "tensorflow", "tensorflow_federated", "tensorflow_privacy", "tenseal",
    "cryptography.hazmat.primitives.ciphers.aead",
)  # fmt: skip
_TESTED_IN = re.compile(r"^# Tested in (\S+\.py(?: and \S+\.py)*)\.$", re.MULTILINE)
_LEAST_SECONDS, _TIMES_CLEAN = 30.0, 5.0


class Ended(NamedTuple):
    """How a fork ended.

    Attributes:
      outcome: `passed`, `failed` or `timeout`.
      failed: The first test that failed, if one did.
      seconds: What it took.
      durations: Seconds by test.
    """

    outcome: str
    failed: str
    seconds: float
    durations: dict[str, float]


class _Plugin:
    """Orders tests, the named files and the quick ones first, and keeps what became of them."""

    def __init__(self, files: list[str], seconds: dict[str, float], report: pathlib.Path) -> None:
        self._files, self._seconds, self._report = files, seconds, report
        self._durations = collections.defaultdict(float)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        def rank(item):
            file = item.nodeid.partition("::")[0]
            return self._files.index(file), self._seconds.get(item.nodeid, 0.0)

        items.sort(key=rank)

    def _keep(self, failed: str) -> None:
        self._report.write_text(json.dumps({"failed": failed, "durations": self._durations}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._durations[report.nodeid] += report.duration
        if report.failed:
            self._keep(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        if not self._report.exists():
            self._keep("")


def _copy_checkout(folder: pathlib.Path) -> None:
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=_ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_ROOT / name, folder / name)
    for environment in (".venv", ".venv-accelerator"):
        (folder / environment).symlink_to((_ROOT / environment).resolve())


def _test_in_fork(copy: pathlib.Path, files: list[str], plugin: _Plugin) -> None:
    """Never returns."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.chdir(copy)
    sys.path[0] = str(copy)
    os.environ |= {"PYTHONPATH": str(copy), "FEDREC_TFF_DATA_DIR": os.devnull}
    arguments = ["-x", "-p", "no:xdist", "-m", "not slow", "-c", "pyproject.toml"]
    os._exit(pytest.main([*arguments, *files], plugins=[plugin]))


def _end_all_of(copy: pathlib.Path) -> None:
    """Ends the fork and whatever its tests started: all processes that stand in the copy."""
    for place in pathlib.Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if pathlib.Path(os.readlink(place)).is_relative_to(copy):
                os.kill(int(place.parent.name), signal.SIGKILL)


def run_tests(
    copy: pathlib.Path, files: list[str], seconds: dict[str, float], timeout: float
) -> Ended:
    """Runs tests in a fork, until one fails.

    Args:
      copy: The checkout that is tested.
      files: Files of tests, in order.
      seconds: What tests took before.
      timeout: Seconds after which it is killed.

    Returns:
      How it ended.
    """
    report = copy.parent / "report.json"
    report.unlink(missing_ok=True)
    shutil.rmtree(copy / ".hypothesis", ignore_errors=True)
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        _test_in_fork(copy, files, _Plugin(files, seconds, report))
    status = None
    while status is None and time.monotonic() - start < timeout:
        found, status_found = os.waitpid(process, os.WNOHANG)
        status = os.waitstatus_to_exitcode(status_found) if found else None
        time.sleep(0.02)
    _end_all_of(copy)
    if status is None:
        os.waitpid(process, 0)
    told = json.loads(report.read_text()) if report.exists() else {"failed": "", "durations": {}}
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:  # All of them are slow.
        status = pytest.ExitCode.OK
    if status is not None and status > pytest.ExitCode.INTERRUPTED:
        sys.exit(f"pytest ended with {pytest.ExitCode(status)!r} on {' '.join(files)}")
    outcome = "timeout" if status is None else "passed" if status == 0 else "failed"
    return Ended(outcome, told["failed"], time.monotonic() - start, told["durations"])


def named_tests(path: str) -> list[str]:
    """The files in which a module is tested: those it names, and its namesake (CONTRIBUTING.md)."""
    module = pathlib.Path(path)
    folder = pathlib.Path("tests", *module.parts[1:-1])
    names = (f"test_{module.stem}.py", f"test_{module.parent.name}_{module.stem}.py")
    namesakes = [str(folder / name) for name in names if (_ROOT / folder / name).exists()]
    lines = _TESTED_IN.findall((_ROOT / path).read_text())
    said = [name for line in lines for name in line.split(" and ")]
    return namesakes + [name for name in said if name not in namesakes]


class Clean:
    """What tests take while nothing is mutated, measured once and kept."""

    def __init__(self, copy: pathlib.Path, path: pathlib.Path) -> None:
        self._copy, self._path = copy, path
        self._ended = json.loads(path.read_text()) if path.exists() else {}

    def durations(self, file: str) -> dict[str, float]:
        """Seconds by test of a file, which must pass."""
        if file not in self._ended:
            ended = run_tests(self._copy, [file], {}, timeout=900.0)
            if ended.outcome != "passed":
                sys.exit(f"{file}: {ended.failed or ended.outcome}, with nothing mutated.")
            self._ended[file] = dict(ended.durations) | {"all": ended.seconds}
            self._path.write_text(json.dumps(self._ended, indent=1))
        return self._ended[file]

    def choose(self, path: str) -> tuple[list[str], dict[str, float], float]:
        """The files to run on mutants of a module, seconds by test, and the time they may take."""
        files = named_tests(path)
        seconds = {test: took for file in files for test, took in self.durations(file).items()}
        clean = sum(self.durations(file)["all"] for file in files)
        return files, seconds, max(_LEAST_SECONDS, _TIMES_CLEAN * clean)


def _run_mutant(copy: pathlib.Path, clean: Clean, mutant: dict) -> dict:
    files, seconds, timeout = clean.choose(mutant["path"])
    target = copy / mutant["path"]
    original = (_ROOT / mutant["path"]).read_text()
    # Byte code is told from its source by size and time: a mutant must differ in one.
    target.write_text(mutant["source"])
    os.utime(target, (time.time() + 10.0, time.time() + 10.0))
    ended = run_tests(copy, files, seconds, timeout)
    target.write_text(original)
    shutil.copystat(_ROOT / mutant["path"], target)
    kept = {key: value for key, value in mutant.items() if key != "source"}
    outcome = {"passed": "survived", "failed": "killed"}.get(ended.outcome, ended.outcome)
    return kept | {"outcome": outcome, "by": ended.failed, "seconds": round(ended.seconds, 1)}


def _read_lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _is_same(one: dict, other: dict) -> bool:
    keys = ("path", "operator", "occurrence", "before", "after")
    return all(one[key] == other[key] for key in keys)


def _is_unexplained(result: dict) -> bool:
    return result["outcome"] == "survived" and survivors_lib.find_reason(result) is None


def main() -> None:
    """Runs what has not run yet, and prints what became of all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="holds drawn.jsonl")
    parser.add_argument("--again", action="store_true", help="run the unexplained survivors again")
    flags = parser.parse_args()
    results = flags.folder / "results.jsonl"
    known = [r for r in _read_lines(results) if not (flags.again and _is_unexplained(r))]
    results.write_text("".join(json.dumps(r) + "\n" for r in known))
    drawn = _read_lines(flags.folder / "drawn.jsonl")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")
    for name in _IMPORTED_ONCE:
        importlib.import_module(name)
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "checkout"
        _copy_checkout(copy)
        clean = Clean(copy, flags.folder / "clean.json")
        for mutant in drawn:
            if not any(_is_same(mutant, result) for result in known):
                result = _run_mutant(copy, clean, mutant)
                with results.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    found = [r for r in _read_lines(results) if any(_is_same(r, mutant) for mutant in drawn)]
    print(survivors_lib.describe(found))


if __name__ == "__main__":
    main()
