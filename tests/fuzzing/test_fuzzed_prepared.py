"""Folders of prepared data that may hold anything: opened, or refused in a line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.datasets import loading
from fedrec_tff.datasets.dataset_config import DatasetConfig
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.datasets.tables import TableColumns
from fedrec_tff.studies.disk_population import job
from tests.fuzzing import cases


@pytest.fixture(name="prepared", scope="module")
def _prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user": rng.integers(0, 9, 80), "item": rng.integers(0, 12, 80), "time": range(80)}
    )
    frame.assign(title="A title").to_csv(root / "events.csv", index=False)
    config = DatasetConfig(
        "csv", data_path=root / "events.csv", columns=TableColumns("user", "item", "time")
    )
    job.prepare(config, root / "prepared", lambda line: None)
    return root / "prepared"


def _copy(tmp_path_factory, folder):
    root = tmp_path_factory.mktemp("c") / "copy"
    shutil.copytree(folder, root)
    return root


def _load(root):
    """What a run reads of a folder before it looks at rows."""
    found = loading.load(DatasetConfig("prepared", data_dir=root))
    split = found.split
    log = found.interactions
    assert len(found.train_user_ids) == split.train.num_rows
    assert split.num_items == len(log.item_ids)
    for part in (split.validation, split.test):
        assert part.history.num_rows == part.targets.num_rows == len(part.user_index)
    assert found.summary()
    return found


_FILES = st.sampled_from(
    [
        prepared_folder.FACTS,
        prepared_folder.INTERACTIONS,
        prepared_folder.TRAIN,
        prepared_folder.EVALUATED["test"],
        prepared_folder.USERS,
        prepared_folder.ITEMS,
    ]
)


@cases.fuzz_times(20, name=_FILES, changes=cases.DAMAGES, keeps_size=st.booleans())
def test_a_damaged_file(tmp_path_factory, prepared, name, changes, keeps_size):
    root = _copy(tmp_path_factory, prepared)
    content = (root / name).read_bytes()
    damaged = cases.damage(content, changes)
    if keeps_size:
        damaged = damaged[: len(content)].ljust(len(content), b"\0")
    (root / name).write_bytes(damaged)
    with cases.leaves_alone(root):
        cases.accepts_or_refuses(lambda: _load(root), (str(root),))


@cases.fuzz_times(20, edits=cases.EDITS)
def test_other_facts(tmp_path_factory, prepared, edits):
    root = _copy(tmp_path_factory, prepared)
    path = root / prepared_folder.FACTS
    path.write_text(json.dumps(cases.edit(json.loads(path.read_text()), edits)))
    cases.accepts_or_refuses(lambda: _load(root), (str(root),))


@pytest.mark.parametrize(
    "digests", [None, ["users.feather"], {"users.feather": 7}, {"../users.feather": "7"}]
)
def test_digests_of_another_type_are_refused(tmp_path_factory, prepared, digests):
    root = _copy(tmp_path_factory, prepared)
    path = root / prepared_folder.FACTS
    path.write_text(json.dumps({**json.loads(path.read_text()), "file_digests": digests}))
    with pytest.raises(errors.UserError, match=r"prepared\.json cannot be read"):
        _load(root)


@cases.fuzz_times(10, one=_FILES, other=_FILES)
def test_files_in_the_places_of_others(tmp_path_factory, prepared, one, other):
    root = _copy(tmp_path_factory, prepared)
    shutil.copy(prepared / one, root / other)
    facts = json.loads((prepared / prepared_folder.FACTS).read_text())
    if prepared_folder.FACTS not in (one, other):
        facts["file_bytes"][other] = (root / other).stat().st_size
        (root / prepared_folder.FACTS).write_text(json.dumps(facts))
    cases.accepts_or_refuses(lambda: _load(root), (str(root),))
