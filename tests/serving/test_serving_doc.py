"""What docs/serving.md shows runs: its Python on an export, its commands by their flags."""

import json
import pathlib
import re

import numpy as np
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
    # As many as the page's requests ask for.
    items = shipped_models.create_items(100)
    run = finished_run.find(shipped_models.write_run(folder / "run", items=items).root)
    (folder / "exports").mkdir()
    export.export(run, folder / "exports" / "mine", export_checks.ExportConfig(default_k=5))
    return folder


def test_python_of_the_page_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert len(_CODE) == 2
    for code in _CODE:
        exec(compile(code, "docs/serving.md", "exec"), {})
        assert capsys.readouterr().out


def test_requests_of_the_page_are_answered_as_a_server_has_the_model(folder):
    """By a session of the graph, fed and fetched by the names of a signature's tensors.

    That is what TensorFlow Serving does with a SavedModel. Of its JSON: rows under `instances` are
    those of the only input, and texts are base64 where an output's name ends with `_bytes`.
    """
    import tensorflow as tf

    requests = [json.loads(body) for body in re.findall(r":predict -d '(.*)'", _PAGE)]
    assert len(requests) == 4
    path = str(folder / "exports" / "mine" / "saved_model" / "1")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
        for request in requests:
            signature = loaded.signature_def[request.get("signature_name", "serving_default")]
            assert signature.method_name == "tensorflow/serving/predict"
            assert not [name for name in signature.outputs if name.endswith("_bytes")]
            given = request.get("inputs", {"history": request.get("instances")})
            assert set(given) == set(signature.inputs)
            tensors = {}
            for name, value in given.items():
                known = signature.inputs[name]
                shape = tf.TensorShape(known.tensor_shape)
                assert shape.is_compatible_with(np.shape(value))
                dtype = tf.as_dtype(known.dtype).as_numpy_dtype
                tensors[known.name] = np.array(value, dtype)
            fetched = {name: info.name for name, info in signature.outputs.items()}
            found = session.run(fetched, tensors)
            # Rows that are answered as `instances` are as many as there were.
            assert {len(value) for value in found.values()} == {len(next(iter(given.values())))}


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
