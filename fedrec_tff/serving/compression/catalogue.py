"""The methods that `--methods` names, and where their builders are."""

# Tested in tests/serving/compression/test_compression_chain.py.

from collections.abc import Mapping

_HERE = "fedrec_tff.serving.compression"

METHODS: Mapping[str, str] = {
    "float16": f"{_HERE}.half_precision:build_float16",
    "quantize": f"{_HERE}.quantization:build_quantize",
    "low_rank": f"{_HERE}.low_rank:build_low_rank",
    "pq": f"{_HERE}.product_quantization:build_pq",
    "prune": f"{_HERE}.pruning:build_prune",
    "distil": f"{_HERE}.distillation:build_distil",
    "tune": f"{_HERE}.tuning:build_tune",
}
