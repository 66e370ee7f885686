"""`fedrec`, which is `python -m experiments`: lists the binaries, and runs them as they are."""

import pathlib
import subprocess
import sys
import tomllib

import pytest

import experiments.__main__ as command

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(*words):
    return subprocess.run(
        [sys.executable, *words], cwd=_ROOT, capture_output=True, text=True, check=False
    )


def test_every_binary_is_listed_with_a_sentence_of_its_own():
    binaries = {
        path.stem
        for path in (_ROOT / "experiments").glob("*.py")
        if "app.run(main)" in path.read_text()
    }
    assert set(command.NAMES) == binaries
    for name in command.NAMES:
        [line] = [line for line in command.describe().splitlines() if line.split()[:1] == [name]]
        summary = line.split(maxsplit=1)[1]
        assert summary[0].isupper()
        assert summary.endswith(".")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_without_a_name_it_lists(capsys, arguments):
    assert command.main(arguments) == 0
    assert capsys.readouterr().out == f"{command.describe()}\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [("trian", "did you mean train?"), ("app", "there is no command 'app'"), ("x.y", "choose one")],
)
def test_an_unknown_name_is_one_line(capsys, name, message):
    assert command.main([name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["--helpfull"], ["--rounds=0", "--output_dir=x"], ["--rounds=3"]],
)
def test_a_binary_says_what_it_says_by_itself(arguments):
    by_itself = _run("-m", "experiments.train", *arguments)
    found = _run("-m", "experiments", "train", *arguments)
    assert found.returncode == by_itself.returncode
    assert found.stdout == by_itself.stdout
    assert found.stderr == by_itself.stderr


def test_a_name_may_have_hyphens():
    found = _run("-m", "experiments", "plan-privacy", "--num_users=-1")
    assert found.returncode in (1, 2)
    assert "num_users" in found.stderr


def test_the_installed_command_is_this_one():
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"fedrec": "experiments.__main__:main"}
