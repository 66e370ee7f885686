import dp_accounting
import numpy as np
import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import distributed, events

GAUSSIAN = dp_accounting.GaussianDpEvent(1.1)
ALL_KINDS = [
    GAUSSIAN,
    dp_accounting.PoissonSampledDpEvent(1 / 3, GAUSSIAN),
    dp_accounting.SampledWithoutReplacementDpEvent(100, 7, GAUSSIAN),
    dp_accounting.PoissonSampledDpEvent(
        0.1, dp_accounting.ComposedDpEvent([GAUSSIAN, dp_accounting.GaussianDpEvent(0.1 + 0.2)])
    ),
    dp_accounting.SelfComposedDpEvent(GAUSSIAN, 5),
    dp_accounting.LaplaceDpEvent(0.7),
    events.DeltaDpEvent(1e-6),
    distributed.DistributedNoiseDpEvent("skellam", 3.0, 5.0, 2.0, 4, 7),
    dp_accounting.NoOpDpEvent(),
    dp_accounting.NonPrivateDpEvent(),
]


@pytest.mark.parametrize("event", ALL_KINDS)
def test_json_round_trip_is_exact(event):
    assert events.event_from_json(events.event_to_json(event)) == event


def test_numpy_leaves_become_python_numbers():
    event = events.canonical_event(
        dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(
                np.float32(0.25),
                dp_accounting.ComposedDpEvent(
                    (dp_accounting.GaussianDpEvent(np.float32(1.5)), GAUSSIAN)
                ),
            ),
            np.int64(3),
        )
    )
    assert type(event.count) is int
    assert type(event.event.sampling_probability) is float
    assert type(event.event.event.events[0].noise_multiplier) is float
    assert event.event.event.events[0].noise_multiplier == 1.5


@pytest.mark.parametrize(
    "event",
    [
        dp_accounting.UnsupportedDpEvent(),
        dp_accounting.ComposedDpEvent([GAUSSIAN, dp_accounting.UnsupportedDpEvent()]),
        dp_accounting.LaplaceDpEvent(float("inf")),
        dp_accounting.LaplaceDpEvent(-1.0),
        dp_accounting.SingleEpochTreeAggregationDpEvent(1.0, 3),
        dp_accounting.GaussianDpEvent(float("inf")),
        dp_accounting.GaussianDpEvent(float("nan")),
        dp_accounting.GaussianDpEvent(-1.0),
        dp_accounting.GaussianDpEvent("much"),
        dp_accounting.PoissonSampledDpEvent(1.5, GAUSSIAN),
        dp_accounting.SampledWithoutReplacementDpEvent(5, 6, GAUSSIAN),
        dp_accounting.SelfComposedDpEvent(GAUSSIAN, 0),
        dp_accounting.SelfComposedDpEvent(GAUSSIAN, 1.5),
        dp_accounting.SelfComposedDpEvent(GAUSSIAN, True),
        dp_accounting.SelfComposedDpEvent(GAUSSIAN, "2"),
        dp_accounting.PoissonSampledDpEvent(-0.1, GAUSSIAN),
        dp_accounting.SampledWithoutReplacementDpEvent(0, 0, GAUSSIAN),
        dp_accounting.SampledWithoutReplacementDpEvent(5, -1, GAUSSIAN),
        events.DeltaDpEvent(-0.1),
        events.DeltaDpEvent(1.1),
    ],
)
def test_what_cannot_be_accounted_is_refused(event):
    with pytest.raises(UserError):
        events.canonical_event(event)


@pytest.mark.parametrize(
    "event",
    [
        dp_accounting.LaplaceDpEvent(0.0),
        dp_accounting.GaussianDpEvent(0.0),
        dp_accounting.PoissonSampledDpEvent(0.0, GAUSSIAN),
        dp_accounting.PoissonSampledDpEvent(1.0, GAUSSIAN),
        dp_accounting.SampledWithoutReplacementDpEvent(1, 1, GAUSSIAN),
        dp_accounting.SampledWithoutReplacementDpEvent(1, 0, GAUSSIAN),
        dp_accounting.SelfComposedDpEvent(GAUSSIAN, 1),
        events.DeltaDpEvent(0.0),
        events.DeltaDpEvent(1.0),
    ],
)
def test_the_ends_of_each_range_belong_to_it(event):
    assert events.canonical_event(event) == event


@pytest.mark.parametrize("value", [{}, [], None, {"kind": "Magic"}, {"kind": "GaussianDpEvent"}])
def test_other_json_is_refused(value):
    with pytest.raises(UserError):
        events.event_from_json(value)


def test_finds_releases_without_noise():
    silent = dp_accounting.GaussianDpEvent(0.0)
    assert events.is_non_private(dp_accounting.NonPrivateDpEvent())
    assert events.is_non_private(
        dp_accounting.PoissonSampledDpEvent(0.5, dp_accounting.ComposedDpEvent([GAUSSIAN, silent]))
    )
    assert events.is_non_private(dp_accounting.LaplaceDpEvent(0.0))
    assert events.is_non_private(
        distributed.DistributedNoiseDpEvent("skellam", 3.0, 5.0, 0.0, 4, 7)
    )
    assert not any(events.is_non_private(event) for event in ALL_KINDS[:-1])
