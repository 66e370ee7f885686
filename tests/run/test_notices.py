import gc

import pytest

from fedrec_tff.run import notices


@pytest.fixture(params=[True, False])
def was_enabled(request):
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_garbage_waits_until_all_is_imported_and_no_longer(was_enabled, capsys):
    with notices.starting_tensorflow():
        assert not gc.isenabled()
    assert gc.isenabled() == was_enabled
    assert capsys.readouterr().err == "starting TensorFlow\n"


def test_an_import_that_fails_leaves_nothing_behind(was_enabled):
    with pytest.raises(ImportError), notices.starting_tensorflow():
        raise ImportError
    assert gc.isenabled() == was_enabled
