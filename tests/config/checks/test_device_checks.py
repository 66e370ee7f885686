"""Which devices and clocks are refused, and what flags make of a profile."""

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks, target_quality
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation.fleet import profiles

_PHONES = {"device_profile": "phones"}
_PRIVATE = {**_PHONES, "target_epsilon": 4.0}
_TIMED = {**_PRIVATE, "round_deadline_seconds": 60.0}
_BUFFER = {**_PHONES, "buffer_concurrency": 300}


def _validate(**flags):
    config_checks.validate(RunConfig(**flags))


def test_a_flag_changes_one_number_of_a_profile():
    assert RunConfig().devices is None
    assert RunConfig(clients_per_round=9.5).num_asked == 9.5
    assert RunConfig(clients_per_round=10, over_selection=1.1, **_PHONES).num_asked == 11
    assert RunConfig(**_PHONES).devices == profiles.PROFILES["phones"]
    devices = RunConfig(**_PHONES, device_dropout=0.0, device_upload_mbps=2.0).devices
    assert (devices.dropout, devices.upload_mbps) == (0.0, 2.0)
    assert devices.download_mbps == profiles.PROFILES["phones"].download_mbps


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"over_selection": 1.3}, "--over_selection means nothing without --device_profile"),
        ({**_PHONES, "buffer_max_age": 3}, "means nothing without --buffer_concurrency"),
        ({**_PHONES, "failure": "dropout"}, "devices fail in its own way"),
        ({**_PHONES, "over_selection": 1.5, "clients_per_round": 9.5}, "takes a whole number"),
        ({**_BUFFER, "sampling": "poisson"}, "and not by --sampling=poisson"),
        ({**_BUFFER, "over_selection": 1.3}, "no rounds to which --over_selection applies"),
        ({**_BUFFER, "round_deadline_seconds": 9.0}, "to which --round_deadline_seconds applies"),
        ({**_BUFFER, "aggregator": "hierarchical"}, "keeps models at its edges"),
        (
            {**_BUFFER, "client_algorithm": "mimelite", "client_momentum": 0.9},
            "an older model does not go with",
        ),
        (
            {**_PHONES, "secure_sum": "masked", "aggregator": "secure_mean"},
            "whose cohort is too small",
        ),
        ({**_PHONES, "target_quality": "ndcg@10"}, "the value to reach, as in ndcg@10=0.05"),
        ({**_PHONES, "target_quality": "ndcg@7=0.1"}, "name one of them"),
    ],
)
def test_what_contradicts_itself_is_refused(flags, message):
    with pytest.raises(errors.UserError, match=message):
        _validate(**flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        # One user's data would decide who else is in a round, or when the next one is.
        ({**_TIMED, "over_selection": 1.3}, "one user's data decide who else is in a round"),
        ({**_PRIVATE, "buffer_concurrency": 300}, "one user's data decide who else is in a buffer"),
        (_PRIVATE, "lasts as long as that user's data take"),
        # Whether somebody came would be seen, or shares of noise would be missing.
        (
            {**_TIMED, "aggregator": "local_gaussian", "max_rounds_per_user": 2},
            "the cost of local_gaussian with --sampling=poisson is not known",
        ),
        ({**_TIMED, "aggregator": "ddp_skellam"}, "the cost of ddp_skellam"),
        ({**_TIMED, "sampling": "fixed_size"}, "--sampling=fixed_size is not known"),
        (
            {**_TIMED, "target_quality": "ndcg@10=0.1", "withhold_held_out_metrics": True},
            "the validation of this run has no metric",
        ),
    ],
)
def test_what_voids_a_guarantee_is_refused(flags, message):
    with pytest.raises(errors.UserError, match=message):
        _validate(**flags)


@pytest.mark.parametrize(
    "flags",
    [
        {**_PHONES, "over_selection": 1.3, "round_deadline_seconds": 60.0},
        {**_PHONES, "target_quality": "mrr=0.05"},
        {**_BUFFER, "sampling": "shuffled_epochs", "attack": "sign_flip"},
        _TIMED,
        {**_TIMED, "aggregator": "dp_banded_mf", "min_separation": 5},
        {
            **_TIMED,
            "target_quality": "ndcg@10=0.1",
            "withhold_held_out_metrics": True,
            "private_evaluation_noise_multiplier": 20.0,
        },
    ],
)
def test_what_is_covered_is_not_refused(flags):
    _validate(**flags)


def test_a_target_is_a_metric_and_a_number():
    assert target_quality.parse(" mrr=.25") == target_quality.TargetQuality("mrr", 0.25)
