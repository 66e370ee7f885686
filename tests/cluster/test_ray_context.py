"""Rounds on workers: the bits of the compiled context, for any number of them."""

import cluster_computations as made
import numpy as np
import pytest
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.cluster.ray_context import RayContext
from fedrec_tff.cluster.worker import WorkerOptions
from fedrec_tff.cluster.worker_pool import Workers
from fedrec_tff.execution import exceptions
from fedrec_tff.secure_sums.encryption import encrypted_sum
from fedrec_tff.secure_sums.encryption import messages as encrypted_messages
from fedrec_tff.secure_sums.masking import masked_sum
from fedrec_tff.secure_sums.masking import messages as masked_messages

_MODEL = np.float32([0.1, -0.2, 0.3, 0.4])


def _bits(results):
    return [np.asarray(result).tobytes() for result in results]


def _run(workers, computation, arguments, num_rounds=1, **options):
    with RayContext(made.create_options(**options), workers).install():
        return [computation(*arguments) for _ in range(num_rounds)]


@pytest.mark.parametrize("num_clients", [0, 1, 43])
def test_bits_are_those_of_the_compiled_context(striking, tmp_path, num_clients):
    arguments = _MODEL, made.create_cohort(num_clients, folder=tmp_path)
    expected = made.run_compiled(made.train, arguments, num_rounds=2)
    found = _run(striking.workers, made.train, arguments, num_rounds=2)
    assert _bits(found) == _bits(expected)
    if num_clients > 1:
        # Each round has noise of its own.
        assert len(set(_bits(found))) == 2
        assert set(striking.workers.rates) == {0, 1}
        assert max(striking.workers.rates.values()) > 0


def test_rows_travel_to_workers_that_do_not_find_the_file(striking, tmp_path, caplog):
    cohort = made.create_cohort(20, folder=tmp_path, table_class=made.TableElsewhere)
    arguments = _MODEL, cohort
    expected = made.run_compiled(made.train, arguments, num_rounds=2)
    found = _run(striking.workers, made.train, arguments, num_rounds=2)
    assert _bits(found) == _bits(expected)
    told = [r.getMessage() for r in caplog.records if "does not find" in r.getMessage()]
    assert len(told) == 1


def test_bits_do_not_depend_on_the_number_of_workers_nor_of_their_threads(ray, striking):
    arguments = _MODEL, made.create_cohort(30)
    expected = _bits(made.run_compiled(made.train, arguments, num_shares=5))
    assert _bits(_run(striking.workers, made.train, arguments, num_shares=5)) == expected
    with Workers(ray, WorkerOptions(), 1, 16) as alone:
        assert _bits(_run(alone, made.train, arguments, num_shares=5)) == expected


class _Recorder:
    """A secure sum that notes what it receives from workers."""

    def __init__(self, inner):
        self._inner = inner
        self.received = []

    def start(self, slots, num_clients):
        started = self._inner.start(slots, num_clients)
        receive = started.receive

        def note(messages):
            self.received.extend(messages)
            receive(messages)

        started.receive = note
        return started


def test_secure_sums_are_exact_in_the_clear_and_sealed_on_workers(striking):
    cohort = made.create_cohort(25)
    clients = [client["scale"] for client in cohort.unstack()]
    expected = int(np.sum((np.float32(clients) * 1000).astype(np.int32) % 251))
    assert _run(striking.workers, made.count, (cohort,)) == [expected]
    for protocol in (masked_sum.MaskedSum(signed_keys=True), encrypted_sum.EncryptedSum()):
        recorder = _Recorder(protocol)
        assert _run(striking.workers, made.count, (cohort,), secure_sum=recorder) == [expected]
        assert protocol.costs.num_clients == len(recorder.received) == 25
        # What the driver gets are messages of the protocol, made on workers, and no integers.
        kinds = {type(message) for message, _ in recorder.received}
        assert kinds <= {masked_messages.MaskedInput, encrypted_messages.ClientMessage}
        assert min(seconds for _, seconds in recorder.received) > 0


def test_an_integer_out_of_bounds_is_not_sealed(striking):
    cohort = made.create_cohort(9)
    part = cohort.parts[0]
    part.structure["scale"][2] = 30.0
    with pytest.raises(
        exceptions.ExecutionError, match=f"client {part.positions[2]} of the cohort: an input"
    ):
        _run(striking.workers, made.count_small, (cohort,), secure_sum=masked_sum.MaskedSum())


def test_clients_that_are_not_compiled_have_the_same_bits_too(striking, caplog):
    texts = [repr(float(x)) for x in np.random.default_rng(2).normal(size=21).astype(np.float32)]
    expected = made.run_compiled(made.add_texts, (texts,))
    assert _bits(_run(striking.workers, made.add_texts, (texts,))) == _bits(expected)
    assert "work handles strings" in caplog.text


def test_an_error_names_the_client_and_leaves_workers_that_work(striking):
    cohort = made.create_cohort(9)
    part = cohort.parts[1]
    part.structure["scale"][1] = -1.0
    position = part.positions[1]
    with pytest.raises(exceptions.ExecutionError, match=f"work of client {position} of the cohort"):
        _run(striking.workers, made.add_positive, (cohort,))
    part.structure["scale"][1] = 1.0
    assert np.isfinite(_run(striking.workers, made.add_positive, (cohort,))[0])


def test_sequences_are_refused_with_the_way_out(striking):
    @tff.tensorflow.computation(tff.SequenceType(np.int32))
    def total(numbers):
        return numbers.reduce(0, lambda a, b: a + b)

    @tff.federated_computation(tff.FederatedType(tff.SequenceType(np.int32), tff.CLIENTS))
    def add(clients):
        return tff.federated_sum(tff.federated_map(total, clients))

    with pytest.raises(exceptions.UnsupportedComputationError, match="use the compiled context"):
        _run(striking.workers, add, ([[1, 2], [3]],))


def test_the_number_of_shares_must_be_given(striking):
    with pytest.raises(ValueError, match="num_shares must be given"):
        RayContext(made.create_options(num_shares=None), striking.workers)


def test_a_gpu_that_no_node_has_is_one_line(ray):
    with pytest.raises(errors.UserError, match="takes 1 CPUs and 1 GPUs") as caught:
        Workers(ray, WorkerOptions(1, 1.0), None, 16)
    assert "\n" not in str(caught.value)
