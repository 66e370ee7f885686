"""A preparation of data that is cut short at any write: the same command ends with the same bytes.

Until it has, no run takes the folder for data.
"""

import random
import re

import filmed_work
import pytest
from faulty_runs import FLAGS, to_argv

from fedrec_tff import errors
from fedrec_tff.datasets.prepared import folder as prepared_folder

_SEED = 3
_STRIDE, _BODY_STRIDE = 5, 24
_BODY = re.compile(r"rows/|\.spool")
# What is there for locks alone.
_LOCK = ".lock"


@pytest.fixture(scope="module")
def prepared(server, tmp_path_factory):
    """A table in two files, with more than is needed, and its preparation."""
    folder = tmp_path_factory.mktemp("prepared")
    rng = random.Random(_SEED)
    for part in range(2):
        rows = [
            f"u{user},i{item},{time},{'north' if user % 2 else 'south'}"
            for user in range(part * 20, part * 20 + 25)
            for time, item in enumerate(rng.sample(range(30), 8))
        ]
        text = "\n".join(["user_id,item_id,time,region", *rows]) + "\n"
        (folder / f"part-{part}.csv").write_text(text)
    root = folder / "watched"
    root.mkdir()
    argv = ["prepare", folder / "part-*.csv", f"--output_dir={root / 'data'}", "--time_column=time"]
    argv += ["--for_private_runs", "--user_features=region"]
    return filmed_work.film(server, "data", argv, root, _BODY)


def _strip(state):
    return {name: content for name, content in state.items() if not name.endswith(_LOCK)}


def _check_is_no_data(prepared, state):
    """What is there is not taken for data, unless all of it is."""
    try:
        prepared_folder.open_folder(prepared.root / "data").check_content()
    except errors.UserError:
        return
    assert {**state, **prepared.end} == state


def _check_goes_on(prepared):
    session = prepared.run()
    session.check_is_clean()
    assert session.status == 0, session.stderr
    found, expected = _strip(prepared.read()), _strip(prepared.end)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    return "prepared"


def _check_state(prepared, state):
    prepared.restore(state)
    _check_is_no_data(prepared, state)
    return _check_goes_on(prepared)


def _check_full_disk(prepared, fault):
    prepared.restore({})
    session = prepared.run(fault=fault)
    session.check_is_refused("o space left")
    _check_is_no_data(prepared, prepared.read())
    return _check_goes_on(prepared)


def test_some_kills_of_a_preparation(prepared):
    starts = ("before rename data/train.arrow", "before rename data/prepared.json")
    cases = [(start, prepared.find(start)) for start in starts]
    filmed_work.check_each(cases, lambda state: _check_state(prepared, state))


@pytest.mark.slow
def test_a_preparation_that_is_killed_at_any_write(prepared):
    cases = prepared.list_kills(_STRIDE, _BODY_STRIDE)
    assert len(cases) > 60
    filmed_work.check_each(cases, lambda state: _check_state(prepared, state))


@pytest.mark.slow
def test_a_preparation_whose_power_is_cut_at_any_write(prepared):
    cases = prepared.list_power_cuts(_STRIDE, _BODY_STRIDE)
    assert len(cases) > 10
    filmed_work.check_each(cases, lambda state: _check_state(prepared, state))


@pytest.mark.slow
def test_a_preparation_whose_disk_is_full_from_some_write_on(prepared):
    cases = prepared.list_full_disks(_STRIDE, _BODY_STRIDE)
    assert len(cases) > 15
    filmed_work.check_each(cases, lambda fault: _check_full_disk(prepared, fault))


@pytest.mark.slow
def test_a_run_refuses_what_is_half_prepared(server, prepared, tmp_path):
    starts = ("make data/unfinished", "rename data/train.arrow", "rename data/prepared.json")
    flags = {"preset": FLAGS["preset"], "dataset": "prepared", "data_dir": prepared.root / "data"}
    for start in starts:
        prepared.restore(prepared.find(f"before {start}"))
        session = server.run("train", to_argv(flags, tmp_path / "run"), tmp_path)
        session.check_is_refused(str(prepared.root / "data"))
        assert not (tmp_path / "run" / "config.json").exists()
