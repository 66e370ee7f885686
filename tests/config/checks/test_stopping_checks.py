"""Which choices by validation are refused, and what the flags of stopping mean together."""

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig

_PRIVATE = {"target_epsilon": 4.0}
_NOISED = {**_PRIVATE, "private_evaluation_noise_multiplier": 20.0}


def _validate(**flags):
    config_checks.validate(RunConfig(**flags))


@pytest.mark.parametrize(
    ("flags", "releases_best", "follows_validation"),
    [
        ({}, False, False),
        ({"released_model": "last"}, False, False),
        ({"released_model": "best"}, True, True),
        ({"early_stopping_patience": 2}, True, True),
        ({"early_stopping_patience": 2, "released_model": "last"}, False, True),
    ],
)
def test_early_stopping_releases_the_best_unless_told_otherwise(
    flags, releases_best, follows_validation
):
    config = RunConfig(**flags)
    config_checks.validate(config)
    assert (config.releases_best, config.follows_validation) == (releases_best, follows_validation)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"selection_metric": "mrr"}, "--selection_metric means nothing without --released_model"),
        (
            {"released_model": "best", "early_stopping_min_delta": 0.1},
            "--early_stopping_min_delta means nothing without --early_stopping_patience",
        ),
        (
            {"released_model": "best", "selection_metric": "ndcg@20"},
            "--selection_metric=ndcg@20: the validation of this run has recall@10, ndcg@10, "
            "map@10, hit_rate@10, mrr",
        ),
        (
            {"early_stopping_patience": 1, "selection_metric": "loss"},
            "--selection_metric=loss: the validation of this run has",
        ),
        ({"time_budget_minutes": 0.0}, "--time_budget_minutes=0.0: must be more than 0"),
        ({"released_model": "first"}, "--released_model=first: choose one of last, best"),
        ({**_PRIVATE, "time_budget_minutes": 5.0}, "--time_budget_minutes: how long rounds take"),
        (
            {**_PRIVATE, "released_model": "best"},
            "--released_model=best follows validation, whose exact metrics",
        ),
        (
            {**_PRIVATE, "early_stopping_patience": 3},
            "--early_stopping_patience=3 follows validation, whose exact metrics",
        ),
        # That exact metrics are shown does not make them fit to decide.
        (
            {**_PRIVATE, "early_stopping_patience": 3, "release_non_private_metrics": True},
            "add --private_evaluation_noise_multiplier",
        ),
        (
            {
                "noise_multiplier": 1.0,
                "early_stopping_patience": 3,
                "private_evaluation_noise_multiplier": 0.0,
            },
            "--private_evaluation_noise_multiplier=0 adds no noise",
        ),
        (
            {**_NOISED, "released_model": "best", "selection_metric": "hit_rate@10"},
            "--selection_metric=hit_rate@10: the validation of this run has recall@10, ndcg@10",
        ),
        (
            {
                "released_model": "best",
                "personal_tower": "scale_and_shift",
                "personal_state": "persistent",
            },
            "--released_model=best: with --personal_state=persistent",
        ),
    ],
)
def test_what_means_nothing_or_tells_of_users_is_refused_in_a_line(flags, message):
    with pytest.raises(errors.UserError) as caught:
        _validate(**flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_noised_validation_may_decide_and_lists_of_other_lengths_have_their_metrics():
    _validate(**_NOISED, early_stopping_patience=3, selection_metric="recall@10")
    _validate(
        dataset="adjacency",
        data_dir="somewhere",
        split="published",
        released_model="best",
        selection_metric="ndcg@20",
    )
