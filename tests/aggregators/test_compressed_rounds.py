"""Rounds of compressed updates, compiled and in TFF's own runtime."""

import logging

import compressed_runs as runs
import numpy as np
import pytest
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse, transforms
from fedrec_tff.aggregators.compressed import (
    low_rank,
    quantization,
    rotation,
    sketch,
    sparsification,
    ternary,
)
from fedrec_tff.execution import compiled

_DENSE_MEAN = tff.aggregators.UnweightedMeanFactory()
_ROW_SPARSE_MEAN = row_sparse.RowSparseMeanFactory(runs.NUM_ITEMS)


def _build(steps, inner, is_row_sparse):
    for step in reversed(steps):
        inner = transforms.apply(step, inner, seed=3)
    return inner.create(runs.TYPES[is_row_sparse])


@pytest.fixture(scope="module")
def processes():
    context = runs.CONTEXT
    nearest = quantization.build_quantize(context, stochastic=False)
    return {
        "top_k,low_rank": _build(
            [
                sparsification.build_top_k(context, fraction=0.5),
                low_rank.build_low_rank(context, rank=2),
            ],
            _ROW_SPARSE_MEAN,
            True,
        ),
        "rotate,quantize": _build([rotation.build_rotate(context), nearest], _DENSE_MEAN, False),
        "count_sketch": _build(
            [sketch.build_count_sketch(context, columns=20, fraction=0.2)], _DENSE_MEAN, True
        ),
        "quantize,terngrad": _build(
            [quantization.build_quantize(context), ternary.build_terngrad(context)],
            _ROW_SPARSE_MEAN,
            True,
        ),
    }


@pytest.fixture(scope="module")
def compiled_context():
    return compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=1, clients_per_block=2, random_seed=7)
    )


def _run(process, cohorts):
    state, outputs = process.initialize(), []
    for cohort in cohorts:
        output = process.next(state, cohort)
        state = output.state
        outputs.append(output)
    return outputs


_ROUNDS = {
    "top_k,low_rank": (True, 1e-5),
    # A level that two runtimes round apart is a step of a third of a client.
    "rotate,quantize": (False, 0.02),
    "count_sketch": (True, 1e-5),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    "name",
    [
        "top_k,low_rank",
        "rotate,quantize",
        pytest.param("count_sketch", marks=pytest.mark.slow),
    ],
)
def test_compiled_rounds_are_those_of_tffs_runtime(name, processes, compiled_context, caplog):
    is_row_sparse, tolerance = _ROUNDS[name]
    clients = runs.create_updates(is_row_sparse)
    # The empty one is in the middle: the next round must not know of it.
    cohorts = [clients, [], clients[:2]]
    expected = _run(processes[name], cohorts)
    with compiled_context.install(), caplog.at_level(logging.WARNING, "fedrec_tff"):
        found = _run(processes[name], cohorts)
    assert not [record for record in caplog.records if record.name.startswith("fedrec_tff")]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            runs.flatten(one.result), runs.flatten(other.result), atol=tolerance
        )
        for bits in (transforms.UPLOAD_BITS, transforms.CODED_UPLOAD_BITS):
            sizes = [runs.find_inner(o.measurements, bits) for o in (one, other)]
            np.testing.assert_allclose(*sizes, rtol=0.01 if "quantize" in name else 0.0)
    assert np.isnan(runs.flatten(found[1].result)).all()
    assert np.isfinite(runs.flatten(found[2].result)).all()
    if name == "rotate,quantize":
        mean = np.mean([runs.flatten(client) for client in clients], axis=0)
        np.testing.assert_allclose(runs.flatten(found[0].result), mean, atol=0.05)
        assert runs.find_inner(found[0].measurements, "upload_bits") == 3 * (128 * 8 + 32)


def test_clients_round_each_by_itself_and_anew_in_each_round(processes, compiled_context):
    client = runs.create_updates(True)[0]
    with compiled_context.install():
        process = processes["quantize,terngrad"]
        alone = [runs.flatten(o.result) for o in _run(process, [[client]] * 2)]
        many = runs.flatten(_run(process, [[client] * 600])[0].result)
    assert np.any(alone[0] != alone[1])
    assert np.all(many[runs.flatten(client) == 0.0] == 0.0)
    # TernGrad's deviation is half the scale at most; quantize comes before it.
    scale = np.abs(runs.flatten(client)).max()
    np.testing.assert_allclose(many, runs.flatten(client), atol=5 * scale / 2 / np.sqrt(600))


def test_a_weighted_mean_may_follow(compiled_context):
    inner = row_sparse.RowSparseWeightedMeanFactory(runs.NUM_ITEMS)
    step = low_rank.LowRank(runs.NUM_ITEMS, rank=2)
    process = transforms.apply(step, inner).create(runs.TYPES[True], tff.TensorType(np.float32))
    clients = runs.create_updates(True)
    weights = [np.float32(w) for w in (1.0, 0.0, 3.0)]
    with compiled_context.install():
        result = process.next(process.initialize(), clients, weights).result
    expected = np.average([runs.flatten(c) for c in clients], axis=0, weights=[1, 0, 3])
    # Biases and the tower, which are not projected.
    np.testing.assert_allclose(runs.flatten(result)[72:], expected[72:], rtol=1e-5, atol=1e-6)
