"""What a run does to its users' updates, and what that costs: the one place that knows.

A `Mechanism` is the one description from which sampler, noise and accounting are all derived, so
that none of them can drift from the others. Its cost is that of independent, equal *units*: a unit
is a round where rounds are accounted one by one, and a user's turn where users are bounded in how
often they take part. `unit_event` is what one costs, `num_units` how many a run of so many rounds
has for the user who is worst off.

| mechanism | sampler | relation | a unit costs | units in T rounds |
| --- | --- | --- | --- | --- |
| `dp_gaussian`, `dp_adaptive` | `poisson` | add-or-remove-one | Gaussian(z), Poisson(q) | T |
| the same | `fixed_size` | replace-one | Gaussian(z / 2), m of n | T |
| `dp_tree` | `cyclic_poisson` | add-or-remove-one | Gaussian(z / sqrt(h)), Poisson(q b) | T / b |
| `dp_banded_mf` | `cyclic_poisson` | add-or-remove-one | Gaussian(z), Poisson(q b) | T / b |
| `local_gaussian` | any that is not cyclic | replace-one | Gaussian(z / 2) | a user's turns |
| `local_laplace` | any that is not cyclic | replace-one | Laplace(z / 2) | a user's turns |
| `ddp_*` | `shuffled_epochs` | replace-one | see `distributed` | T / (n // m) |

z is the noise multiplier, q the sampling probability, n the users, m the cohort, b the minimum
separation, h the depth of a tree over b rounds; units are rounded up.

* Add-or-remove-one: neighbours differ in one user being there or not, so the clipped sum moves by
  at most the clip norm: what is drawn for the others stays as it is (`sampling`). The number of
  users is treated as public.
* Replace-one: a user can only be replaced by another. The clipped sum moves by at most *twice* the
  clip norm (one vector goes, another comes), so that the noise is worth half. `dp_accounting` asks
  for multipliers relative to the sensitivity under the relation in force, and knows sampling
  without replacement under this one only.
* Adaptive clipping releases sum and clipped count on the same cohort: jointly one Gaussian
  mechanism of multiplier (a^-2 + b^-2)^-1/2.
* Turns of a cyclic sampler are at least b rounds apart. Noise that is correlated over fewer rounds
  than that (a tree restarted every b rounds, a matrix of b bands) ties no two turns of a user
  together, so each turn is a Gaussian mechanism on a Poisson sample of the group: Choquette-Choo et
  al. 2023 (arXiv 2306.08153, theorem 4) for the matrix; for the tree the same argument, a turn
  being a leaf that is in h nodes (Kairouz et al. 2021, arXiv 2103.00039).
* Local noise is added before anything leaves the device, so that neither sampling nor the server
  is part of the argument: what a user's turns cost is their number, whatever the others do.
"""

import dataclasses
import math
from typing import Literal

import dp_accounting

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import distributed, sampling
from fedrec_tff.privacy.catalogue import (
    ALLOWED_FOR,
    CENTRAL,
    DISTRIBUTED,
    DP_ADAPTIVE,
    DP_TREE,
    LOCAL_GAUSSIAN,
    LOCAL_LAPLACE,
    NEEDED_BY,
    SAMPLINGS,
    MechanismName,
)

# The clipped indicator is counted as -0.5 or +0.5, and as 0 for who sends zeros: one user who is
# there or not, or has data or none, moves the count by this much.
_COUNT_SENSITIVITY = 0.5
_DEFAULT_COUNT_STDDEV_PER_CLIENT = 0.05


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """The private mechanism of a run.

    Attributes:
        name: Which; the table above has them all.
        noise_multiplier: Standard deviation of the noise over the sensitivity (for a tree, of the
            noise on a node; for Laplace noise, its scale over the clip norm). For `dp_adaptive` the
            multiplier that sum and clipped count together are worth; for distributed noise, of the
            shares of the whole cohort together, colluders' included. 0 means no noise and no
            guarantee.
        clip_norm: Norm to which each user's update is clipped: L1 for Laplace noise, otherwise L2;
            the initial one for `dp_adaptive`.
        num_clients: Size of the population.
        clients_per_round: Expected cohort size, or cohort size where the sampler has one.
        sampling: The law of the sampler, one of `SAMPLINGS[name]`.
        clipped_count_stddev: Standard deviation of the noise on the clipped count, `dp_adaptive`
            only; None means a twentieth of the cohort.
        tower_clip_norm: If given, `clip_norm` is that of the item rows, and this that of the rest;
            the joint sensitivity is the root of the sum of their squares.
        min_separation: Rounds between two turns of a user, at least.
        rounds: For how many rounds correlated noise was planned; more are refused.
        max_rounds_per_user: How often a user may be asked under local privacy.
        noise_cohort_size: If given, a simulation: noise and epsilon are those of a deployment with
            so many clients a round, and the noise is scaled down to keep its ratio to the signal.
        noise_population_size: How many users that deployment has.
        num_weights: Size of an update.
        modulus_bits: Bits of each number in a secure sum.
        colluding_clients: How many of each cohort may tell the server what they sent: their shares
            of distributed noise are not counted.
    """

    name: MechanismName
    noise_multiplier: float
    clip_norm: float
    num_clients: int
    clients_per_round: float
    sampling: Literal["poisson", "fixed_size", "cyclic_poisson", "shuffled_epochs"] = (
        sampling.POISSON
    )
    clipped_count_stddev: float | None = None
    tower_clip_norm: float | None = None
    min_separation: int | None = None
    rounds: int | None = None
    max_rounds_per_user: int | None = None
    noise_cohort_size: float | None = None
    noise_population_size: int | None = None
    num_weights: int | None = None
    modulus_bits: int | None = None
    colluding_clients: int = 0

    def __post_init__(self) -> None:
        _require(self.name in SAMPLINGS, f"no private mechanism is called {self.name!r}")
        _require(
            self.sampling in SAMPLINGS[self.name],
            f"the cost of {self.name} is not known for --sampling={self.sampling}; choose "
            + " or ".join(SAMPLINGS[self.name]),
        )
        _require(
            math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0.0,
            f"noise_multiplier must be finite and not negative, found {self.noise_multiplier}",
        )
        for field in ("clip_norm", "tower_clip_norm", "clients_per_round", "noise_cohort_size"):
            _require_positive(field, getattr(self, field))
        for field in (
            "num_clients",
            "min_separation",
            "rounds",
            "max_rounds_per_user",
            "noise_population_size",
            "num_weights",
            "modulus_bits",
        ):
            _require_whole(field, getattr(self, field))
        self._check_fields_belong()
        self._check_cohort(self.clients_per_round, self.num_clients)
        self._check_colluding()
        self._check_simulation()
        self._make_plain_numbers()
        if self.name == DP_ADAPTIVE:
            self.split_noise()

    def _check_fields_belong(self) -> None:
        for field, names in NEEDED_BY.items():
            given = getattr(self, field) is not None
            _require(given or self.name not in names, f"{self.name} needs {field}")
            _require(not given or self.name in names, f"{field} means nothing for {self.name}")
        for field, names in ALLOWED_FOR.items():
            given = getattr(self, field) not in (None, 0)
            _require(not given or self.name in names, f"{field} means nothing for {self.name}")

    def _check_cohort(self, clients_per_round: float, num_clients: int) -> None:
        _require(
            clients_per_round <= num_clients,
            f"{clients_per_round:g} clients a round is more than the {num_clients} there are; "
            "lower --clients_per_round",
        )
        if self.sampling in (sampling.FIXED_SIZE, sampling.SHUFFLED_EPOCHS):
            _require(
                clients_per_round == int(clients_per_round),
                f"{self.sampling} sampling needs a whole number of clients a round, found "
                f"{clients_per_round}",
            )
        if self.sampling == sampling.CYCLIC_POISSON:
            _require(
                clients_per_round * self.min_separation <= num_clients,
                f"{clients_per_round:g} clients a round from one of {self.min_separation} groups "
                f"of {num_clients} users is more than a group has; lower --clients_per_round to "
                f"{num_clients / self.min_separation:g}, or --min_separation to "
                f"{int(num_clients / clients_per_round)}",
            )

    def _check_colluding(self) -> None:
        colluding = self.colluding_clients
        _require(
            colluding >= 0 and colluding == int(colluding),
            f"colluding_clients must be a whole number of at least 0, found {colluding}",
        )
        _require(
            colluding < self.clients_per_round,
            f"if {colluding} of {self.clients_per_round:g} clients a round collude, nobody is left "
            "whose noise protects: lower colluding_clients, or raise clients_per_round",
        )

    def _check_simulation(self) -> None:
        _require(
            (self.noise_cohort_size is None) == (self.noise_population_size is None),
            "--noise_cohort_size and --noise_population_size describe one deployment: give both",
        )
        if self.noise_cohort_size is None:
            return
        _require(
            self.noise_cohort_size >= self.clients_per_round,
            f"--noise_cohort_size={self.noise_cohort_size:g} is below --clients_per_round="
            f"{self.clients_per_round:g}: it stands for a larger cohort",
        )
        self._check_cohort(self.noise_cohort_size, self.noise_population_size)

    def _make_plain_numbers(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, str):
                is_count = field.type in (int, int | None)
                object.__setattr__(self, field.name, int(value) if is_count else float(value))

    @property
    def is_simulated(self) -> bool:
        """Whether noise and epsilon are those of a larger deployment, not of these users."""
        return self.noise_cohort_size is not None

    @property
    def accounted_clients(self) -> int:
        """Users of the population that epsilon is about."""
        return self.noise_population_size if self.is_simulated else self.num_clients

    @property
    def accounted_clients_per_round(self) -> float:
        """Cohort size of the population that epsilon is about."""
        return self.noise_cohort_size if self.is_simulated else self.clients_per_round

    @property
    def sampling_probability(self) -> float:
        """Probability with which a given user is in a given round, before groups are drawn."""
        return self.accounted_clients_per_round / self.accounted_clients

    @property
    def turn_probability(self) -> float:
        """Probability with which a given user is in a round that is the user's turn."""
        of_group = self.accounted_clients_per_round * (self.min_separation or 1)
        return min(1.0, of_group / self.accounted_clients)

    @property
    def rounds_per_epoch(self) -> int:
        """Rounds in which a user takes part at most once (`shuffled_epochs`)."""
        return int(self.accounted_clients // self.accounted_clients_per_round)

    @property
    def neighbouring_relation(self) -> dp_accounting.NeighboringRelation:
        """The relation between data sets that the guarantee is about."""
        is_central = self.name in CENTRAL
        if is_central and self.sampling in (sampling.POISSON, sampling.CYCLIC_POISSON):
            return dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
        return dp_accounting.NeighboringRelation.REPLACE_ONE

    @property
    def sensitivity(self) -> float:
        """What one user's update can be at most, in the norm that is clipped, all parts jointly."""
        return math.hypot(self.clip_norm, self.tower_clip_norm or 0.0)

    @property
    def noise_scale(self) -> float:
        """What the noise is scaled by in a simulation of a larger cohort; otherwise 1."""
        return self.clients_per_round / self.accounted_clients_per_round

    @property
    def noise_stddev(self) -> float:
        """Standard deviation of the noise on the sum; for a tree, on a node."""
        return self.noise_multiplier * self.sensitivity * self.noise_scale

    def split_noise(self) -> tuple[float, float]:
        """Splits the accounted noise of `dp_adaptive`; see `split_adaptive_noise`."""
        return split_adaptive_noise(
            self.noise_multiplier, self.accounted_clients_per_round, self.clipped_count_stddev
        )


def split_adaptive_noise(
    noise_multiplier: float, expected_clients: float, clipped_count_stddev: float | None = None
) -> tuple[float, float]:
    """Splits the noise of adaptive clipping between the sum and the clipped count.

    Both are released in each round, on the same cohort. Two Gaussian mechanisms with multipliers a
    and b on the same data are worth one with multiplier (a^-2 + b^-2)^-1/2. Given the count's b,
    this solves for the sum's a, such that both together are worth `noise_multiplier`. Same split as
    in "Differentially Private Learning with Adaptive Clipping" (Andrew et al. 2021).

    Args:
        noise_multiplier: What both together must be worth; 0 for no noise.
        expected_clients: Expected cohort size.
        clipped_count_stddev: Standard deviation of the noise on the count; None means a twentieth
            of the cohort.

    Returns:
        The noise multiplier of the sum, and the standard deviation of the noise on the count.

    Raises:
        UserError: If the noise on the count alone costs more than `noise_multiplier` allows.
    """
    if noise_multiplier == 0.0:
        return 0.0, float(clipped_count_stddev or 0.0)
    if clipped_count_stddev is None:
        clipped_count_stddev = _DEFAULT_COUNT_STDDEV_PER_CLIENT * expected_clients
    _require(
        math.isfinite(clipped_count_stddev) and clipped_count_stddev > 0.0,
        f"clipped_count_stddev must be finite and positive, found {clipped_count_stddev}",
    )
    count_noise_multiplier = clipped_count_stddev / _COUNT_SENSITIVITY
    # What is left for the sum, as the inverse square of its multiplier.
    rest = noise_multiplier**-2 - count_noise_multiplier**-2
    _require(
        rest > 0.0,
        f"the noise on the clipped count, of standard deviation {clipped_count_stddev:.6g} (by "
        "default a twentieth of the cohort), is too little for --noise_multiplier="
        f"{noise_multiplier:.6g}, which needs more than "
        f"{noise_multiplier * _COUNT_SENSITIVITY:.6g}; raise --clients_per_round",
    )
    return float(rest**-0.5), float(clipped_count_stddev)


def noise_multiplier_limit(mechanism: Mechanism) -> float:
    """Returns the value that a mechanism's noise multiplier must stay below.

    Adaptive clipping cannot be worth more than the noise on its clipped count alone, and
    distributed noise has to fit the bits of a secure sum.
    """
    if mechanism.name in DISTRIBUTED:
        return distributed.noise_multiplier_limit(mechanism)
    if mechanism.name != DP_ADAPTIVE:
        return math.inf
    stddev = mechanism.clipped_count_stddev
    if stddev is None:
        stddev = _DEFAULT_COUNT_STDDEV_PER_CLIENT * mechanism.accounted_clients_per_round
    return stddev / _COUNT_SENSITIVITY


def unit_event(mechanism: Mechanism) -> dp_accounting.DpEvent:
    """Returns the event of one unit of a mechanism; every leaf is a Python number."""
    multiplier = mechanism.noise_multiplier
    if mechanism.name in DISTRIBUTED:
        return distributed.create_event(mechanism)
    if multiplier == 0.0:
        return dp_accounting.NonPrivateDpEvent()
    if mechanism.name == LOCAL_GAUSSIAN:
        return dp_accounting.GaussianDpEvent(multiplier / 2.0)
    if mechanism.name == LOCAL_LAPLACE:
        return dp_accounting.LaplaceDpEvent(multiplier / 2.0)
    if mechanism.name == DP_TREE:
        depth = min(mechanism.min_separation, mechanism.rounds).bit_length()
        multiplier /= math.sqrt(depth)
    if mechanism.name == DP_ADAPTIVE:
        sum_noise_multiplier, count_stddev = mechanism.split_noise()
        count_noise_multiplier = count_stddev / _COUNT_SENSITIVITY
        multiplier = (sum_noise_multiplier**-2 + count_noise_multiplier**-2) ** -0.5
    if mechanism.sampling == sampling.FIXED_SIZE:
        return dp_accounting.SampledWithoutReplacementDpEvent(
            mechanism.accounted_clients,
            int(mechanism.accounted_clients_per_round),
            dp_accounting.GaussianDpEvent(multiplier / 2.0),
        )
    return dp_accounting.PoissonSampledDpEvent(
        mechanism.turn_probability, dp_accounting.GaussianDpEvent(multiplier)
    )


def num_units(mechanism: Mechanism, rounds: int) -> int:
    """Returns how many units so many rounds are, for the user who is worst off."""
    if mechanism.sampling == sampling.CYCLIC_POISSON:
        return -(-rounds // mechanism.min_separation)
    if mechanism.sampling == sampling.SHUFFLED_EPOCHS:
        rounds = -(-rounds // mechanism.rounds_per_epoch)
    if mechanism.max_rounds_per_user is not None:
        return min(rounds, mechanism.max_rounds_per_user)
    return rounds


def planned_events(mechanism: Mechanism, rounds: int) -> list[tuple[dp_accounting.DpEvent, int]]:
    """Returns what so many rounds, each executed once, amount to: independent events with counts.

    Raises:
        UserError: If correlated noise was planned for fewer rounds.
    """
    check_rounds(mechanism, rounds)
    return [(unit_event(mechanism), num_units(mechanism, rounds))]


def check_rounds(mechanism: Mechanism, rounds: int) -> None:
    """Raises a UserError if there are more rounds than correlated noise was planned for."""
    _require(
        mechanism.rounds is None or rounds <= mechanism.rounds,
        f"{mechanism.name} was planned for {mechanism.rounds} rounds, and has no noise for "
        f"{rounds}; plan a new run with more rounds",
    )


def _require_positive(field: str, value: float | None) -> None:
    _require(
        value is None or (math.isfinite(value) and value > 0.0),
        f"{field} must be finite and positive, found {value}",
    )


def _require_whole(field: str, value: float | None) -> None:
    _require(
        value is None or (math.isfinite(value) and value >= 1 and value == int(value)),
        f"{field} must be a whole number of at least 1, found {value}",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
