"""Runs TFF's own tests of its library in the compiled context and in TFF's runtime, and compares.

  git clone --branch v0.87.0 https://github.com/google-parfait/tensorflow-federated.git
  .venv/bin/python tests/conformance/run_tff_tests.py --tff=tensorflow-federated \
      --output_dir=reports

Not part of the suite: it takes an hour of a core. Nothing is written into the checkout. A report
that is in --output_dir already is not made again, so that a run that was stopped goes on.
"""

import argparse
import collections
import importlib.util
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from fedrec_tff import child_processes

_HERE = pathlib.Path(__file__).resolve().parent
_PROJECT = _HERE.parents[1]
_VERSION = "0.87.0"
_PACKAGES = ("aggregators", "analytics", "learning")
# A module for tests outside of them.
_SUPPORT = "tensorflow_libs/tensorflow_test_utils.py"
_CONTEXTS = ("native", "compiled")
_REFUSAL = "UnsupportedComputationError"

# Outcomes of tests by name: "passed", "skipped", or the line that a failure ends with.
Outcomes = dict[str, str]


def main() -> None:
    """Runs the tests and prints a table, and what does not pass compiled."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tff", type=pathlib.Path, required=True, help=f"checkout of TFF at v{_VERSION}"
    )
    parser.add_argument(
        "--packages", nargs="+", default=list(_PACKAGES), choices=_PACKAGES, help="what to run"
    )
    parser.add_argument(
        "--contexts", nargs="+", default=list(_CONTEXTS), choices=_CONTEXTS, help="where to run it"
    )
    parser.add_argument("--processes", type=int, default=1, help="how many test at once")
    parser.add_argument("--only", default="", help="files with this in their name alone")
    parser.add_argument(
        "--output_dir", type=pathlib.Path, required=True, help="where pytest's reports are kept"
    )
    arguments = parser.parse_args()
    _check_version(arguments.tff, parser)
    output_dir = arguments.output_dir.resolve()
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "tests"
        _arrange(arguments.tff / "tensorflow_federated" / "python", folder)
        for package in arguments.packages:
            files = sorted(folder.glob(f"test_{package}__*_test.py"))
            files = [path for path in files if arguments.only in path.name]
            if not files:
                parser.error(f"no file of {package} has {arguments.only} in its name")
            for context in arguments.contexts:
                report = _report(output_dir, package, context)
                if not report.exists():
                    _run(files, context, arguments.processes, report)
    _show(output_dir, arguments.packages)


def _report(output_dir: pathlib.Path, package: str, context: str) -> pathlib.Path:
    return output_dir / f"{context}-{package}.xml"


def _check_version(checkout: pathlib.Path, parser: argparse.ArgumentParser) -> None:
    path = checkout / "tensorflow_federated" / "version.py"
    if not path.exists():
        parser.error(f"{checkout} is no checkout of TensorFlow Federated")
    if f"'{_VERSION}'" not in path.read_text():
        parser.error(f"{checkout} is not at v{_VERSION}, which is the version that is installed")


def _arrange(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Lays the tests side by side, apart from the sources, so that they import the wheel."""
    installed = pathlib.Path(importlib.util.find_spec("tensorflow_federated").origin).parent
    folder.mkdir()
    shutil.copy(_HERE / "context_of_tff_tests.py", folder / "conftest.py")
    paths = [path for package in _PACKAGES for path in sorted((source / package).rglob("*.py"))]
    for path in [*paths, source / _SUPPORT]:
        relative = path.relative_to(source)
        if path.name.endswith("_test.py"):
            shutil.copy(path, folder / ("test_" + "__".join(relative.parts)))
        elif not (installed / "python" / relative).exists():
            copy = folder / "support" / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


def _run(files: Sequence[pathlib.Path], context: str, processes: int, report: pathlib.Path) -> None:
    """Tests some files in a context; what fails is in the report."""
    environment = {**os.environ, "FEDREC_TFF_CONTEXT": context, "PYTHONPATH": str(_PROJECT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line"]
    command += ["-W", "ignore", "-n", str(processes), "--dist=loadfile", f"--junitxml={report}"]
    # Tests are methods; functions whose names begin so are what tests call.
    command += ["-o", "python_functions="]
    print(f"{report.stem}: {len(files)} files; see {report.with_suffix('.txt')}", flush=True)
    with report.with_suffix(".txt").open("w") as output:
        child = child_processes.Child([*command, *map(str, files)], output, output, environment)
        try:
            while child.poll() is None:
                time.sleep(1)
        finally:
            child.end()
    if not report.exists():
        sys.exit(f"pytest did not end as it should: see {output.name}")


def _read(report: pathlib.Path) -> Outcomes:
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix("test_")
        failures = [*case.iter("failure"), *case.iter("error")]
        if failures:
            outcomes[name] = (failures[0].get("message") or "").strip().split("\n")[0]
        elif name not in outcomes:
            outcomes[name] = "passed" if case.find("skipped") is None else "skipped"
    return outcomes


def _show(output_dir: pathlib.Path, packages: Sequence[str]) -> None:
    print("| package | pass in native | pass compiled | refused | fail compiled alone |")
    print("| --- | --- | --- | --- | --- |")
    causes = collections.defaultdict(list)
    for package in packages:
        reports = [_report(output_dir, package, context) for context in _CONTEXTS]
        if not all(report.exists() for report in reports):
            continue
        native, compiled = map(_read, reports)
        expected = [name for name, outcome in native.items() if outcome == "passed"]
        others = {n: compiled.get(n, "did not run") for n in expected}
        others = {n: outcome for n, outcome in others.items() if outcome != "passed"}
        refused = [name for name, outcome in others.items() if _REFUSAL in outcome]
        for name, outcome in others.items():
            causes[re.sub(r"^[\w.]*\.(\w+Error)", r"\1", outcome)].append(name)
        numbers = (
            len(expected),
            len(expected) - len(others),
            len(refused),
            len(others) - len(refused),
        )
        print(f"| {package} | " + " | ".join(map(str, numbers)) + " |")
    for cause, names in sorted(causes.items()):
        print(f"\n{cause}")
        for name in sorted(names):
            print(f"  {name}")


if __name__ == "__main__":
    main()
