"""What an epsilon assumes and where a run departs from it: one record, for every artefact.

An epsilon is a number about a mechanism. Whether it is one about the users at hand rests on what
the run chose besides. The record of that decides what the number is called, wherever it stands, and
is in the statement, the ledger, `results.json`, TensorBoard and the tables.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from fedrec_tff.privacy.mechanisms import base, kinds

# The number is nobody's here; it is that of a larger deployment; it holds under something said.
INSECURE = "insecure"
SIMULATED = "simulated"
ASSUMPTION = "assumption"

# What a number is called, by what voids it. Where several do, the first says least of anybody.
EPSILON_NAMES = {INSECURE: "insecure_epsilon", SIMULATED: "simulated_epsilon", "": "epsilon"}

DATA_CATALOGUE = "data"

# The places of what the kind of mechanism says itself.
_TRUST = "trust"
_ARITHMETIC = "arithmetic"


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a private run chose that says whose its epsilon is.

    Attributes:
        mechanism_name: Name of one of `mechanisms.kinds.KINDS`.
        has_deterministic_noise: Whether the noise follows from the seed.
        has_secret_cohorts: Whether cohorts are drawn from a secret key.
        samples_users: Whether some take part at a time; if not, nothing rests on who does.
        simulates_deployment: Whether noise and epsilon are those of more users than there are.
        catalogue_kind: Source of the catalogue; `data` is the users' data.
        has_public_roster: Whether the population was named apart from the data.
        has_edges: Whether edges stand between users and server.
        keeps_weights_on_devices: Whether devices fit something that stays with them.
        has_absent_devices: Whether users take part less often than is accounted for.
        has_group_attendance: Whether users of some groups take part less often than others.
        has_initial_model: Whether training begins with a model that is taken to be public.
    """

    mechanism_name: str
    has_deterministic_noise: bool = False
    has_secret_cohorts: bool = True
    samples_users: bool = True
    simulates_deployment: bool = False
    catalogue_kind: str = DATA_CATALOGUE
    has_public_roster: bool = False
    has_edges: bool = False
    keeps_weights_on_devices: bool = False
    has_absent_devices: bool = False
    has_group_attendance: bool = False
    has_initial_model: bool = False


@dataclasses.dataclass(frozen=True)
class Departure:
    """One thing that must be said with an epsilon.

    Attributes:
        name: An identifier, as in `seeded_cohorts`.
        kind: Kind of departure: `INSECURE`, `SIMULATED` or `ASSUMPTION`.
        sentence: The departure in plain words.
    """

    name: str
    kind: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Departures:
    """All that must be said with the epsilon of a run, in order."""

    entries: tuple[Departure, ...] = ()

    @property
    def voided_by(self) -> str:
        """The kind for which the number is no guarantee; empty if it is one. Insecure wins."""
        found = {entry.kind for entry in self.entries}
        return next((kind for kind in (INSECURE, SIMULATED) if kind in found), "")

    @property
    def epsilon_name(self) -> str:
        """What the number is called: `epsilon`, `insecure_epsilon` or `simulated_epsilon`."""
        return EPSILON_NAMES[self.voided_by]

    @property
    def voiding(self) -> list[str]:
        """The names of what voids the number."""
        return [entry.name for entry in self.entries if entry.kind != ASSUMPTION]

    @property
    def assumed(self) -> list[str]:
        """The names of what the number assumes."""
        return [entry.name for entry in self.entries if entry.kind == ASSUMPTION]

    def describe(self, *kinds: str) -> str:
        """The sentences of some kinds, or of all, as one paragraph."""
        return " ".join(e.sentence for e in self.entries if e.kind in (kinds or (e.kind,)))

    def summarize(self) -> str:
        """The names in a line, for tables that have no room for sentences."""
        parts = (("voided by", self.voiding), ("assumes", self.assumed))
        return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)

    def to_json(self) -> list[dict[str, str]]:
        """Plain data for `json`."""
        return [dataclasses.asdict(entry) for entry in self.entries]

    @classmethod
    def from_json(cls, value: list[dict[str, str]]) -> "Departures":
        """Reads what `to_json` wrote.

        Raises:
            TypeError: If an entry has other fields.
            ValueError: If an entry is of no known kind.
        """
        entries = tuple(Departure(**entry) for entry in value)
        for entry in entries:
            if entry.kind not in (INSECURE, SIMULATED, ASSUMPTION):
                raise ValueError(f"{entry.kind!r} is no kind of departure")
        return cls(entries)


NONE = Departures()


def find_departures(choices: Choices) -> Departures:
    """Lists what must be said with the epsilon of a run.

    Args:
        choices: Choices of the run that decide what its epsilon means.

    Returns:
        The departures: those that void the number first, then those that it assumes.
    """
    kind = kinds.get(choices.mechanism_name)
    # Others claim nothing from sampling.
    is_sampled = kind.counts_on_secret_cohorts and choices.samples_users
    applies = {
        "deterministic_noise": choices.has_deterministic_noise,
        "seeded_cohorts": is_sampled and not choices.has_secret_cohorts,
        "simulated_deployment": choices.simulates_deployment,
        _TRUST: True,
        "secret_cohorts": is_sampled and choices.has_secret_cohorts,
        "catalogue_from_data": choices.catalogue_kind == DATA_CATALOGUE,
        "users_from_data": not choices.has_public_roster,
        _ARITHMETIC: kind.arithmetic is not None,
        "edges": choices.has_edges,
        "weights_on_devices": choices.keeps_weights_on_devices,
        "absent_devices": choices.has_absent_devices,
        "group_attendance": choices.has_group_attendance,
        "initial_model": choices.has_initial_model,
    }
    of_kind = {_TRUST: kind.trust, _ARITHMETIC: kind.arithmetic}
    return Departures(
        tuple(
            _assume(of_kind[name]) if name in of_kind else _ALL[name]
            for name, does in applies.items()
            if does
        )
    )


def _assume(assumption: base.Assumption) -> Departure:
    return Departure(assumption.name, ASSUMPTION, assumption.sentence)


def unite(several: Iterable[Departures]) -> Departures:
    """What must be said with an epsilon that is about several runs together.

    Args:
        several: Departures of each run.

    Returns:
        Each departure once, those that void the number first.
    """
    found = {entry.name: entry for said in several for entry in said.entries}
    kinds = (INSECURE, SIMULATED, ASSUMPTION)
    return Departures(tuple(sorted(found.values(), key=lambda entry: kinds.index(entry.kind))))


def find_epsilon(values: Mapping[str, Any]) -> tuple[str, Any]:
    """Finds the epsilon of a run under whichever name it has.

    Args:
        values: Numbers by name, as in `results.json`, or one of the rounds without folders.

    Returns:
        The kind of departure that voids it (empty for none), and the number; None for a run that
        claims no epsilon.
    """
    for kind, name in EPSILON_NAMES.items():
        if values.get(name) is not None:
            return kind, values[name]
    return "", None


_ALL = {
    entry.name: entry
    for entry in (
        Departure(
            "deterministic_noise",
            INSECURE,
            "The noise is predictable (--insecure_deterministic_noise), so whoever knows the seed "
            "can take it off.",
        ),
        Departure(
            "seeded_cohorts",
            INSECURE,
            "Who is in which round follows from --seed, and epsilon counts on nobody's knowing it.",
        ),
        Departure(
            "simulated_deployment",
            SIMULATED,
            "The noise is that of a larger deployment, scaled down (--noise_cohort_size), so the "
            "users of this data set have no guarantee of its epsilon.",
        ),
        Departure(
            "secret_cohorts",
            ASSUMPTION,
            "Who was in which round is taken to be secret, and so are cohort_key and all files "
            "that show it.",
        ),
        Departure(
            "catalogue_from_data",
            ASSUMPTION,
            "The catalogue is taken from the data and treated as public, so an item that a single "
            "user took shows.",
        ),
        Departure(
            "users_from_data",
            ASSUMPTION,
            "Which users there are is taken from the data and treated as public.",
        ),
        Departure(
            "edges",
            ASSUMPTION,
            "Here edges stand between users and server. With noise_at=edge, the default, each edge "
            "clips, sums its own users and adds this noise to its sum, and edges rather than the "
            "server are trusted; with noise_at=server edges only add up.",
        ),
        Departure(
            "weights_on_devices",
            ASSUMPTION,
            "The guarantee is about what devices send. What a device fits for itself, a personal "
            "part or a fine-tuned copy, stays with its user and costs nothing.",
        ),
        Departure(
            "absent_devices",
            ASSUMPTION,
            "Some devices are absent in this simulation, so users take part less often than "
            "stated, and epsilon is an upper bound.",
        ),
        Departure(
            "group_attendance",
            ASSUMPTION,
            "Users of some groups take part in a share of their rounds alone (--group_attendance): "
            "for them epsilon is an upper bound. What groups somebody is in is that user's own "
            "data; nobody else's rounds follow from it.",
        ),
        Departure(
            "initial_model",
            ASSUMPTION,
            "Training begins with a model (--initial_model) that is taken to be public or of other "
            "people: if these users' data went into it, what that cost them comes on top of "
            "epsilon, and without noise there it is no guarantee.",
        ),
    )
}
