"""The deployment that is planned: sizes, machines, links and phones, as flags."""

# Tested in tests/benchmarks/scale/test_deployment_plan.py.

import dataclasses

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.field_spec import MOST, declare
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation.fleet import profiles


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A deployment. See each field's help."""

    num_users: int = declare(10_000_000, "Users who train.", low=1, high=10**12)
    num_items: int = declare(1_000_000, "Items of the catalogue.", low=1, high=MOST)
    embedding_dim: int = declare(
        RunConfig.embedding_dim, "Width of the item table.", low=1, high=100_000
    )
    interactions_per_user: int = declare(
        165, "Training interactions of a user; 165 is the mean of MovieLens-1M.", low=1, high=MOST
    )
    num_negatives: int = declare(
        RunConfig.num_negatives, "Negatives that a client draws.", low=1, high=MOST
    )
    local_epochs: int = declare(1, "Passes of a client over its data.", low=1, high=MOST)
    clients_per_round: int = declare(
        10_000,
        "Reports that a round needs; with a deadline, users who are asked.",
        low=1,
        high=MOST,
    )
    over_selection: float = declare(
        1.3, "Devices that are asked for each report that is needed.", low=1.0, high=100.0
    )
    round_deadline_seconds: float | None = declare(
        None,
        "Seconds that every round lasts, whoever has reported, as under differential privacy; in "
        "the place of --over_selection.",
        low=0.0,
        high=1e9,
        low_is_allowed=False,
    )
    device_profile: str = declare(
        profiles.PHONES, "Devices, as in experiments.train.", choices=tuple(profiles.PROFILES)
    )
    seconds_between_rounds: float = declare(
        0.0, "Seconds in which the server finds the next cohort.", low=0.0, high=1e9
    )
    days: float = declare(14.0, "Days of training.", low=0.0, high=1e6, low_is_allowed=False)
    workers: int = declare(
        4, "Machines that send the model, and receive and add up updates.", low=1, high=1_000_000
    )
    cores_per_worker: int = declare(16, "Processors of each of them.", low=1, high=10_000)
    worker_gbps: float = declare(
        10.0,
        "Link of each of them in gigabits a second.",
        low=0.0,
        high=1e9,
        low_is_allowed=False,
    )
    added_gigabytes_per_second: float = declare(
        1.0,
        "Gigabytes of updates that one processor adds up in a second.",
        low=0.0,
        high=1e6,
        low_is_allowed=False,
    )
    noise_multiplier: float | None = declare(
        None, "Noise of DP-FedAvg: the plan has its epsilon.", low=0.0, high=1e6
    )
    target_delta: float = declare(
        1e-9, "Delta of that epsilon.", low=0.0, high=1.0, low_is_allowed=False
    )

    @property
    def devices(self) -> profiles.DeviceProfile:
        """What the phones are like."""
        return profiles.PROFILES[self.device_profile]

    @property
    def num_weights(self) -> int:
        """The weights of the default model of experiments.train over this catalogue."""
        config = RunConfig(embedding_dim=self.embedding_dim)
        return config.two_tower.num_weights(self.num_items)

    @property
    def num_asked(self) -> float:
        """Devices that are asked in a round."""
        factor = 1.0 if self.round_deadline_seconds is not None else self.over_selection
        return self.clients_per_round * factor


def validate(deployment: Deployment) -> None:
    """Refuses numbers that make no plan.

    Args:
      deployment: The deployment to check.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    config_checks.check_ranges(deployment)
    if deployment.num_asked > deployment.num_users:
        raise errors.UserError(
            f"--clients_per_round={deployment.clients_per_round}: {deployment.num_asked:g} devices "
            f"a round are more than the {deployment.num_users} users: lower it"
        )
    if deployment.noise_multiplier is not None and deployment.round_deadline_seconds is None:
        raise errors.UserError(
            "--noise_multiplier: rounds that wait for the first to report have no epsilon that is "
            "known: add --round_deadline_seconds, or drop it"
        )
    dropout = deployment.devices.dropout
    num_staying = deployment.num_asked * (1.0 - dropout)
    if deployment.round_deadline_seconds is None and num_staying < deployment.clients_per_round:
        raise errors.UserError(
            f"--over_selection={deployment.over_selection:g}: {dropout:.0%} of the devices drop "
            "out, so fewer report than are needed, and the round never ends: ask more, or give "
            "--round_deadline_seconds"
        )
