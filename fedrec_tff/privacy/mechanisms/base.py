"""What every kind of private mechanism answers: the questions that the rest of the code may ask.

A kind is one object, in the file of its mechanism. It knows no numbers: those are in `terms.Terms`,
which it is handed. Its cost is that of independent, equal *units*: a unit is a round where rounds
are accounted one by one, and a user's turn where users are bounded in how often they take part.

Flags ask kinds too, so no file here imports anything slow at its top: `dp_accounting` is imported
where an event is made.
"""

# Tested in tests/privacy/test_mechanisms.py.

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import terms as terms_lib

if TYPE_CHECKING:
    import dp_accounting

# Who adds the noise: the server, each device all of its own, or a cohort's devices a share each.
SERVER = "server"
DEVICE = "device"
COHORT = "cohort"


@dataclasses.dataclass(frozen=True)
class Assumption:
    """Something that the guarantee assumes.

    Attributes:
        name: Identifier, as in `trusted_server`.
        sentence: The assumption in plain words.
    """

    name: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row of the table in docs/privacy.md, section 2, below its header; a test compares them.

    Attributes:
        noise: Distribution of the noise on a weight.
        sensitivity: Most that one user's clipped update can be.
        sampler: Laws of the cohorts.
        relation: Relation between neighbours.
        cost: Event of a unit, and number of units.
        accountant: Bounds that apply.
        trusted: Whoever must be trusted.
        source: Paper that the mechanism comes from.
        aggregator: Name of an aggregator that runs the mechanism in other hands; None for the
            mechanism's namesake.
    """

    noise: str
    sensitivity: str
    sampler: str
    relation: str
    cost: str
    accountant: str
    trusted: str
    source: str
    aggregator: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MechanismKind(abc.ABC):
    """A private mechanism without its numbers.

    Attributes:
        name: Name, as `--aggregator` and ledgers have it.
        samplings: Laws of cohorts under which the cost is known; the first is the default.
        rows: Rows of the table in docs/privacy.md.
        noise_source: Whoever adds the noise: `SERVER`, `DEVICE` or `COHORT`.
        trust: Assumption about server and devices.
        arithmetic: Assumption about arithmetic; None where sums and noises are integers.
        covers: Scope of the guarantee, for the statement.
        counts_on_secret_cohorts: Whether the cost is lower because nobody knows who took part.
        needs: Fields out of `terms.FIELDS_OF_SOME` that the mechanism must have.
        may_have: Fields out of `terms.FIELDS_OF_SOME` that the mechanism may have besides.
        correlates_rounds: Whether noise is correlated over rounds: then checkpoints hold past noise
            that later rounds take off again, and must be kept secret.
        norm_order: Order of the norm that is clipped, 1 or 2.
        stddev_over_scale: Standard deviation of a noise of scale 1, in which the multiplier is.
        kurtosis: Kurtosis of the noise; 3 for a Gaussian.
        distribution: Distribution of devices' shares of noise (`privacy.distributed`); None where
            nobody adds a share.
        chooses_rows: Whether rows of the item table are chosen in each round, and the others'
            updates left out, without any noise: then updates must be laid out as the model is.
        way_out: Further advice where a target is out of reach; empty for none.
    """

    name: str
    samplings: tuple[str, ...]
    rows: tuple[TableRow, ...]
    noise_source: Literal["server", "device", "cohort"]
    trust: Assumption
    arithmetic: Assumption | None = None
    covers: str
    counts_on_secret_cohorts: bool
    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    correlates_rounds: bool = False
    norm_order: int = 2
    stddev_over_scale: float = 1.0
    kurtosis: float = 3.0
    distribution: str | None = None
    chooses_rows: bool = False
    way_out: str = ""

    # What follows from that.

    @property
    def trusts_server(self) -> bool:
        """Whether the server sees every update in the clear.

        Then it may have exact sums of other things too: metrics of training, popularity and other
        releases beside the model, whose noise it adds.
        """
        return self.noise_source == SERVER

    @property
    def draws_noise_on_devices(self) -> bool:
        """Whether devices add noise, all of it or shares, which an attacker would leave out."""
        return self.noise_source != SERVER

    @property
    def plans_for_weights(self) -> bool:
        """Whether noise and cost depend on how many weights an update has, and on the clip."""
        return self.has("num_weights")

    def has(self, field: str) -> bool:
        """Whether a field of `terms.FIELDS_OF_SOME` means something here."""
        return field in self.needs or field in self.may_have

    # What accounting asks.

    @abc.abstractmethod
    def neighbouring_relation(self, terms: terms_lib.Terms) -> "dp_accounting.NeighboringRelation":
        """The relation between data sets that the guarantee is about."""

    def unit_event(self, terms: terms_lib.Terms) -> "dp_accounting.DpEvent":
        """The event of one unit; every leaf is a Python number."""
        import dp_accounting

        if terms.noise_multiplier == 0.0:
            return dp_accounting.NonPrivateDpEvent()
        return self.noisy_unit_event(terms)

    @abc.abstractmethod
    def noisy_unit_event(self, terms: terms_lib.Terms) -> "dp_accounting.DpEvent":
        """The event of one unit, where there is noise."""

    def num_units(self, terms: terms_lib.Terms, rounds: int) -> int:
        """How many units so many rounds are, for the user who is worst off."""
        if terms.sampling == sampling.CYCLIC_POISSON:
            return -(-rounds // terms.min_separation)
        if terms.sampling == sampling.SHUFFLED_EPOCHS:
            rounds = -(-rounds // terms.rounds_per_epoch)
        if terms.max_rounds_per_user is not None:
            return min(rounds, terms.max_rounds_per_user)
        return rounds

    def noise_multiplier_limit(self, terms: terms_lib.Terms) -> float:
        """The value that the noise multiplier must stay below; the one in `terms` is ignored."""
        del terms
        return math.inf

    # What is asked before a run, and by those who audit one.

    def check(self, terms: terms_lib.Terms) -> None:
        """Refuses numbers that make no sense together, beyond what is asked of all mechanisms.

        Args:
            terms: The numbers, each of them sound.

        Raises:
            UserError: If they don't.
        """
        del terms

    def added_noise_stddev(self, terms: terms_lib.Terms) -> float:
        """Standard deviation of the noise that a release adds to a weight of its sum, if any."""
        return terms.noise_stddev * self.stddev_over_scale

    def needless_probability(self, terms: terms_lib.Terms) -> float:
        """Probability with which a row of which no user sent anything has noise on it."""
        del terms
        return 1.0

    def num_clients_to_choose(self, terms: terms_lib.Terms) -> int:
        """How many clients must change a row for it to have noise on it, all but surely."""
        del terms
        return 0

    def sum_noise_stddev(self, terms: terms_lib.Terms, rounds: int) -> float:
        """Standard deviation of the noise on each weight of a round's sum.

        Args:
            terms: The numbers.
            rounds: Number of rounds of the run; correlated noise is as much as independent noise
                that the running total would suffer as much from.

        Returns:
            The deviation, in the unit of the weights.
        """
        del rounds
        return self.added_noise_stddev(terms)

    def accounted_norm(self, terms: terms_lib.Terms) -> float:
        """The longest that one user's update can be, as accounting assumes."""
        return terms.sensitivity

    def num_noisy_clients(self, terms: terms_lib.Terms) -> int:
        """How many clients it takes to add a round's noise once."""
        if self.noise_source == COHORT:
            return math.ceil(terms.clients_per_round)
        return 1 if self.noise_source == DEVICE else 0

    # What the statement says.

    @abc.abstractmethod
    def what_is_done(self, terms: terms_lib.Terms) -> str:
        """What is done to each user's update, in a sentence."""

    def who_may_collude(self, terms: terms_lib.Terms) -> str:
        """How many clients may tell the server what they added, in a sentence; may be empty."""
        del terms
        return ""


def describe_noise(terms: terms_lib.Terms) -> str:
    """How much noise there is, to end a sentence with."""
    return f"at noise multiplier {terms.noise_multiplier:g} ({terms.name})"


def describe_clip(terms: terms_lib.Terms) -> str:
    """The L2 norm that updates are clipped to, one or two."""
    if terms.tower_clip_norm is None:
        return f"an L2 norm of {terms.clip_norm:g}"
    return (
        f"an L2 norm of {terms.clip_norm:g} in the item table and of {terms.tower_clip_norm:g} in "
        f"the towers ({terms.sensitivity:.6g} together)"
    )
