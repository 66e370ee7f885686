import numpy as np
import pytest

from fedrec_tff.execution import exceptions, secure_sum
from fedrec_tff.secure_sums.encryption import encrypted_sum
from fedrec_tff.secure_sums.masking import masked_sum

_SLOTS = [secure_sum.SecureSumSlot((2, 3), 7), secure_sum.SecureSumSlot((), 1)]


@pytest.mark.parametrize("build", [encrypted_sum.EncryptedSum, masked_sum.MaskedSum])
def test_a_round_of_nobody_is_zeros_and_takes_no_client(build):
    protocol = build()
    empty = protocol.start(_SLOTS, 0)
    with pytest.raises(exceptions.ExecutionError, match="begun for none"):
        empty.add([np.ones([1, 2, 3], np.int64), np.ones([1], np.int64)], np.array([0]))
    assert [total.tolist() for total in empty.finish()] == [[[0, 0, 0], [0, 0, 0]], 0]
    assert protocol.costs is None
    # With nothing to sum there is nothing that a client could give away.
    protocol.start([], 0).add([], np.array([0]))
