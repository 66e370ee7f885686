"""The devices of a population: how long each takes for a round, when it is there, if it stays."""

# Tested in tests/learning/simulation/test_fleet.py.

import dataclasses
import math

import numpy as np
from scipy import special

from fedrec_tff.datasets.keyed_draws import KeyedDraws
from fedrec_tff.learning.simulation.fleet.profiles import DeviceProfile

# What is drawn, once for each user, or for each user and round.
_SPEED, _LINK, _ZONE = "device_speed", "device_link", "device_zone"
_THERE, _STAYS, _GONE_AFTER = "device_is_there", "device_stays", "device_gone_after"
# An assumption: phones are idle and charging at night, most of them at this hour where they are.
_BEST_HOUR = 2.0
_HOURS = 24.0
_SECONDS_PER_HOUR = 3600.0
_BITS_PER_MEGABYTE = 8.0
_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True, eq=False)
class RoundWork:
    """What one round asks of each user's device.

    Attributes:
      examples: float64 [num_users], examples trained on, over all local epochs.
      upload_bytes: float64 [num_users].
      download_bytes: Bytes of what every device gets.
    """

    examples: np.ndarray
    upload_bytes: np.ndarray
    download_bytes: float


class Fleet:
    """The devices of some users, each drawn from the user's own id.

    Attributes:
      round_seconds: float64 [num_users], how long each device takes from the download of the model
        to the end of its upload.
    """

    def __init__(self, draws: KeyedDraws, profile: DeviceProfile, work: RoundWork) -> None:
        """Draws the devices.

        Args:
          draws: Keyed draws of the users; public.
          profile: What the population is like.
          work: What a round asks of each.
        """
        self._draws, self._profile = draws, profile
        self.round_seconds = _find_seconds(draws, profile, work)
        self._zones = draws.uniforms(_ZONE) * profile.time_zone_hours

    @property
    def num_users(self) -> int:
        """The number of devices."""
        return len(self.round_seconds)

    def find_there(self, rows: np.ndarray, seconds: float, number: int) -> np.ndarray:
        """Who can be reached: idle, charging and on an unmetered link.

        Args:
          rows: int64 [m], the users.
          seconds: Time on the simulated clock, which starts at midnight.
          number: Which draw it is, as the round.

        Returns:
          bool [m]: each by a coin whose probability follows the hour where the user is, and is 1 in
          the best hour.
        """
        uniforms = self._draws.take(rows).uniforms(_THERE, number)
        return uniforms < self.presence(rows, seconds)

    def presence(self, rows: np.ndarray, seconds: float) -> np.ndarray:
        """Probability of being there, over that of the best hour: float64 [m], see `find_there`."""
        hours = seconds / _SECONDS_PER_HOUR + self._zones[rows]
        ratio = self._profile.day_ratio
        wave = np.cos(2.0 * math.pi * (hours - _BEST_HOUR) / _HOURS)
        return (ratio + 1.0 + (ratio - 1.0) * wave) / (2.0 * ratio)

    def draw_there(self, number: int) -> np.ndarray:
        """The numbers that `find_there` compares with the probability: float64 [num_users]."""
        return self._draws.uniforms(_THERE, number)

    def find_staying(self, rows: np.ndarray, number: int) -> np.ndarray:
        """Who does not drop out of the work that it has begun: bool [m]."""
        return self._draws.take(rows).uniforms(_STAYS, number) >= self._profile.dropout

    def draw_working_shares(self, number: int) -> np.ndarray:
        """Of each device, the share of its work after which it is gone; 1 for one that stays.

        Args:
          number: Which draw it is.

        Returns:
          float64 [num_users], in [0, 1].
        """
        everybody = np.arange(self.num_users)
        gone_after = self._draws.uniforms(_GONE_AFTER, number)
        return np.where(self.find_staying(everybody, number), 1.0, gone_after)


def _find_seconds(draws: KeyedDraws, profile: DeviceProfile, work: RoundWork) -> np.ndarray:
    """Computing and sending: float64 [num_users]."""
    slowness = _draw_factors(draws, _SPEED, profile.speed_spread)
    seconds_per_megabit = _draw_factors(draws, _LINK, profile.link_spread)
    megabits = _BITS_PER_MEGABYTE / _MEGABYTE
    link = (
        megabits * work.download_bytes / profile.download_mbps
        + megabits * work.upload_bytes / profile.upload_mbps
    )
    return work.examples * profile.seconds_per_example * slowness + link * seconds_per_megabit


def _draw_factors(draws: KeyedDraws, purpose: str, spread: float) -> np.ndarray:
    """Lognormal factors of median one: float64 [num_users]."""
    # Half a step off zero, whose logarithm would be infinite.
    uniforms = draws.uniforms(purpose) + 2.0**-54
    return np.exp(spread * special.ndtri(uniforms))
