import subprocess
import sys

import pytest

from fedrec_tff import errors
from fedrec_tff.aggregators import registry


def test_unknown_name_is_a_user_error_that_lists_the_known():
    with pytest.raises(errors.UserError, match=r"--aggregator=no_such_mean.*weighted_mean"):
        registry.get("no_such_mean")


def test_a_name_can_be_taken_once():
    with pytest.raises(ValueError, match="'mean'"):
        registry.register(registry.Aggregator("mean", "again", "somewhere:else"))
    assert registry.get("mean").builder != "somewhere:else"


def test_privacy_is_told_without_tensorflow():
    code = (
        "import sys\n"
        "from fedrec_tff.aggregators import registry\n"
        "private = sorted(n for n in registry.names() if registry.get(n).is_private)\n"
        "assert {'dp_adaptive', 'dp_tree', 'local_laplace', 'ddp_skellam'} <= set(private)\n"
        "assert not {'mean', 'weighted_mean'} & set(private)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
