"""`experiments.export` and `experiments.recommend` as their user meets them."""

import json
import pathlib
import subprocess
import sys

import binaries
import forked_binaries
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "serving"))

import shipped_models


def _run_binary(binary, *arguments):
    process = binaries.start(binary, *arguments)
    return subprocess.CompletedProcess(arguments, *binaries.finish(process))


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return shipped_models.write_run(tmp_path_factory.mktemp("exported") / "run").root


@pytest.fixture(name="exported", scope="module")
def _exported(run):
    folder = run.parent / "export"
    return folder, _run_binary("export", str(run), f"--output_dir={folder}", "--k=4")


def test_an_export_says_what_it_wrote_and_nothing_else(exported):
    folder, ended = exported
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "starting TensorFlow\n"
    size = (folder / "tflite" / "encoder_int8.tflite").stat().st_size
    [line] = [line for line in ended.stdout.splitlines() if "encoder_int8.tflite" in line]
    assert line.split()[:2] == ["tflite/encoder_int8.tflite", f"{size:,}"]
    assert f"what it is and promises: {folder}/MODEL_CARD.md" in ended.stdout
    card = (folder / "MODEL_CARD.md").read_text()
    assert "python -m experiments.export .../run --output_dir=.../export --k=4\n" in card


def test_both_recommend_the_same_into_a_file_and_to_the_terminal(run, exported, tmp_path):
    folder, _ = exported
    histories = tmp_path / "people.jsonl"
    histories.write_text('{"name": "ann", "history": ["i3", "NA"]}\n{"history": []}\n')
    flags = [f"--histories={histories}", "--k=3"]
    output = tmp_path / "lists.jsonl"
    mistyped = "--history=Title 7; the flm (197)"
    ended, filed, refused = forked_binaries.run_all(
        "recommend",
        [
            [str(run), *flags, "--format=json"],
            [str(folder), *flags, f"--output={output}"],
            [str(folder), mistyped],
        ],
        ["tensorflow_federated", "fedrec_tff.serving.opening"],
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "starting TensorFlow\n"
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["history"] for row in found] == ["ann"] * 3 + ["2"] * 3
    assert (filed.returncode, filed.stdout) == (0, ""), filed.stderr
    again = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["item"] for row in again] == [row["item"] for row in found]
    # A title that is nearly one is told with what is alike.
    assert refused.returncode == 2
    assert "knows no item 'Title 7'" in refused.stderr
    assert "did you mean" in refused.stderr


@pytest.mark.parametrize(
    ("binary", "arguments", "message"),
    [
        ("export", ["{run}"], "--output_dir is required"),
        ("export", ["--output_dir=x"], "name the folder of one finished run"),
        ("export", ["{run}", "--output_dir={run}"], "there is something already"),
        ("export", ["{run}/ids", "--output_dir=x"], "holds no run"),
        ("export", ["{run}", "--output_dir=x", "--format=tflite"], "Did you mean: formats"),
        ("export", ["{run}", "--output_dir=x", "--k=0"], "--k"),
        ("recommend", ["{run}"], "give one of --history='...;...' and --histories=FILE"),
        ("recommend", ["{run}", "--history=i3", "--output=a.xlsx"], "end it with one of .csv"),
        ("recommend", ["{run}/ids", "--history=i3"], "neither a run nor an export"),
        ("recommend", ["{run}", "--history=i3", "--search=index"], "is a run, which has no index"),
    ],
)
def test_mistakes_are_one_line_before_tensorflow(run, binary, arguments, message):
    ended = _run_binary(binary, *(argument.format(run=run) for argument in arguments))
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr


@pytest.mark.parametrize("binary", ["export", "recommend"])
def test_help_answers_without_tensorflow(binary):
    ended = _run_binary(binary, "--help")
    assert ended.returncode == 0
    assert f"experiments.{binary}" in ended.stdout
    assert ended.stderr == ""
