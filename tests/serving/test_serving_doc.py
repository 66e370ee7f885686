"""What docs/serving.md shows runs: its Python on an export, its commands by their flags."""

import json
import pathlib
import re

import pytest
import shipped_models

from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving import export, export_checks

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "serving.md").read_text()
_CODE = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doc")
    run = finished_run.find(shipped_models.write_run(folder / "run").root)
    (folder / "exports").mkdir()
    export.export(run, folder / "exports" / "mine", export_checks.ExportConfig(default_k=5))
    return folder


def test_python_of_the_page_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert len(_CODE) == 2
    for code in _CODE:
        exec(compile(code, "docs/serving.md", "exec"), {})
        assert capsys.readouterr().out


def test_requests_of_the_page_name_signatures_and_their_inputs(folder):
    import tensorflow as tf

    signatures = tf.saved_model.load(
        str(folder / "exports" / "mine" / "saved_model" / "1")
    ).signatures
    requests = [json.loads(body) for body in re.findall(r":predict -d '(.*)'", _PAGE)]
    assert len(requests) == 4
    for request in requests:
        signature = signatures[request.get("signature_name", "serving_default")]
        _, inputs = signature.structured_input_signature
        # Rows without names are those of the only input.
        given = request.get("inputs", {"history": request.get("instances")})
        assert set(given) == set(inputs)
        for name, value in given.items():
            assert tf.constant(value, inputs[name].dtype).shape.rank == inputs[name].shape.rank


@pytest.mark.parametrize("binary", ["export", "recommend"])
def test_commands_of_the_page_have_flags_that_there_are(binary):
    source = (_ROOT / "experiments" / f"{binary}.py").read_text()
    defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source))
    commands = re.findall(rf"python -m experiments\.{binary} (.*)", _PAGE)
    assert commands
    for command in commands:
        assert set(re.findall(r"--(\w+)", command)) <= defined
    # And all of them are told.
    assert all(f"--{name}" in _PAGE for name in defined)
