"""Everything that can be chosen about a run: one field, one flag, by topic.

`RunConfig` is plain data and imports nothing heavy, so that a wrong flag is told at once. It is
made of topics, each a dataclass in a module of its own, and is each of them: a function that needs
one topic takes the whole run. The flags of the experiment binaries are generated from its fields
(`experiments.flags`).
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.aggregators import builtin
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.config import field_spec
from fedrec_tff.config.client_config import ClientConfig
from fedrec_tff.config.data_config import DataConfig
from fedrec_tff.config.device_config import DeviceConfig
from fedrec_tff.config.execution_config import ExecutionConfig
from fedrec_tff.config.model_config import ModelConfig
from fedrec_tff.config.on_device_config import OnDeviceConfig
from fedrec_tff.config.output_config import ALL_REFERENCES, REFERENCES, OutputConfig
from fedrec_tff.config.population_config import PopulationBudget, PopulationConfig
from fedrec_tff.config.preset_config import PresetConfig
from fedrec_tff.config.privacy_config import PrivacyConfig
from fedrec_tff.config.release_config import ReleaseConfig
from fedrec_tff.config.report_config import ReportConfig
from fedrec_tff.config.round_config import RoundConfig
from fedrec_tff.config.server_config import ServerConfig
from fedrec_tff.config.simulation_config import SimulationConfig
from fedrec_tff.config.stopping_config import StoppingConfig
from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning.simulation import failure_config
from fedrec_tff.models import config as shapes
from fedrec_tff.privacy import sampling
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.privacy.mechanisms.base import MechanismKind

if TYPE_CHECKING:
    from fedrec_tff.privacy import releases

# Every flag belongs to one topic; help texts show them in this order.
TOPICS = {
    "Settings that choose themselves": PresetConfig,
    "Data": DataConfig,
    "Model": ModelConfig,
    "Rounds and cohorts": RoundConfig,
    "Work of a client": ClientConfig,
    "Aggregation and the server's step": ServerConfig,
    "Differential privacy": PrivacyConfig,
    "Other releases about the users": ReleaseConfig,
    "A budget over several runs": PopulationConfig,
    "Personal parts and fine-tuning on devices": OnDeviceConfig,
    "Simulated attacks and failures": SimulationConfig,
    "Simulated devices and time": DeviceConfig,
    "Execution": ExecutionConfig,
    "Evaluation, checkpoints and traces": OutputConfig,
    "Trackers of metrics": ReportConfig,
    "The end of training, and which model is released": StoppingConfig,
}
# The part of delta that may be spent on choosing the catalogue.
_DELTA_OF_CATALOGUE = 0.1
_KS = (10,)
_KS_OF_ADJACENCY = (10, 20)  # they are published with 20


@dataclasses.dataclass(frozen=True)
class RunConfig(
    # Python has the fields of the last one first.
    StoppingConfig,
    ReportConfig,
    OutputConfig,
    ExecutionConfig,
    DeviceConfig,
    SimulationConfig,
    OnDeviceConfig,
    PopulationConfig,
    ReleaseConfig,
    PrivacyConfig,
    ServerConfig,
    ClientConfig,
    RoundConfig,
    ModelConfig,
    DataConfig,
    PresetConfig,
):
    """A run, but for where it is stored: all topics together, and what follows from several."""

    @property
    def aggregator_chain(self) -> chain_lib.Chain:
        """The way of updates to the server; chosen by the privacy flags where none is named."""
        default = kinds.DEFAULT.name if self.asks_for_privacy else "mean"
        text = self.aggregator or default
        if shapes.TwoTowerConfig(item_embedding=self.item_embedding).freezes_items:
            text = f"{builtin.FREEZE_ITEMS},{text}"
        return chain_lib.parse(text, self.aggregator_param)

    @property
    def aggregator_name(self) -> str:
        """The name of the aggregator: the last of the chain."""
        return self.aggregator_chain.terminal.name

    @property
    def mechanism_kind(self) -> MechanismKind | None:
        """The private mechanism; None where what aggregates is not private."""
        return self.aggregator_chain.terminal.mechanism_kind

    @property
    def is_private(self) -> bool:
        """Whether the aggregator is differentially private."""
        return self.aggregator_chain.terminal.is_private

    @property
    def catalogue_kind(self) -> str:
        """The origin of the items, one of `CATALOGUES`; that `data` are public is an assumption."""
        return self.catalogue_kind_if(self.is_private)

    @property
    def sampling_law(self) -> str:
        """The law by which cohorts are drawn."""
        if self.sampling is not None:
            return self.sampling
        if self.is_buffered and not self.is_private:
            return sampling.SHUFFLED_EPOCHS
        return self.mechanism_kind.samplings[0] if self.is_private else sampling.POISSON

    @property
    def catalogue_release(self) -> "releases.CatalogueRelease | None":
        """The release of the catalogue; None for one that comes from elsewhere."""
        if self.catalogue_kind != "selected":
            return None
        from fedrec_tff.privacy import releases

        return releases.CatalogueRelease(
            self.catalogue_noise_multiplier,
            self.catalogue_delta or _DELTA_OF_CATALOGUE * self.target_delta,
            self.catalogue_items_per_user,
        )

    @property
    def evaluation_release(self) -> "releases.EvaluationRelease | None":
        """The release of validation metrics; None for none."""
        if self.private_evaluation_noise_multiplier is None:
            return None
        from fedrec_tff.privacy import releases

        return releases.EvaluationRelease(self.private_evaluation_noise_multiplier, self.noised_ks)

    @property
    def ks(self) -> tuple[int, ...]:
        """Lengths of the lists for metrics at k; the first is shown where there is room for one."""
        if self.list_lengths:
            return tuple(map(int, self.list_lengths))
        return _KS_OF_ADJACENCY if self.dataset == "adjacency" else _KS

    @property
    def has_order(self) -> bool:
        """Whether interactions have an order in time."""
        return self.dataset != "adjacency"

    @property
    def chosen_references(self) -> tuple[str, ...]:
        """The references that a model is compared with, each once."""
        if ALL_REFERENCES in self.references:
            return tuple(name for name in REFERENCES if name != "markov" or self.has_order)
        return tuple(name for name in REFERENCES if name in self.references)

    @property
    def noised_ks(self) -> tuple[int, ...]:
        """The same of a noised evaluation: more lists, with more noise, only where asked for."""
        return self.ks if self.list_lengths else _KS

    @property
    def population(self) -> PopulationBudget | None:
        """The budget over runs; None for none."""
        if self.population_ledger is None:
            return None
        delta = self.target_delta if self.population_delta is None else self.population_delta
        return PopulationBudget(self.population_ledger, self.population_epsilon, delta)

    @property
    def budget_name(self) -> str:
        """The limits of the run's privacy cost, for messages."""
        limits = (
            [] if self.target_epsilon is None else [f"--target_epsilon={self.target_epsilon:g}"]
        )
        if self.population_ledger is not None:
            limits.append(f"the budget of --population_ledger={self.population_ledger}")
        return " or ".join(limits)

    @property
    def num_evaluations(self) -> int:
        """Rounds after which the model is evaluated; the last is always one."""
        return -(-self.rounds // self.rounds_per_evaluation)

    @property
    def uses_popularity(self) -> bool:
        """Whether training needs to know how often items were taken."""
        return "popularity" in (self.initial_bias, self.negative_sampling)

    @property
    def has_secret_cohorts(self) -> bool:
        """Whether epsilon rests on nobody knowing the cohorts, which a secret key then draws."""
        is_insecure = self.insecure_seeded_cohorts or self.insecure_deterministic_noise
        counts = self.is_private and self.mechanism_kind.counts_on_secret_cohorts
        return counts and not is_insecure

    @property
    def server_sees_sums(self) -> bool:
        """Whether the server is trusted with clients' exact metrics; otherwise they send zeros."""
        if self.secure_sum != "plain":
            return False
        return not self.is_private or self.aggregator_chain.terminal.trusts_server

    @property
    def checkpoint_period(self) -> int:
        """Rounds between checkpoints."""
        return self.rounds_per_checkpoint or (1 if self.is_private else 10)

    @property
    def client_work(self) -> learning_config.ClientWorkConfig:
        """The work of a client in a round."""
        optimizer = learning_config.OptimizerConfig(
            self.client_optimizer,
            self.client_learning_rate,
            self.client_momentum,
            schedule=self._create_schedule(self.client_learning_rate_schedule),
        )
        return learning_config.ClientWorkConfig(
            optimizer,
            self.loss,
            self.batch_size,
            self.local_epochs,
            self.label_smoothing,
            self.bce_calibration,
            self.hinge_margin,
            self.spreadout_weight,
            self.proximal_weight,
            self.max_local_steps,
            self.normalized_averaging,
            self.client_weighting or learning_config.BY_EXAMPLES,
            self.client_algorithm,
            personal=self.personal,
            loss_plugin=self.loss_plugin,
        )

    @property
    def num_asked(self) -> float:
        """The expected number of users who are asked; whole where reports are counted."""
        if self.over_selection == 1.0:
            return self.clients_per_round
        return float(round(self.clients_per_round * self.over_selection))

    @property
    def marks_clients(self) -> bool:
        """Whether client work is told of each client whether it attacks, fails, or is behind."""
        return self.attack is not None or self.failure is not None or self.is_buffered

    @property
    def has_absent_devices(self) -> bool:
        """Whether not all who are asked take part."""
        return self.failure in failure_config.ABSENCES or self.device_profile is not None

    @property
    def num_stored_weights(self) -> int:
        """The number of weights of the model that a device keeps from round to round."""
        if self.personal is None or not self.personal.is_persistent:
            return 0
        return self.personal.num_weights(self.embedding_dim)

    @property
    def server(self) -> learning_config.OptimizerConfig:
        """The server's optimiser."""
        return learning_config.OptimizerConfig(
            self.server_optimizer,
            self.server_learning_rate,
            self.server_momentum,
            self.server_epsilon,
            self._create_schedule(self.server_learning_rate_schedule),
        )

    @property
    def decaying_schedules(self) -> tuple[str, ...]:
        """The flags of learning rates that depend on which round is the last."""
        sides = ("client_learning_rate_schedule", "server_learning_rate_schedule")
        decaying = learning_config.SCHEDULES_TO_LAST_ROUND
        return tuple(f"--{name}" for name in sides if getattr(self, name) in decaying)

    def _create_schedule(self, name: str | None) -> learning_config.ScheduleConfig | None:
        if name is None:
            return None
        return learning_config.ScheduleConfig(
            name, self.rounds, self.warmup_rounds, self.final_learning_rate_fraction
        )


_HINTS = typing.get_type_hints(RunConfig)


def to_flags(config: RunConfig) -> dict[str, Any]:
    """Every flag's value, as JSON has it."""
    flags = dataclasses.asdict(config)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in flags.items()}


def from_flags(flags: Mapping[str, Any]) -> RunConfig:
    """Makes a configuration of what `to_flags` has made of one, and what a file has kept of it.

    Args:
      flags: Values by the names of flags; those that are missing have their defaults.

    Returns:
      The configuration; of its values, no more is known than their types.

    Raises:
      UserError: If a flag is unknown, or a value of another type.
    """
    values = {}
    for name, value in flags.items():
        if name not in _HINTS:
            raise errors.UserError(f"there is no flag --{name}")
        hint = _HINTS[name]
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kind = typing.get_origin(options[0]) or options[0]
        is_none = value is None and type(None) in options
        if not is_none and not _is_of_kind(kind, value):
            raise errors.UserError(f"--{name} is {value!r:.100}, which is no value of its type")
        values[name] = tuple(value) if isinstance(value, list) else value
    return RunConfig(**values)


def _is_of_kind(kind: type, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


def names_that_may_change_on_resume() -> set[str]:
    """The flags that an interrupted run may go on with other values of."""
    return set(field_spec.find_names(RunConfig, lambda spec: spec.may_change_on_resume))


def names_that_may_grow() -> set[str]:
    """The flags that a run, interrupted or complete, may go on with larger values of."""
    return set(field_spec.find_names(RunConfig, lambda spec: spec.may_grow_on_resume))


def names_of_places() -> set[str]:
    """The flags that say where data are: the same data may be found elsewhere later."""
    return set(field_spec.find_names(RunConfig, lambda spec: spec.is_place))


def split_value(name: str, value: Any) -> list[Any]:
    """Splits a flag's value as a command line does: several for a flag that is repeated.

    Args:
      name: Name of the flag.
      value: Its value, as `to_flags` has it.

    Returns:
      The values; a list that is given by commas is one.
    """
    if not isinstance(value, list):
        return [value]
    repeated = field_spec.find_names(RunConfig, lambda spec: spec.is_repeated)
    return value if name in repeated else [",".join(value)]
