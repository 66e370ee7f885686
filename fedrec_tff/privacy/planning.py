"""What a private run would cost and how much noise it would suffer, before anything is trained.

Noise is compared with the largest signal there can be. If all users of a cohort agreed, their mean
update would be as long as the clip. Noise of standard deviation s on each of d weights is
s sqrt(d) long. The ratio of both bounds the signal-to-noise ratio of a round: for independent
Gaussian noise on the sum it is clients_per_round / (noise_multiplier sqrt(d)). Over T rounds the
signal can add up to T times that of one, and independent noise adds up to sqrt(T) times, so that
the ratio grows by sqrt(T). Real users disagree: the figures compare settings, they promise nothing.

Correlated noise is set against independent noise by what a server that adds up its updates suffers:
the mean square, over all rounds, of the noise of the running total (`factorization`).
"""

import dataclasses
import math
from collections.abc import Sequence

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, calibration, mechanisms

_CURVE_POINTS = 16
# A run with this share of the best ratio is nearly as good.
_NEARLY_AS_GOOD = 0.8


@dataclasses.dataclass(frozen=True)
class Setting:
    """A run to plan.

    Attributes:
        mechanism: Mechanism that the run uses in each round; where there is a target, its noise is
            found.
        rounds: Number of rounds.
        delta: Delta of the guarantee.
        num_weights: Size of the model.
        releases: Releases that the run makes besides its rounds.
        target_epsilon: Epsilon that rounds and releases may cost together; None if the noise is
            given.
    """

    mechanism: mechanisms.Mechanism
    rounds: int
    delta: float
    num_weights: int
    releases: tuple[accounting.PlannedRelease, ...] = ()
    target_epsilon: float | None = None


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A setting, and what comes out of it.

    Attributes:
        setting: The setting, with the noise that was found.
        epsilon: Upper bound of epsilon, if every round is executed once.
        method: Method by which epsilon was bounded.
        noise_stddev: Standard deviation of the noise on each weight of a round's mean update; for
            correlated noise, of independent noise that the running total would suffer as much from.
        round_ratio: Upper bound of the signal-to-noise ratio of a round.
        total_ratio: Upper bound of the signal-to-noise ratio of the sum of all rounds.
    """

    setting: Setting
    epsilon: float
    method: str
    noise_stddev: float
    round_ratio: float
    total_ratio: float

    @property
    def client_updates(self) -> float:
        """How many updates clients compute in all: what the run takes in work."""
        return self.setting.rounds * self.setting.mechanism.clients_per_round


@dataclasses.dataclass(frozen=True)
class WhatIf:
    """A change of a setting, and the total ratio with it."""

    change: str
    total_ratio: float


@dataclasses.dataclass(frozen=True)
class Advice:
    """Which of some runs to choose.

    Attributes:
        best: The run with the largest total ratio; of equal ones, that with the least work.
        cheaper: The run with the least work that is nearly as good; None if that is the best.
        what_ifs: Changes that would improve the best run, the most helpful first; empty without a
            target.
    """

    best: PlannedRun
    cheaper: PlannedRun | None
    what_ifs: tuple[WhatIf, ...]


def plan(setting: Setting, first_guess: float = 1.0) -> PlannedRun:
    """Finds noise or epsilon of a setting, and its signal-to-noise ratios.

    Args:
        setting: Setting to plan.
        first_guess: First guess of the noise multiplier, see `calibration`.

    Returns:
        The plan.

    Raises:
        UserError: If the target is out of reach.
    """
    mechanism, rounds, releases = setting.mechanism, setting.rounds, setting.releases
    if setting.target_epsilon is not None:
        multiplier = calibration.calibrate_noise_multiplier(
            mechanism, setting.target_epsilon, setting.delta, rounds, releases, first_guess
        )
        mechanism = dataclasses.replace(mechanism, noise_multiplier=multiplier)
        setting = dataclasses.replace(setting, mechanism=mechanism)
    bound = calibration.bound_run(mechanism, setting.delta, rounds, releases)
    stddev = effective_noise_stddev(mechanism, rounds)
    length = stddev * math.sqrt(setting.num_weights)
    ratio = mechanism.sensitivity / length if length else math.inf
    return PlannedRun(
        setting, bound.epsilon, bound.method, stddev, ratio, ratio * math.sqrt(rounds)
    )


def effective_noise_stddev(mechanism: mechanisms.Mechanism, rounds: int) -> float:
    """Standard deviation of the noise on each weight of a round's mean update.

    Args:
        mechanism: Mechanism that a run uses in each round.
        rounds: Number of rounds of the run; for correlated noise, see `PlannedRun.noise_stddev`.

    Returns:
        The deviation, in the unit of the weights.
    """
    return mechanism.kind.sum_noise_stddev(mechanism, rounds) / mechanism.clients_per_round


def advise(runs: Sequence[PlannedRun], num_weights_of_half: int) -> Advice:
    """Finds the best of some runs, and what would improve it.

    Args:
        runs: Runs to compare, at least one, of one target epsilon or of one noise.
        num_weights_of_half: Size of the model with half the embedding dimension.

    Returns:
        The advice.
    """
    # Ratios that differ by rounding errors are equal.
    best = max(runs, key=lambda run: (float(f"{run.total_ratio:.6g}"), -run.client_updates))
    good = [run for run in runs if run.total_ratio >= _NEARLY_AS_GOOD * best.total_ratio]
    cheapest = min(good, key=lambda run: (run.client_updates, -run.total_ratio))
    return Advice(
        best=best,
        cheaper=None if cheapest.client_updates == best.client_updates else cheapest,
        what_ifs=tuple(_what_would_help(best, num_weights_of_half)),
    )


def _what_would_help(run: PlannedRun, num_weights_of_half: int) -> list[WhatIf]:
    """What some changes of a run would bring at the same epsilon, the most helpful first."""
    if run.setting.target_epsilon is None:
        return []
    setting, mechanism = run.setting, run.setting.mechanism
    changes: dict[str, Setting] = {}

    def change(text: str, **fields: float) -> None:
        try:
            changed = dataclasses.replace(mechanism, **fields)
        except UserError:
            return
        changes[text] = dataclasses.replace(setting, mechanism=changed)

    if not mechanism.is_simulated:
        change("twice the users in a round", clients_per_round=2 * mechanism.clients_per_round)
        change("ten times the users, as many in a round", num_clients=10 * mechanism.num_clients)
    if mechanism.min_separation is not None:
        change("twice the min_separation", min_separation=2 * mechanism.min_separation)
    changes["half the embedding_dim"] = dataclasses.replace(
        setting, num_weights=num_weights_of_half
    )
    found = []
    for text, changed in changes.items():
        try:
            ratio = plan(changed, mechanism.noise_multiplier).total_ratio
        except UserError:
            continue
        found.append(WhatIf(text, ratio))
    return sorted(found, key=lambda what_if: -what_if.total_ratio)


@dataclasses.dataclass(frozen=True)
class EpsilonCurve:
    """Epsilon after each of some numbers of rounds, with everything else released."""

    label: str
    rounds: tuple[int, ...]
    epsilons: tuple[float, ...]


def epsilon_curve(run: PlannedRun, label: str) -> EpsilonCurve:
    """How the epsilon of a run grows; releases besides the rounds are counted from the start."""
    setting = run.setting
    rounds = sorted(
        {round(setting.rounds ** (i / (_CURVE_POINTS - 1))) for i in range(_CURVE_POINTS)}
    )
    epsilons = [
        calibration.bound_run(setting.mechanism, setting.delta, n, setting.releases).epsilon
        for n in rounds
    ]
    return EpsilonCurve(label, tuple(rounds), tuple(epsilons))
