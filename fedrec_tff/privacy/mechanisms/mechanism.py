"""A private mechanism with its numbers, checked: what a run does to its users' updates.

From one description sampler, noise and accounting are all derived, so that none of them can drift
from the others.
"""

# Tested in tests/privacy/test_mechanisms.py.

import dataclasses
import math
from typing import TYPE_CHECKING

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.privacy.mechanisms import terms as terms_lib
from fedrec_tff.privacy.mechanisms.base import MechanismKind

if TYPE_CHECKING:
    import dp_accounting


@dataclasses.dataclass(frozen=True)
class Mechanism(terms_lib.Terms):
    """The private mechanism of a run: see `terms.Terms` for its fields.

    Raises:
        UserError: If the kind is not known, a number makes no sense, or the cost of all together
            is not known.
    """

    def __post_init__(self) -> None:
        kind = self.kind
        _require(
            self.sampling in kind.samplings,
            f"the cost of {self.name} is not known for --sampling={self.sampling}; choose "
            + " or ".join(kind.samplings),
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
            "rows_per_user",
        ):
            _require_whole(field, getattr(self, field))
        self._check_fields_belong()
        self._check_cohort(self.clients_per_round, self.num_clients)
        self._check_colluding()
        self._check_simulation()
        self._make_plain_numbers()
        kind.check(self)

    def _check_fields_belong(self) -> None:
        kind = self.kind
        for field in kind.needs:
            _require(getattr(self, field) is not None, f"{self.name} needs {field}")
        for field in terms_lib.FIELDS_OF_SOME:
            is_given = getattr(self, field) not in (None, 0)
            _require(not is_given or kind.has(field), f"{field} means nothing for {self.name}")

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
    def kind(self) -> MechanismKind:
        """What is true of the mechanism whatever its numbers."""
        return kinds.get(self.name)

    @property
    def distribution(self) -> str | None:
        """The distribution of devices' shares of noise; None where nobody adds a share."""
        return self.kind.distribution

    @property
    def neighbouring_relation(self) -> "dp_accounting.NeighboringRelation":
        """The relation between data sets that the guarantee is about."""
        return self.kind.neighbouring_relation(self)


def noise_multiplier_limit(mechanism: Mechanism) -> float:
    """Returns the value that a mechanism's noise multiplier must stay below."""
    return mechanism.kind.noise_multiplier_limit(mechanism)


def unit_event(mechanism: Mechanism) -> "dp_accounting.DpEvent":
    """Returns the event of one unit of a mechanism; every leaf is a Python number."""
    return mechanism.kind.unit_event(mechanism)


def num_units(mechanism: Mechanism, rounds: int) -> int:
    """Returns how many units so many rounds are, for the user who is worst off."""
    return mechanism.kind.num_units(mechanism, rounds)


def planned_events(mechanism: Mechanism, rounds: int) -> "list[tuple[dp_accounting.DpEvent, int]]":
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
