import dataclasses

import audit_faults
import pytest

from fedrec_tff.aggregators import registry
from fedrec_tff.execution import debug
from fedrec_tff.privacy import mechanisms
from fedrec_tff.studies.audit import mechanism_checks

_NUM_ITEMS = 160
_MECHANISM = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, 300, 30.0)
_SPARSE = dataclasses.replace(
    _MECHANISM,
    name="dp_sparse",
    histogram_share=0.2,
    rows_per_user=20,
    # Passed by one untouched row in six.
    row_threshold=1.0,
    row_selection="round",
)


@pytest.fixture(scope="module", autouse=True)
def context():
    # Nothing is worth compiling for a handful of clients.
    with debug.DebugContext().install():
        yield


def check(build_factory, mechanism=_MECHANISM, *, supports_row_sparse=False, insecure_seed=None):
    """The checks of an aggregator, by name."""
    context = registry.AggregatorContext(
        num_items=_NUM_ITEMS,
        clients_per_round=mechanism.clients_per_round,
        row_sparse=False,
        mechanism=mechanism,
        insecure_noise_seed=insecure_seed,
    )
    subject = mechanism_checks.AggregatorUnderTest(
        build_factory, context, supports_row_sparse, audit_faults.CONFIG.two_tower
    )
    return {found.name: found for found in mechanism_checks.check_aggregator(subject)}


def failed(found):
    return {name for name, one in found.items() if not one.passed}


# A sound aggregator fails a check with probability 1e-7.


_IN_BANDS = dataclasses.replace(
    _MECHANISM, name="dp_banded_mf", sampling="cyclic_poisson", min_separation=4, rounds=8
)
_LOCAL = dataclasses.replace(_MECHANISM, name="local_gaussian", max_rounds_per_user=2)
# Each of these has a sister above.
_FURTHER = [
    dataclasses.replace(_MECHANISM, tower_clip_norm=0.2),
    dataclasses.replace(_MECHANISM, name="dp_adaptive"),
    dataclasses.replace(_IN_BANDS, name="dp_tree"),
    dataclasses.replace(_LOCAL, name="local_laplace"),
]


@pytest.mark.parametrize(
    "mechanism",
    [
        *(_MECHANISM, _SPARSE, _IN_BANDS, _LOCAL),
        *(pytest.param(mechanism, marks=pytest.mark.slow) for mechanism in _FURTHER),
    ],
    ids=lambda mechanism: mechanism.name,
)
def test_sound_aggregators_are_not_accused(mechanism):
    aggregator = registry.get(mechanism.name)
    found = check(
        aggregator.build_factory, mechanism, supports_row_sparse=aggregator.supports_row_sparse
    )
    assert not failed(found), found


def test_no_noise_and_too_little_noise_are_found():
    found = check(audit_faults.with_noise_times(0.0))
    assert failed(found) == {"noise level"}
    assert found["noise level"].detail == "standard deviation 0, claimed 0.5"
    assert failed(check(audit_faults.with_noise_times(0.5))) == {"noise level"}


def test_an_update_that_is_clipped_in_parts_is_found():
    found = check(audit_faults.build_clipped_in_parts)
    assert failed(found) == {"clipping"}
    # Ten parts of the clip norm each.
    assert "up to 5 " in found["clipping"].detail


def test_the_same_noise_in_each_round_is_found():
    found = check(audit_faults.build_the_same_noise)
    assert failed(found) == {"noise of two rounds", "noise of two runs"}


def test_noise_that_can_be_predicted_is_found():
    found = check(registry.get("dp_gaussian").build_factory, insecure_seed=3)
    assert failed(found) == {"noise of two runs"}


def test_rows_that_are_chosen_without_noise_are_found():
    """Rows are left out because nobody touched them, which noise would hide."""
    found = check(audit_faults.build_exact_choice, _SPARSE)
    assert failed(found) == {"choice of rows"}
    assert found["choice of rows"].detail == "0 of 160 untouched rows, claimed 0.1587 of them"


@pytest.mark.slow
def test_noise_that_was_not_split_with_the_histogram_is_found():
    found = check(audit_faults.with_noise_times(0.5, "dp_sparse"), _SPARSE)
    assert failed(found) == {"noise level"}
