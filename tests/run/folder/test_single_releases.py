import pathlib
from unittest import mock

import pytest

from fedrec_tff import errors
from fedrec_tff.run.folder import single_releases


def _obtain(path, ledger, release_fn):
    return single_releases.obtain(path, "popularity", ledger, release_fn, None, "the budget")


def test_a_release_is_made_once_and_a_damaged_one_is_not_used(tmp_path):
    path, ledger = tmp_path / "counts.npy", mock.Mock()
    ledger.path, ledger.accountant.num_releases = pathlib.Path("ledger"), {"popularity": 1}
    assert _obtain(path, ledger, lambda: b"noised") == b"noised"
    assert _obtain(path, ledger, lambda: b"again") == b"noised"
    ledger.append_release.assert_called_once_with("popularity")
    path.write_bytes(b"noisee")
    with pytest.raises(errors.UserError, match=r"counts\.npy is damaged: restore it with"):
        _obtain(path, ledger, lambda: b"again")
    # Those of an earlier version have no digest.
    (tmp_path / "counts.npy.sha256").unlink()
    assert _obtain(path, ledger, lambda: b"again") == b"noisee"
