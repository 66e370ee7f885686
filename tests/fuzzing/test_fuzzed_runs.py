"""Folders of runs and exports that may hold anything: opened, or refused in a line."""

import asyncio
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import strategies as st

import fedrec_tff
from fedrec_tff.datasets import sequences
from fedrec_tff.run.finished import checkpointed_run, finished_run
from fedrec_tff.run.folder.program_state import opening, state_file, state_manager
from fedrec_tff.serving import export, promise
from fedrec_tff.serving import opening as serving_opening
from tests.fuzzing import cases
from tests.serving import shipped_models


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "run"
    results = {"seconds": 1.0, "users_per_second": 2.0, "test/recall@10": 0.5}
    return shipped_models.write_run(folder, results, rounds=3)


@pytest.fixture(name="exported", scope="module")
def _exported(tmp_path_factory, run):
    folder = tmp_path_factory.mktemp("good") / "export"
    export.export(finished_run.find(run.root), folder)
    return folder


def _copy(tmp_path_factory, folder):
    root = tmp_path_factory.mktemp("c") / "copy"
    shutil.copytree(folder, root)
    return root


def _use(folder):
    """What people do with a finished run."""
    run = fedrec_tff.load(folder)
    assert repr(run)
    assert str(run)
    assert run.privacy_statement
    assert run.epsilon is None or run.epsilon >= 0.0
    promise.read(run.results)
    table = run.recommend(["i5", "i7"], k=3)
    assert len(table) <= 3
    assert np.isfinite(table["score"].to_numpy(float)).all()
    return run.model


_JSON_FILES = st.sampled_from(["config.json", "results.json"])
_FILES = st.sampled_from(["config.json", "results.json", "model.npz", "ids/item_ids.csv"])


@cases.fuzz_times(20, name=_JSON_FILES, edits=cases.EDITS)
def test_a_run_with_other_json(tmp_path_factory, run, name, edits):
    root = _copy(tmp_path_factory, run.root)
    document = json.loads((root / name).read_text())
    if name == "config.json" and len(edits) > 1:
        document["flags"] = cases.edit(document["flags"], edits)
    else:
        document = cases.edit(document, edits)
    (root / name).write_text(json.dumps(document))
    with cases.leaves_alone(root):
        cases.accepts_or_refuses(lambda: _use(root))


@cases.fuzz_times(15, name=_FILES, changes=cases.DAMAGES)
def test_a_damaged_run(tmp_path_factory, run, name, changes):
    root = _copy(tmp_path_factory, run.root)
    (root / name).write_bytes(cases.damage((root / name).read_bytes(), changes))
    with cases.leaves_alone(root):
        cases.accepts_or_refuses(lambda: _use(root))


@st.composite
def _arrays(draw):
    """An array of any type and shape; of objects, too, which are pickled in files."""
    kind = draw(
        st.sampled_from(["f4", "f8", "f2", "i4", "u1", "?", "c8", "U3", "S2", "M8[s]", "O"])
    )
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    value = draw(st.sampled_from([0, 1, float("nan"), float("inf"), -1]))
    try:
        return np.full(shape, value, kind)
    except (ValueError, OverflowError, TypeError):
        return np.zeros(shape, kind)


def _replace_arrays(path, arrays, changes):
    """Writes a file of arrays again, with others in it."""
    with np.load(path) as stored:
        content = dict(stored)
    for name, array in arrays.items():
        content[name if name in content else f"more/{name}"] = array
    stream = io.BytesIO()
    np.savez(stream, **content)
    damaged = stream.getvalue() if changes is None else cases.damage(stream.getvalue(), changes)
    path.write_bytes(damaged)


_NAMES = st.sampled_from(["items/embedding", "items/bias", "tower/0", "tower/x", "tower/1", "a"])


@cases.fuzz_times(
    15,
    arrays=st.dictionaries(_NAMES, _arrays(), min_size=1, max_size=2),
    changes=cases.DAMAGES | st.none(),
)
def test_a_run_with_other_arrays(tmp_path_factory, run, arrays, changes):
    root = _copy(tmp_path_factory, run.root)
    _replace_arrays(root / "model.npz", arrays, changes)
    cases.accepts_or_refuses(lambda: _use(root))


def test_what_is_no_array_in_a_model_is_refused(tmp_path_factory, run):
    """NumPy gives such a member of the archive as bytes; atheris found it."""
    root = _copy(tmp_path_factory, run.root)
    with zipfile.ZipFile(root / "model.npz", "a") as archive:
        archive.writestr("more", b"no array")
    with pytest.raises(fedrec_tff.UserError, match=r"model\.npz"):
        _use(root)


def _state():
    rng = np.random.default_rng(0)
    return {
        "state": {"table": rng.normal(size=[20, 4]).astype(np.float32), "count": np.int64(3)},
        "flags": rng.random(7) < 0.5,
        "name": "ledger",
    }


@pytest.fixture(name="checkpoints", scope="module")
def _checkpoints(tmp_path_factory):
    """A whole checkpoint, and one that has the rows that changed."""
    folder = tmp_path_factory.mktemp("good") / "checkpoints"
    folder.mkdir()
    manager = state_manager.StateManager(folder, 3, 0)
    state = _state()
    asyncio.run(manager.save(state, 1))
    state["state"]["table"] = state["state"]["table"].copy()
    state["state"]["table"][3] = 7.0
    asyncio.run(manager.save(state, 2))
    assert state_file.find_base(folder / "program_state_2") == "program_state_1"
    return folder


def _bytes(state):
    leaves = opening.name_leaves(state).values()
    return [np.asarray(leaf).tobytes() for leaf in leaves if not isinstance(leaf, str | bytes)]


@cases.fuzz_times(30, changes=cases.DAMAGES, version=st.sampled_from([1, 2]))
def test_a_damaged_checkpoint_is_the_same_or_refused(
    tmp_path_factory, checkpoints, changes, version
):
    folder = _copy(tmp_path_factory, checkpoints)
    sound = asyncio.run(state_manager.StateManager(folder, 3, 0).load(version, _state()))
    path = folder / f"program_state_{version}"
    path.write_bytes(cases.damage(path.read_bytes(), changes))
    manager = state_manager.StateManager(folder, 3, 0)
    with cases.leaves_alone(folder):
        for number in (1, 2):
            found = cases.accepts_or_refuses(
                lambda number=number: asyncio.run(manager.load(number, _state())),
                ("program_state_",),
            )
            if found is not None and number == version:
                assert _bytes(found) == _bytes(sound)


_ABOUTS = cases.VALUES | st.fixed_dictionaries(
    {"base": cases.VALUES | st.sampled_from(["program_state_1", "../x", "/etc/passwd"])},
    optional={"base_digest": cases.VALUES, "num_bytes": cases.VALUES, "more": cases.VALUES},
)


@cases.fuzz_times(
    15, about=_ABOUTS, arrays=st.dictionaries(st.text("ab:/.", max_size=5), _arrays())
)
def test_a_checkpoint_of_other_arrays(tmp_path_factory, about, arrays):
    folder = tmp_path_factory.mktemp("c")
    with zipfile.ZipFile(folder / "program_state_4", "w") as archive:
        archive.writestr("about.json", json.dumps(about))
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array, (2, 0))
            archive.writestr(f"{name}.npy", stream.getvalue())
    manager = state_manager.StateManager(folder, 3, 0)
    cases.accepts_or_refuses(lambda: asyncio.run(manager.load(4, _state())), ("program_state_",))
    state_file.find_base(folder / "program_state_4")


@cases.fuzz_times(5, name=st.text(max_size=6) | st.sampled_from(["config.json", "@3", "@", "@x"]))
def test_any_place_of_a_run(tmp_path_factory, run, name):
    root = tmp_path_factory.mktemp("c")
    for place in (str(root / name) if "\0" not in name else name, f"{run.root}{name}"):
        cases.accepts_or_refuses(lambda place=place: checkpointed_run.find(place))
        cases.accepts_or_refuses(lambda place=place: serving_opening.open_portable(place))
        cases.accepts_or_refuses(lambda place=place: serving_opening.check_can_be_opened(place))


def _recommend(root):
    model = serving_opening.open_recommender(root)
    items, scores = model.top_k(sequences.from_rows([np.array([1, 2], np.int32)]), 3)
    assert items.shape == scores.shape == (1, 3)
    assert model.item_vectors.shape[0] == len(model.items.ids)
    return items


@pytest.mark.slow
@cases.fuzz_times(5, edits=cases.EDITS)
def test_an_export_with_another_manifest(tmp_path_factory, exported, edits):
    root = _copy(tmp_path_factory, exported)
    path = root / "export.json"
    path.write_text(json.dumps(cases.edit(json.loads(path.read_text()), edits)))
    with cases.leaves_alone(root):
        cases.accepts_or_refuses(lambda: _recommend(root))
        cases.accepts_or_refuses(lambda: serving_opening.open_portable(root))


@pytest.mark.slow
@cases.fuzz_times(
    5,
    name=st.sampled_from(["export.json", "items.csv", "saved_model.pb", "variables.index"]),
    changes=cases.DAMAGES,
)
def test_a_damaged_export(tmp_path_factory, exported, name, changes):
    root = _copy(tmp_path_factory, exported)
    (path,) = (found for found in root.rglob(name) if "tflite" not in found.parts)
    path.write_bytes(cases.damage(path.read_bytes(), changes))
    cases.accepts_or_refuses(lambda: _recommend(root), (str(root),))
