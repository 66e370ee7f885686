"""That `guided.py` begins with what is read, and that a bad file is refused as anywhere else."""

import pytest

from tests.fuzzing import cases, guided_targets


@pytest.mark.parametrize("name", guided_targets.TARGETS)
def test_a_sound_file_is_read_and_an_empty_one_refused(name, tmp_path):
    target = guided_targets.TARGETS[name]
    path = tmp_path / target.file_name
    path.write_bytes(target.sound)
    assert target.read(path) is not None
    path.write_bytes(b"")
    found = cases.accepts_or_refuses(lambda: target.read(path), (path.name,))
    # A file of histories may have none.
    assert found is None or (name, found) == ("json_histories", [])
