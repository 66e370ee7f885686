"""Files of others are data: nothing in them is run, but code that somebody named.

What `docs/files_of_others.md` promises: neither pickled objects nor evaluated text, in the source
and by files that would tell if they were run.
"""

import ast
import io
import json
import pathlib
import pickle
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import fedrec_tff
from fedrec_tff import errors
from fedrec_tff.aggregators import chain
from fedrec_tff.datasets import feature_tables, loading, tables
from fedrec_tff.datasets.dataset_config import DatasetConfig
from fedrec_tff.plugins import loading as plugin_loading
from fedrec_tff.run.finished import finished_run, named_code
from fedrec_tff.run.folder import model_file, run_directory, stored_files
from fedrec_tff.run.folder.program_state import state_file
from fedrec_tff.serving import history_files
from fedrec_tff.serving.compression import compact_file
from fedrec_tff.studies.report import inputs
from tests.serving import shipped_models

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SOURCES = [
    path for folder in ("fedrec_tff", "experiments") for path in (_ROOT / folder).rglob("*.py")
]
_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
_NAMES = {"eval", "exec", "compile", "__import__", "execfile"}
_ATTRIBUTES = {
    *("read_pickle", "to_pickle", "extractall", "unsafe_load", "full_load"),
    *("exec_module", "import_module", "load_module", "run_path", "run_module", "system", "popen"),
    *("unpack_archive", "find_spec"),
}
# Each with the reason.
_ALLOWED = {
    # The public names of the package, each from a module that stands in the source.
    ("fedrec_tff/__init__.py", "import_module"): "a table in the source",
    ("fedrec_tff/aggregators/aggregator.py", "import_module"): "built-in builders, by a table",
    ("fedrec_tff/benchmarks/child.py", "import_module"): "a module of a table in the source",
    ("fedrec_tff/serving/index_libraries.py", "import_module"): "one of two names, checked",
    ("fedrec_tff/serving/onnx_model.py", "import_module"): "names in the source",
    ("fedrec_tff/studies/baselines/session.py", "import_module"): "a table in the source",
    ("fedrec_tff/accelerator/worker/start.py", "exec_module"): "this package, in another process",
    ("experiments/__main__.py", "run_module"): "a binary of this package",
    ("experiments/__main__.py", "find_spec"): "a binary of this package",
    ("fedrec_tff/run/tracking/tracker_packages.py", "find_spec"): "a table in the source",
    ("fedrec_tff/benchmarks/plan.py", "find_spec"): "a name in the source",
    ("fedrec_tff/cluster/ray_package.py", "find_spec"): "a name in the source",
    ("fedrec_tff/serving/export_checks.py", "find_spec"): "names in the source",
    # Code of somebody's own, by a flag that names it.
    ("fedrec_tff/plugins/loading.py", "import_module"): "a builder that was named",
    ("fedrec_tff/plugins/loading.py", "exec_module"): "a file that was named",
    ("fedrec_tff/plugins/signatures.py", "find_spec"): "of finders, one name at a time: no import",
    # Of an archive whose checksum is in the source; members are checked, and links refused.
    ("fedrec_tff/datasets/download.py", "extractall"): "a download, into a folder of its own",
}


def _find_calls(path):
    """What of the source could run something that a file holds."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (name for name in names if name.partition(".")[0] in _MODULES)
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in _NAMES:
            yield node.func.id
        if isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, ast.unparse(node.func.value)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in _ATTRIBUTES and not (name == "compile" and owner == "re"):
                yield name
            if owner in ("torch", "yaml", "joblib") and name == "load":
                yield f"{owner}.load"
            if keywords.get("allow_pickle", "False") != "False":
                yield "allow_pickle"
            if (owner, name) == ("np", "load") and "allow_pickle" not in keywords:
                yield "np.load"
            if name in ("run", "Popen", "call", "check_output") and keywords.get("shell"):
                yield "shell"


def test_the_source_runs_nothing_that_a_file_holds():
    found = {
        (str(path.relative_to(_ROOT)), call) for path in _SOURCES for call in _find_calls(path)
    }
    assert found == _ALLOWED.keys()


class _Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self._marker = marker

    def __reduce__(self):
        return open, (str(self._marker), "w")


@pytest.fixture(name="marker")
def _marker(tmp_path):
    """A file that is there if something was run."""
    marker = tmp_path / "was-run"
    pickle.loads(pickle.dumps(_Planted(marker))).close()
    assert marker.exists()
    marker.unlink()
    yield marker
    assert not marker.exists()


def _write_npy(path, marker):
    np.save(path, np.array([_Planted(marker)], object), allow_pickle=True)


def _write_npz(path, marker):
    planted = np.array([_Planted(marker)], object)
    names = ("items/embedding", "items/bias", "tower/0", "form", "about.json", "counts")
    with path.open("wb") as file:
        np.savez(file, **dict.fromkeys(names, planted))


def _write_pickle(path, marker):
    path.write_bytes(pickle.dumps(_Planted(marker)))


@pytest.mark.parametrize("write", [_write_npy, _write_npz, _write_pickle])
def test_pickled_objects_in_files_of_arrays_are_refused(tmp_path, marker, write):
    path = tmp_path / "planted"
    with path.open("wb"):
        write(path, marker)
    if not path.stat().st_size:
        path = path.with_suffix(".npy")
    for read in (model_file.read_arrays, model_file.read_named, compact_file.load):
        with pytest.raises(errors.UserError, match="planted"):
            read(path)
    for read in (stored_files.read_arrays, stored_files.read_array):
        with pytest.raises(ValueError, match="no "):
            read(path)
    with pytest.raises(ValueError, match="no array"):
        stored_files.read_array(path.read_bytes())
    with pytest.raises(state_file.DamagedFileError):
        state_file.StateFile(path)


@pytest.mark.filterwarnings("ignore:.*PyExtensionType")
def test_pickled_objects_in_tables_are_bytes(tmp_path, marker):
    pickled = pickle.dumps(_Planted(marker))
    frame = pd.DataFrame({"user": ["a"] * 3, "item": list("xyz"), "history": [pickled] * 3})
    path = tmp_path / "events.parquet"
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # What PyArrow before 14.0.1 unpickled when it read a schema (CVE-2023-47248).
    extension = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickled,
    }
    field = pa.field("history", pa.binary(), metadata=extension)
    schema = pa.schema([table.schema.field(0), table.schema.field(1), field])
    parquet.write_table(table.cast(schema).replace_schema_metadata({"pandas": pickled}), path)

    assert tables.read(path, tables.TableColumns("user", "item"))[0].num_interactions == 3
    assert tables.read_names(path) == ["user", "item", "history"]
    feature_tables.read(path, "item")
    with pytest.raises(errors.UserError, match=r"events\.parquet"):
        history_files.read(path)
    (tmp_path / "events.csv").write_bytes(b"user,item\n" + pickled)
    with pytest.raises(errors.UserError, match=r"events\.csv"):
        tables.read(tmp_path / "events.csv", tables.TableColumns("user", "item"))


# What reports ask of a run.
_RESULTS = {"git_revision": "abc", "versions": {}, "seconds": 1.0, "users_per_second": 1.0}
_TEXT = "open({!r}, 'w').close()\n\n\ndef build(context):\n    return None\n"


def test_files_of_code_that_lie_about_are_not_run(tmp_path, marker, monkeypatch):
    """Neither in the folder of data, nor in that of a run, nor in the one at hand."""
    monkeypatch.chdir(tmp_path)
    root = shipped_models.write_run(tmp_path / "run", _RESULTS).root
    data = tmp_path / "data"
    data.mkdir()
    (data / "events.csv").write_text("user,item\n" + "".join(f"u,{i}\n" for i in range(5)))
    code = _TEXT.format(str(marker))
    for folder in (tmp_path, root, root / "ids", data):
        for name in ("conftest", "sitecustomize", "plugin", "__init__", "usercustomize"):
            (folder / f"{name}.py").write_text(code)
    (data / "plugin.py").rename(data / "_plugin.py")

    fedrec_tff.load(root).recommend(["i5"], 2)
    inputs.read([root])
    run_directory.read_config(run_directory.RunDirectory(root))
    loading.load(
        DatasetConfig(
            "csv", data_path=data / "events.csv", columns=tables.TableColumns("user", "item")
        )
    )


@pytest.fixture(name="stranger")
def _stranger(tmp_path, marker):
    """A run whose configuration names code beside it, and writes down the code's digest."""
    code = tmp_path / "tower.py"
    code.write_text(_TEXT.format(str(marker)))
    directory = shipped_models.write_run(tmp_path / "run", _RESULTS)
    config = json.loads(directory.config.read_text())
    config["flags"]["model"] = f"{code}:build"
    directory.config.write_text(json.dumps(config))
    return directory


def test_code_that_a_run_names_is_not_run_unless_it_is_named_again(stranger, tmp_path, marker):
    with pytest.raises(errors.UserError, match=r"code would be run: .* --model=.*tower\.py:build"):
        finished_run.find(stranger.root)
    with pytest.raises(errors.UserError, match=r"code would be run: .* model=.*tower\.py:build"):
        fedrec_tff.load(stranger.root)
    with pytest.raises(errors.UserError, match="code would be run"):
        fedrec_tff.load(stranger.root, model=f"{tmp_path}/another.py:build")
    inputs.read([stranger.root])
    assert not marker.exists()

    # Named, it is run when the model is asked for.
    run = fedrec_tff.load(stranger.root, model=f"{tmp_path}/tower.py:build")
    assert not marker.exists()
    with pytest.raises(errors.UserError, match="the builder returned NoneType"):
        run.recommend(["i5"], 2)
    assert marker.exists()
    marker.unlink()


def test_code_that_has_changed_since_training_is_refused(stranger, tmp_path):
    config = json.loads(stranger.config.read_text())
    config["derived"] = {"model_digest": "of what it was"}
    stranger.config.write_text(json.dumps(config))
    with pytest.raises(errors.UserError, match=r"another version of .*tower\.py:build: restore"):
        fedrec_tff.load(stranger.root, model=f"{tmp_path}/tower.py:build")


def test_no_code_need_be_named_that_an_installed_package_offers(monkeypatch):
    monkeypatch.setattr(plugin_loading, "entry_points", lambda flag: {"theirs": "a.b:c"})
    named_code.check("theirs", (), "config.json")
    named_code.check(None, (), "config.json")
    with pytest.raises(errors.UserError, match="code would be run"):
        named_code.check("a.b:c", (), "config.json")


def test_reading_what_a_builder_takes_imports_no_package(tmp_path, marker, monkeypatch):
    package = tmp_path / "strange_package"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (package / "steps.py").write_text("def build(context, a: int = 2):\n    return None\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    found = chain.parse("strange_package.steps:build", ("a=3",))

    assert found.terminal.builder == "strange_package.steps:build"
    assert "strange_package" not in sys.modules
    with pytest.raises(errors.UserError, match=r"no module strange_package\.nothing"):
        chain.parse("strange_package.nothing:build", ())


def test_a_compact_model_runs_no_code_that_is_not_named(tmp_path, marker):
    path = tmp_path / "compact.npz"
    (tmp_path / "tower.py").write_text(_TEXT.format(str(marker)))
    builder = f"{tmp_path}/tower.py:build"
    plugin = {"name": builder, "builder": builder, "parameters": []}
    config = {"embedding_dim": 2, "history_length": 3, "plugin": plugin}
    form = {"format": 1, "config": config, "embedding": {}, "bias": {}, "tower": []}
    with path.open("wb") as file:
        np.savez(file, form=np.frombuffer(json.dumps(form).encode(), np.uint8))
    with pytest.raises(errors.UserError, match="code would be run"):
        compact_file.load(path, ())


def test_archives_give_one_file_and_write_none(tmp_path):
    """A member whose name leads elsewhere is read in memory, as any other."""
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../escaped.csv", "user,item\na,x\n")
    (tmp_path / "events.csv.zip").write_bytes(stream.getvalue())
    log, _ = tables.read(tmp_path / "events.csv.zip", tables.TableColumns("user", "item"))
    assert log.num_interactions == 1
    assert not list(tmp_path.parent.rglob("escaped.csv"))
