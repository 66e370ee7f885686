"""What secrecy costs, counted where it can be: bytes, by hand."""

from fedrec_tff.benchmarks import secure_sum_costs

_SIZES = (5, 40)


def test_each_sum_of_each_size_is_measured_and_told():
    told = []
    found = secure_sum_costs.measure(
        ("plain", "masked"), _SIZES, num_clients=4, bits=8, seed=0, done_fn=told.append
    )
    assert told == found
    assert [(cost.num_weights, cost.name) for cost in found] == [
        *((5, "plain"), (5, "masked")),
        *((40, "plain"), (40, "masked")),
    ]
    assert all(cost.seconds_per_client > 0.0 for cost in found)


def test_integers_in_the_clear_take_four_bytes_each_and_masks_take_more():
    found = secure_sum_costs.measure(("plain", "masked"), _SIZES, num_clients=4, bits=8, seed=0)
    for plain, masked in zip(found[::2], found[1::2], strict=True):
        assert plain.upload_bytes == 4 * plain.num_weights
        assert plain.download_bytes == 0
        # A byte and a few bits of carry for each integer, and keys and shares for each neighbour.
        assert masked.upload_bytes > plain.num_weights + 3 * 32
        assert masked.download_bytes > 3 * 32


def test_signatures_cost_bytes():
    (unsigned,), (signed,) = (
        secure_sum_costs.measure(("masked",), (5,), 4, bits=8, seed=0, signed_keys=is_signed)
        for is_signed in (False, True)
    )
    # A signature of the keys, and a confirmation of two integers and a signature.
    assert signed.upload_bytes - unsigned.upload_bytes == 64 + (4 + 4 + 64)
