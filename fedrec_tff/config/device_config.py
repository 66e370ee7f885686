"""The topic of devices and time: what devices are like, and how long the server waits for them."""

# Tested in tests/config/checks/test_device_checks.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare
from fedrec_tff.learning.simulation.fleet import profiles

_PROFILE = Need("--device_profile", lambda config: config.device_profile is not None)
_BUFFER = Need("--buffer_concurrency", lambda config: config.buffer_concurrency is not None)
_BY_PROFILE = "; by default that of --device_profile."


@dataclasses.dataclass(frozen=True)
class DeviceConfig:
    """Devices, and rounds on a simulated clock. See each field's help."""

    device_profile: str | None = declare(
        None,
        "Simulated devices, and a clock that rounds take their time on: "
        + "; ".join(f"{name}: {text}" for name, text in profiles.DESCRIPTIONS.items())
        + ".",
        choices=tuple(profiles.PROFILES),
    )
    device_seconds_per_example: float | None = declare(
        None,
        "Seconds that the median device takes to train on an example" + _BY_PROFILE,
        low=0.0,
        high=1e6,
        needs=(_PROFILE,),
    )
    device_speed_spread: float | None = declare(
        None,
        "Standard deviation of the logarithm of devices' speeds; 0 for one speed" + _BY_PROFILE,
        low=0.0,
        high=5.0,
        needs=(_PROFILE,),
    )
    device_download_mbps: float | None = declare(
        None,
        "Download of the median device in megabits a second" + _BY_PROFILE,
        low=0.0,
        high=1e9,
        low_is_allowed=False,
        needs=(_PROFILE,),
    )
    device_upload_mbps: float | None = declare(
        None,
        "Upload of the median device in megabits a second" + _BY_PROFILE,
        low=0.0,
        high=1e9,
        low_is_allowed=False,
        needs=(_PROFILE,),
    )
    device_link_spread: float | None = declare(
        None,
        "Standard deviation of the logarithm of devices' links; 0 for one link" + _BY_PROFILE,
        low=0.0,
        high=5.0,
        needs=(_PROFILE,),
    )
    device_dropout: float | None = declare(
        None,
        "Probability that a device is gone before it has reported" + _BY_PROFILE,
        low=0.0,
        high=0.99,
        needs=(_PROFILE,),
    )
    device_day_ratio: float | None = declare(
        None,
        "Ratio of the devices that can be reached in the best hour of their day to those in the "
        "worst; 1 for devices that always can" + _BY_PROFILE,
        low=1.0,
        high=1000.0,
        needs=(_PROFILE,),
    )
    device_time_zone_hours: float | None = declare(
        None,
        "Hours over which users' time zones are spread; 24 for the whole world" + _BY_PROFILE,
        low=0.0,
        high=24.0,
        needs=(_PROFILE,),
    )
    over_selection: float = declare(
        1.0,
        "Devices that are asked for each one that is needed: the first --clients_per_round to "
        "report are taken, and later ones are not waited for. Not under differential privacy.",
        low=1.0,
        high=100.0,
        needs=(_PROFILE,),
    )
    round_deadline_seconds: float | None = declare(
        None,
        "Simulated seconds after which the server waits no more. Under differential privacy every "
        "round lasts so long.",
        low=0.0,
        high=1e9,
        low_is_allowed=False,
        needs=(_PROFILE,),
    )
    buffer_concurrency: int | None = declare(
        None,
        "Devices at work at a time under buffered asynchronous aggregation (FedBuff): the server "
        "steps whenever --clients_per_round of them have reported, and whoever comes next begins "
        "with the model of that moment. Without it, rounds wait for their cohort.",
        low=1,
        high=10_000_000,
        needs=(_PROFILE,),
    )
    buffer_max_age: int = declare(
        10,
        "Age in rounds of the oldest model from which an update is taken; the server keeps as "
        "many models.",
        low=1,
        high=1000,
        needs=(_BUFFER,),
    )
    staleness_exponent: float = declare(
        0.5,
        "Exponent a by which an update from a model of age s counts (1 + s)^-a; 0 for all the "
        "same.",
        low=0.0,
        high=10.0,
        needs=(_BUFFER,),
    )
    target_quality: str | None = declare(
        None,
        "Validation metric and value, as in ndcg@10=0.05: the results say after how many simulated "
        "hours, and rounds, an evaluation has first reached it.",
        needs=(_PROFILE,),
        costs_privacy=False,
    )

    @property
    def devices(self) -> profiles.DeviceProfile | None:
        """What the devices are like; None where none are simulated."""
        if self.device_profile is None:
            return None
        profile = profiles.PROFILES[self.device_profile]
        given = {
            field.name: getattr(self, f"device_{field.name}")
            for field in dataclasses.fields(profile)
        }
        changed = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(profile, **changed)

    @property
    def is_buffered(self) -> bool:
        """Whether the server steps when a buffer is full, and does not wait for a cohort."""
        return self.buffer_concurrency is not None
