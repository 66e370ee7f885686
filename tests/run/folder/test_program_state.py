"""Checkpoints hold a state to the bit, whole or as what changed, whatever breaks between."""

import asyncio
import collections
import itertools
import os
import pathlib
import tracemalloc
import zipfile

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import tree
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.models import two_tower
from fedrec_tff.run.folder import checkpoints, run_directory
from fedrec_tff.run.folder.program_state import opening, state_file, state_manager

_ROWS = 40
_ALL = frozenset(range(_ROWS))


@pytest.fixture(autouse=True, scope="module")
def _does_not_wait_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def _manager(folder, min_table_bytes=0):
    folder.mkdir(exist_ok=True)
    return state_manager.StateManager(folder, 3, min_table_bytes)


def _state(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "table": rng.normal(size=[_ROWS, 6]).astype(np.float32),
        "rest": collections.OrderedDict(
            deep=rng.normal(size=[_ROWS, 2, 3]),
            counts=[rng.integers(0, 9, [_ROWS]), (), np.zeros([0, 4], np.float32)],
        ),
        "flags": (rng.random([_ROWS, 3]) < 0.5, np.float32(rng.random())),
        "name": "ledger",
    }


def _change(state, rows, value):
    """The same state with another value in some rows of its tables."""

    def change(leaf):
        leaf = np.array(leaf)
        if leaf.ndim and len(leaf):
            leaf[rows] = np.asarray(value).astype(leaf.dtype)
        return leaf

    return {**tree.map_structure(change, {**state, "name": 0}), "name": state["name"]}


def _save(manager, state, version):
    asyncio.run(manager.save(state, version))


def _versions(manager):
    return asyncio.run(manager.get_versions())


def _bytes(state):
    """All that a state is made of: types, shapes and bits."""
    leaves = [np.asarray(leaf) for leaf in tree.flatten({**state, "name": 0})]
    return [(leaf.dtype.str, leaf.shape, leaf.tobytes()) for leaf in leaves]


def _check(manager, version, expected):
    found = asyncio.run(manager.load(version, _state(99)))
    assert _bytes(found) == _bytes(expected)
    assert found["name"] == expected["name"].encode()
    assert all(leaf.flags.writeable for leaf in tree.flatten(found["rest"]) if np.ndim(leaf))


def _base(folder, version):
    return state_file.find_base(folder / f"program_state_{version}")


_CHANGES = st.lists(
    st.tuples(
        st.one_of(st.sets(st.integers(0, _ROWS - 1), max_size=8), st.just(_ALL)),
        st.sampled_from([0.0, -0.0, 1.0, float("nan"), 1e-40]),
    ),
    min_size=1,
    max_size=8,
)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(changes=_CHANGES)
# A difference whose base is not among the two newest whole ones.
@hypothesis.example(changes=[({1}, 1.0), (_ALL, 2.0), (_ALL, 3.0)])
# Equal, and not the same.
@hypothesis.example(changes=[(_ALL, 0.0), ({1}, -0.0)])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_every_kept_checkpoint_is_its_state_to_the_bit(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("states")
    states, ever_whole = {1: _state()}, {1}
    _save(_manager(folder), states[1], 1)
    for version, (rows, value) in enumerate(changes, start=2):
        states[version] = _change(states[version - 1], sorted(rows), value)
        # Each in a session of its own: nothing is in the manager's memory.
        _save(_manager(folder), states[version], version)
        kept = _versions(_manager(folder))
        assert kept[-3:] == list(range(max(1, version - 2), version + 1))
        whole = {number for number in kept if _base(folder, number) is None}
        ever_whole |= whole
        assert len(whole) >= min(2, len(ever_whole))
        assert len(kept) <= 3 + 2
        for number in kept:
            _check(_manager(folder), number, states[number])
    with np.load(folder / f"program_state_{kept[0]}") as arrays:
        np.testing.assert_array_equal(arrays["flags/1"], states[kept[0]]["flags"][1])


def test_a_difference_has_the_rows_that_changed_and_gets_whole_by_the_rule(tmp_path):
    """Rows by an independent count: each of 1,000 has 4,096 bytes, and its number 8 more."""
    table = np.random.default_rng(0).normal(size=[1000, 512])
    manager, expected_bases, total, base = _manager(tmp_path), [None], 0, 1
    asyncio.run(manager.save({"table": table}, 1))
    for version in range(2, 12):
        table = table.copy()
        start = 90 * (version - 2)
        table[start : start + 90] += 1.0
        num_changed = 90 * (version - base)
        total += num_changed * (4096 + 8)
        if num_changed > 500 or total > 4096000:
            base, total = version, 0
        expected_bases.append(None if base == version else f"program_state_{base}")
        asyncio.run(manager.save({"table": table}, version))
        path = tmp_path / f"program_state_{version}"
        assert state_file.find_base(path) == expected_bases[-1]
        size = path.stat().st_size
        expected = 4096000 if base == version else num_changed * (4096 + 8)
        assert expected <= size <= expected + 2000
    assert expected_bases.count(None) == 3


def test_where_most_rows_change_or_tables_are_small_all_is_whole(tmp_path):
    state = _state()
    for min_bytes, rows, name in ((0, range(21), "dense"), (1 << 20, [3], "small")):
        folder = tmp_path / name
        manager = _manager(folder, min_bytes)
        for version in (1, 2, 3, 4):
            _save(manager, _change(state, list(rows), version), version)
        assert _versions(manager) == [2, 3, 4]
        assert [_base(folder, version) for version in (2, 3, 4)] == [None] * 3


@pytest.fixture(name="differing")
def _differing(tmp_path):
    """Whole checkpoints of rounds 1 and 2; those of 3, 4 and 5 are differences from the second."""
    states = {1: _state(), 2: _state(1)}
    for version in (3, 4, 5):
        states[version] = _change(states[version - 1], [version], 7.0)
    folder = tmp_path / "checkpoints"
    for version, state in states.items():
        _save(_manager(folder), state, version)
    assert _versions(_manager(folder)) == [1, 2, 3, 4, 5]
    assert [_base(folder, v) for v in (1, 2, 3)] == [None, None, "program_state_2"]
    return folder, states


def _flip(path, array_name):
    """Changes one bit of an array, as a bad disk would."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        found = archive.read(f"{array_name}.npy")[-16:]
    content[content.index(found)] ^= 1
    path.write_bytes(content)


def _replace_by_another(path):
    state_file.write(path, opening.to_arrays(_state(5)), None)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (pathlib.Path.unlink, "missing"),
        (lambda path: os.truncate(path, 500), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: _flip(path, "table"), "damaged"),
        (_replace_by_another, "damaged"),
    ],
)
def test_a_lost_base_is_named_with_the_way_out(differing, spoil, reason):
    folder, states = differing
    manager = _manager(folder)
    spoil(folder / "program_state_2")
    with pytest.raises(errors.UserError) as caught:
        _check(manager, 5, states[5])
    message = str(caught.value)
    assert f"which needs program_state_2 cannot be read: program_state_2 is {reason}" in message
    assert message.endswith("in the run's folder to go on from round 1")
    for number in (2, 3, 4, 5):
        path = folder / f"program_state_{number}"
        assert (f"checkpoints/{path.name}" in message) == path.exists()
        path.unlink(missing_ok=True)
    _check(manager, _versions(manager)[-1], states[1])


def test_a_damaged_difference_harms_no_other(differing):
    folder, states = differing
    _flip(folder / "program_state_5", "table:values")
    with pytest.raises(errors.UserError, match=r"round 5 cannot .* remove checkpoints/program_sta"):
        _check(_manager(folder), 5, states[5])
    (folder / "program_state_5").unlink()
    _check(_manager(folder), 4, states[4])
    # A state of other parts is not that of this run.
    with pytest.raises(errors.UserError, match="round 4 cannot be read"):
        asyncio.run(_manager(folder).load(4, {**_state(), "more": 1}))


class _Killed(BaseException):
    pass


_REMOVING = ((pathlib.Path, "unlink"),)
_WRITING = (
    *((os, "open"), (os, "fsync"), (zipfile.ZipFile, "open"), (zipfile.ZipFile, "close")),
    (pathlib.Path, "replace"),
)


@pytest.mark.parametrize(("steps", "stride"), [(_REMOVING, 1), (_WRITING, 17)])
def test_a_kill_between_two_steps_leaves_what_can_be_gone_on_from(
    tmp_path, monkeypatch, steps, stride
):
    """What touches the disk is cut off before its n-th call, for n = stride, 2 stride and so on."""
    states = {1: _state(), 2: _state(1)}
    for version in range(3, 12):
        # With the ninth, a difference is removed together with its base.
        rows = range(_ROWS) if version in (7, 8) else [version, version + 1]
        states[version] = _change(states[version - 1], list(rows), version)
    calls, last_call = 0, None

    def cut(owner, name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == last_call:
                raise _Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for owner, name in steps:
        cut(owner, name)
    directory = run_directory.RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    for number in itertools.count(1):
        folder = directory.checkpoints
        for path in folder.iterdir() if folder.exists() else ():
            path.unlink()
        calls, last_call, saved = 0, number * stride, 0
        try:
            for version, state in states.items():
                _save(_manager(folder), state, version)
                saved = version
        except _Killed:
            pass
        is_through, last_call = calls < number * stride, None
        run_directory.mend_after_crash(directory)
        found = (_versions(_manager(folder)) or [0])[-1]
        assert found in (saved, saved + 1)
        for version in _versions(_manager(folder)) or ():
            _check(_manager(folder), version, states[version])
        assert not list(folder.glob("*.partial"))
        if found < len(states):
            _save(_manager(folder), states[found + 1], found + 1)
            _check(_manager(folder), found + 1, states[found + 1])
        if is_through:
            break
    assert number > 10


def test_a_checkpoint_that_the_disk_has_otherwise_takes_no_other_away(tmp_path, monkeypatch):
    states = {version: _state(version) for version in range(1, 6)}
    manager = _manager(tmp_path)
    for version in range(1, 5):
        _save(manager, states[version], version)
    replace = pathlib.Path.replace

    def spoil(path, target):
        replace(path, target)
        _flip(target, "table")

    monkeypatch.setattr(pathlib.Path, "replace", spoil)
    with pytest.raises(errors.UserError, match=r"program_state_5 was written, and does not read"):
        _save(manager, states[5], 5)
    assert _versions(manager) == [2, 3, 4]
    _check(manager, 4, states[4])


def test_checkpoints_of_an_earlier_version_are_read_and_gone_on_from(tmp_path):
    directory = run_directory.RunDirectory(tmp_path)
    items = two_tower.ItemRows(np.eye(4, 2, dtype=np.float32), np.arange(4, dtype=np.float32))
    tower = tuple(np.full([2], number, np.float32) for number in range(11))
    weights = tff.learning.models.ModelWeights(two_tower.TwoTowerWeights(items, tower), ())
    state = tff.learning.templates.LearningAlgorithmState(
        weights, (), (), (), collections.OrderedDict(step=np.int32(3))
    )
    progress = {"state": state, "seconds": 1.5, "average": (), "ledger_digest": "abc"}
    earlier = tff.program.FileProgramStateManager(directory.checkpoints)
    asyncio.run(earlier.save(progress, 1))
    manager = _manager(directory.checkpoints)
    asyncio.run(manager.save(progress, 2))
    found = [asyncio.run(manager.load(version, progress)) for version in (1, 2)]
    for loaded in found:
        tree.map_structure(np.testing.assert_array_equal, loaded["state"], state)
        assert type(loaded["state"]) is type(state)
        assert (loaded["seconds"], loaded["ledger_digest"]) == (1.5, b"abc")
    for version in checkpoints.find_rounds(directory):
        model = checkpoints.read_model(directory, version, averages=False)
        tree.map_structure(np.testing.assert_array_equal, model, weights.trainable)
    for version in (3, 4):
        asyncio.run(manager.save(progress, version))
    assert checkpoints.find_rounds(directory) == (1, 2, 3, 4)
    (directory.checkpoints / "program_state_2").unlink()
    with pytest.raises(errors.UserError, match=r"and checkpoints/program_state_4 in .* round 1"):
        asyncio.run(manager.load(4, progress))
    with pytest.raises(errors.UserError, match=r"checkpoint of round 4 in .* cannot be read"):
        checkpoints.read_model(directory, 4, averages=False)
    asyncio.run(manager.remove_all())
    assert asyncio.run(manager.get_versions()) is None


def test_tensors_that_numpy_has_no_type_for_come_back(tmp_path):
    state = {"half": tf.constant([1.5, -2.0], tf.bfloat16), "texts": tf.constant(["a", "b\0"])}
    manager = _manager(tmp_path)
    asyncio.run(manager.save(state, 1))
    found = asyncio.run(manager.load(1, state))
    assert found["half"].dtype == state["half"].dtype
    np.testing.assert_array_equal(found["half"], state["half"].numpy())
    assert list(found["texts"]) == [b"a", b"b\0"]


def test_no_table_is_twice_in_memory_while_it_is_written(tmp_path):
    table = np.zeros([1 << 18, 64], np.float32)
    manager = _manager(tmp_path)
    tracemalloc.start()
    try:
        for version in (1, 2):
            asyncio.run(manager.save({"table": table}, version))
            table[::3] += 1.0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert _base(tmp_path, 2) == "program_state_1"
    assert peak < table.nbytes / 2
