"""Flags that would void a guarantee, each in a clause of its own that names the way out."""

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig

_PRIVATE = {"target_epsilon": 4.0}
_LOCAL = {"aggregator": "local_gaussian", "max_rounds_per_user": 5}
_PERSISTENT = {"personal_tower": "scale_and_shift", "personal_state": "persistent"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        # Who takes part would follow from a draw that compares users.
        (
            {
                **_PRIVATE,
                **_LOCAL,
                "sampling": "shuffled_epochs",
                "group_attendance": "age_group:18-24=0.5",
            },
            "compares users' draws",
        ),
        ({**_PRIVATE, "failure": "skewed_heavy"}, "would follow from what users did"),
        # Attackers are handed an exact statistic of users.
        ({**_PRIVATE, "attack": "alie"}, "which no noise covers"),
        # An attacker would leave out the noise that its device is to add.
        ({**_PRIVATE, **_LOCAL, "attack": "sign_flip"}, "on the\\s+device"),
        # Items would be dropped from all users' data before anything is noised.
        (
            {
                **_PRIVATE,
                "dataset": "prepared",
                "data_dir": "x",
                "catalogue": "selected",
                "catalogue_noise_multiplier": 5.0,
            },
            "prepare them with --item_table",
        ),
        ({"catalogue": "selected"}, "spends a privacy budget"),
        ({**_PRIVATE, "catalogue": "selected"}, "--catalogue_noise_multiplier"),
        # The model's beginning may be anybody's data.
        ({**_PRIVATE, "initial_model": "x"}, "initial_model"),
    ],
)
def test_what_voids_a_guarantee_is_refused(flags, message):
    with pytest.raises(errors.UserError, match=message) as refused:
        config_checks.validate(RunConfig(**flags))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("flags", [{"aggregator": "hierarchical"}, {"attack": "sign_flip"}])
def test_what_devices_keep_is_simulated_or_refused(flags):
    with pytest.raises(errors.UserError, match="--personal_state=reconstructed"):
        config_checks.validate(RunConfig(**_PERSISTENT, **flags))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"client_optimizer": "adam"}, "keeps a state for all rows"),
        ({"attack": "sign_flip"}, "may send any rows"),
        ({"client_algorithm": "mimelite"}, "moves all rows"),
    ],
)
def test_lazy_steps_are_refused_where_all_rows_move(flags, message):
    with pytest.raises(errors.UserError, match=message):
        config_checks.validate(RunConfig(server_optimizer="lazy_adam", **flags))
