"""Listing, describing and checking models, as their authors meet it."""

import functools

import binaries
import plugin_binaries
import pytest

ROOT = plugin_binaries.ROOT
CAUSAL = "examples/custom_model/causal_convolutions.py:build_causal_convolutions"

run_main = functools.partial(plugin_binaries.run_main, "experiments.models")


def test_list_and_describe_know_entry_points(tmp_path):
    plugin_binaries.write_package(
        tmp_path,
        "fedrec_tff.models",
        "import tensorflow\n\n\n"
        "def build(context, *, depth: int, fast: bool = True):\n"
        '    """Digs.\n\n    Args:\n      context: Not used.\n      depth: In feet.\n    """\n',
    )
    status, text, _, imported_tensorflow = run_main("list", path=tmp_path)
    assert (status, imported_tensorflow) == (0, False)
    rows = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert rows["--query_tower=attention"] == "causal self-attention"
    assert rows["--model=somebodys"] == "Digs."
    assert "cannot be used" in rows["--model=broken"]
    status, text, _, imported_tensorflow = run_main("describe", "somebodys", path=tmp_path)
    assert (status, imported_tensorflow) == (0, False)
    assert text.startswith("somebodys\n  somebody:build\n\nDigs.\n")
    assert "depth: int, must be given\n    In feet." in text
    assert "--model=somebodys \\\n      --model_param depth=<int>" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "write one of: list"),
        (["describe", "attention"], "chosen by --query_tower"),
        (["list", "--embedding_dim=3"], "--embedding_dim means nothing without check"),
        (["check", CAUSAL, "--model_param", "widht=3"], "did you mean width"),
    ],
)
def test_a_wrong_command_is_told_in_one_line_at_once(arguments, message):
    status, text, error, imported_tensorflow = run_main(*arguments)
    assert (status, text, imported_tensorflow) == (2, "", False)
    assert message in error
    assert "\n" not in error


def test_the_module_is_a_binary():
    child = binaries.run("models", "lst")
    assert child.returncode == 2
    assert child.stderr.startswith("models: 'lst' is no command")


def test_check_says_what_is_wrong_and_fails():
    broken = f"{ROOT / 'tests/models/broken_towers.py'}:build_looking_ahead"
    status, text, _, _ = run_main("check", broken, "--embedding_dim=4")
    assert status == 1
    *passed, last = [line.split(maxsplit=1) for line in text.splitlines()]
    assert {status for status, _ in passed} == {"OK"}
    assert last[0] == "FAIL"
    assert last[1].split(maxsplit=1)[1].startswith("encode_sequence looks ahead")
