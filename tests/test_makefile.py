"""The ways in: what `make setup` says and does without a network, and what the lock holds."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_TOOLS = ("sh", "uname", "rm", "touch", "echo")


@pytest.fixture
def checkout(tmp_path):
    """A bare checkout, as far as `make setup` needs one, and an empty-handed PATH beside it."""
    (tmp_path / "checkout").mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-docs.txt", "pyproject.toml"):
        shutil.copy(_ROOT / name, tmp_path / "checkout" / name)
    (tmp_path / "bin").mkdir()
    for tool in _TOOLS:
        if found := shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path / "checkout"


def _make(checkout: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    # The suite itself may run under make, whose flags would leak in.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["PATH"] = str(checkout.parent / "bin")
    return subprocess.run(
        [shutil.which("make"), *arguments],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _add_program(checkout: pathlib.Path, name: str, script: str) -> None:
    path = checkout.parent / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _lines_not_from_make(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("make")]


def test_no_python_311_is_one_line_and_touches_nothing(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "kept").touch()

    result = _make(checkout, "setup")

    assert result.returncode != 0
    assert _lines_not_from_make(result.stdout) == []
    [line] = _lines_not_from_make(result.stderr)
    assert "No Python 3.11 found" in line
    assert "PYTHON=" in line
    assert (checkout / ".venv" / "kept").exists()


def test_the_site_looks_for_python_itself_and_needs_no_other_environment(checkout):
    (checkout / ".venv-docs").mkdir()
    (checkout / ".venv-docs" / "kept").touch()

    result = _make(checkout, "docs")

    assert result.returncode != 0
    [line] = _lines_not_from_make(result.stderr)
    assert "No Python 3.11 found" in line
    assert (checkout / ".venv-docs" / "kept").exists()


def test_failing_shim_is_not_taken_for_python(checkout):
    _add_program(checkout, "python3.11", "echo 'no such version' >&2; exit 127")

    result = _make(checkout, "setup")

    [line] = _lines_not_from_make(result.stderr)
    assert "No Python 3.11 found" in line


def test_named_python_that_is_none_is_told(checkout):
    result = _make(checkout, "setup", "PYTHON=no-such-python")

    [line] = _lines_not_from_make(result.stderr)
    assert line == "PYTHON=no-such-python is not a Python 3.11 that runs."


def test_other_platform_is_told_before_anything_is_made(checkout):
    (checkout.parent / "bin" / "uname").unlink()
    _add_program(checkout, "uname", '[ "$1" = -s ] && echo Darwin || echo arm64')

    result = _make(checkout, "setup")

    [line] = _lines_not_from_make(result.stderr)
    assert "this is Darwin arm64" in line
    assert not (checkout / ".venv").exists()


def _add_stand_in_python(checkout: pathlib.Path, pip_exit_code: int) -> None:
    """A Python 3.11 that makes environments like itself, in which pip ends with the given code."""
    answers = (
        '"-c "*) echo "$0"',
        '"-m venv") mkdir -p .venv/bin; ln -s "$0" .venv/bin/python',
        f"*) exit {pip_exit_code}",
    )
    _add_program(checkout, "python3.11", f'case "$1 $2" in {";; ".join(answers)};; esac')
    for tool in ("mkdir", "ln"):
        (checkout.parent / "bin" / tool).symlink_to(shutil.which(tool))


def test_failed_installation_is_not_taken_for_good(checkout):
    _add_stand_in_python(checkout, pip_exit_code=1)

    result = _make(checkout, "setup")

    assert result.returncode != 0
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert _make(checkout, "-q", "setup").returncode == 1


def test_installation_is_stamped_once_and_renewed_with_the_lock(checkout):
    _add_stand_in_python(checkout, pip_exit_code=0)

    first = _make(checkout, "setup")
    (checkout / ".venv" / "left-over").touch()
    second = _make(checkout, "setup")

    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 1
    assert "Nothing to be done" in second.stdout
    assert _make(checkout, "-q", "setup").returncode == 0

    stamp = (checkout / ".venv" / ".installed").stat()
    os.utime(checkout / "requirements.txt", (stamp.st_mtime + 60, stamp.st_mtime + 60))

    assert _make(checkout, "-q", "setup").returncode == 1
    assert "Installing" in _make(checkout, "setup").stdout
    assert not (checkout / ".venv" / "left-over").exists()


def test_the_package_is_installed_without_a_network_after_the_environment(checkout):
    _add_stand_in_python(checkout, pip_exit_code=0)
    # Keeps what it is called with; the environment's Python is a link to it.
    stand_in = checkout.parent / "bin" / "python3.11"
    log = checkout.parent / "calls"
    stand_in.write_text(stand_in.read_text().replace("case", f'echo "$@" >> {log}; case', 1))

    assert _make(checkout, "setup").returncode == 0

    *_, locked, package = log.read_text().splitlines()
    assert "--require-hashes -r requirements.txt" in locked
    assert package.endswith("--no-index --no-deps --no-build-isolation --editable .")

    log.unlink()
    stamp = (checkout / ".venv" / ".package").stat()
    os.utime(checkout / "pyproject.toml", (stamp.st_mtime + 60, stamp.st_mtime + 60))
    (checkout / ".venv" / "kept").touch()

    assert _make(checkout, "setup").returncode == 0
    assert log.read_text().splitlines() == [package]
    assert (checkout / ".venv" / "kept").exists()


def test_default_target_is_help(checkout):
    result = _make(checkout)

    assert result.returncode == 0
    for target in ("setup", "demo", "test", "mutants", "lint", "clean"):
        assert f"make {target}" in result.stdout


def _locked_requirements() -> list[str]:
    text = (_ROOT / "requirements.txt").read_text().replace("\\\n", " ")
    return [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


def test_lock_pins_and_hashes_every_package():
    for line in _locked_requirements():
        assert re.fullmatch(r"[a-z0-9-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+", line), line


def test_lock_holds_the_fixed_stack_and_the_override():
    pins = {line.split()[0] for line in _locked_requirements()}

    assert {
        "tensorflow==2.14.1",
        "tensorflow-federated==0.87.0",
        "tensorflow-privacy==0.9.0",
        "tensorflow-recommenders==0.7.3",
        "jax==0.4.18",
        "jaxlib==0.4.18",
    } <= pins


def test_lock_names_no_index():
    text = (_ROOT / "requirements.txt").read_text()

    assert "://" not in text
    assert not re.search(r"^\s*(--(extra-)?index-url|--find-links|-i|-f)\b", text, re.MULTILINE)


def test_every_direct_dependency_is_locked():
    locked = {line.split("==")[0] for line in _locked_requirements()}
    source = (_ROOT / "requirements.in").read_text()
    direct = {
        re.match(r"[A-Za-z0-9_-]+", line).group().lower()
        for line in source.splitlines()
        if line and not line.startswith("#")
    }

    assert direct - locked == set()
