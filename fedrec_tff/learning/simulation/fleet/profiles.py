"""What devices are like: medians, spreads and hours of a population, from published figures.

Speeds and links are lognormal, as FedScale simulates speeds (Lai et al. 2022, arXiv 2105.11367),
after what PAPAYA saw in production (Huba et al. 2022, arXiv 2111.04877).
"""

# Tested in tests/learning/simulation/test_fleet.py.

import dataclasses

PHONES = "phones"
ALIKE = "alike"

# One line for each, for help texts.
DESCRIPTIONS = {
    PHONES: "speeds, links, hours and dropouts of phones, as published",
    ALIKE: "the speed and link of a phone in the middle, the same for all; always there",
}


@dataclasses.dataclass(frozen=True)
class DeviceProfile:
    """A population of devices.

    Attributes:
      seconds_per_example: Seconds that the median device takes to train on an example.
      speed_spread: Standard deviation of the logarithm of a device's speed.
      download_mbps: Download of the median device, in megabits a second.
      upload_mbps: Upload of the median device, in megabits a second.
      link_spread: Standard deviation of the logarithm of a device's link, the same factor in both
        directions.
      dropout: Probability that a device that began a round is gone before it has reported.
      day_ratio: How many times as many devices are there in the best hour of their day as in the
        worst; 1 for devices that are always there.
      time_zone_hours: Width of the zones that users live in, evenly; 24 is the whole world.
    """

    seconds_per_example: float
    speed_spread: float
    download_mbps: float
    upload_mbps: float
    link_spread: float
    dropout: float
    day_ratio: float
    time_zone_hours: float


_PHONES = DeviceProfile(
    # FedScale's client_metadata.py: 5 ms times a lognormal factor of mean 1 and deviation 0.6, both
    # of the logarithm.
    seconds_per_example=0.0136,
    speed_spread=0.6,
    # Ookla, mobile links of the United States in the first half of 2017: 22.69 Mbit/s down and 8.51
    # up in the mean, of which these are the medians at this spread.
    download_mbps=15.1,
    upload_mbps=5.7,
    # An assumption: the middle 80 % of links are within a factor of ten.
    link_spread=0.9,
    # Bonawitz et al. 2019, arXiv 1902.01046, section 9: 6 to 10 %, and four times as many devices
    # at night as by day in a population of one country.
    dropout=0.08,
    day_ratio=4.0,
    time_zone_hours=0.0,
)
PROFILES = {
    PHONES: _PHONES,
    ALIKE: dataclasses.replace(
        _PHONES, speed_spread=0.0, link_spread=0.0, dropout=0.0, day_ratio=1.0
    ),
}
