"""What can be chosen about reference recommenders: one field, one flag; without TensorFlow.

Defaults were chosen by recall@10 and ndcg@10 of the validation sets of MovieLens 100K and 1M under
leave-last-out (docs/baselines.md says how); no test set was looked at.
"""

import dataclasses
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import config_checks, field_spec
from fedrec_tff.config.data_config import DataConfig
from fedrec_tff.config.field_spec import MOST, declare
from fedrec_tff.config.model_config import ModelConfig
from fedrec_tff.config.population_config import PopulationBudget
from fedrec_tff.config.run_config import RunConfig

POPULARITY = "popularity"
PRIVATE_POPULARITY = "private_popularity"
MARKOV = "markov"
EASE = "ease"
IALS = "ials"
TWO_TOWER = "two_tower"
BASELINES = (POPULARITY, PRIVATE_POPULARITY, MARKOV, EASE, IALS, TWO_TOWER)

# The flags of a run that are read: what the data are, and the shape of the two-tower model.
# Tables of features go with the model, and no baseline reads features of users.
_OF_FEATURES = ("item_table", "user_table")
DATA_FLAGS = (
    *(name for name in field_spec.read_specs(DataConfig) if name not in _OF_FEATURES),
    *("list_lengths", "seed"),
)
MODEL_FLAGS = (
    *(name for name in field_spec.read_specs(ModelConfig) if name != "user_features"),
    "item_table",
)


@dataclasses.dataclass(frozen=True)
class BaselinesConfig:
    """Which reference recommenders to fit, and how. See each field's help."""

    baselines: tuple[str, ...] | None = declare(
        None,
        f"Recommenders to fit, separated by commas: {', '.join(BASELINES)}. By default all that "
        f"suit the data; {PRIVATE_POPULARITY} only with --private_popularity_epsilon.",
    )
    private_popularity_epsilon: float | None = declare(
        None,
        "Epsilon that the one release of noised counts may cost (private_popularity).",
        low=0.0,
        low_is_allowed=False,
    )
    private_popularity_delta: float = declare(
        1e-5,
        "Delta of that release's guarantee (private_popularity).",
        low=0.0,
        high=0.1,
        low_is_allowed=False,
    )
    private_popularity_items_per_user: int = declare(
        50,
        "Items for which a user counts in it, at most (private_popularity).",
        low=1,
        high=MOST,
    )
    markov_popularity_weight: float = declare(
        0.5,
        "Transitions that the most popular item gets for nothing, others in proportion: smoothing "
        "towards popularity (markov). Below 1 it only orders what the counts leave tied.",
        low=0.0,
    )
    ease_regularization: float = declare(
        200.0, "Ridge on the weights, the paper's lambda (ease).", low=0.0, low_is_allowed=False
    )
    ease_max_gigabytes: float = declare(
        8.0,
        "Memory that the square matrices of all items may take (ease).",
        low=0.0,
        low_is_allowed=False,
    )
    ials_dim: int = declare(64, "Width of the factors (ials).", low=1, high=65_536)
    ials_regularization: float = declare(
        0.003,
        "Ridge for each occurrence of a user or an item (ials).",
        low=0.0,
        low_is_allowed=False,
    )
    ials_unobserved_weight: float = declare(
        0.3,
        "Weight of all pairs of a user and an item beside those taken (ials); the larger the "
        "catalogue, the smaller it should be.",
        low=0.0,
        low_is_allowed=False,
    )
    ials_epochs: int = declare(
        16, "Times that both sides are solved for (ials).", low=1, high=10_000
    )
    two_tower_epochs: int = declare(5, "Passes over all examples (two_tower).", low=1, high=10_000)
    two_tower_batch_size: int = declare(
        256,
        "Examples in a step, negatives for each other; with a causal --query_tower, users "
        "in a step (two_tower).",
        low=2,
        high=1_000_000,
    )
    two_tower_num_negatives: int = declare(
        512,
        "Items that a step draws by popularity, for a causal --query_tower (two_tower).",
        low=1,
        high=1_000_000,
    )
    two_tower_learning_rate: float = declare(
        0.002,
        "Step size of Adam; with a causal --query_tower it falls to zero along a cosine "
        "(two_tower).",
        low=0.0,
        low_is_allowed=False,
    )

    def parameters_of(self, baseline: str) -> dict[str, Any]:
        """Returns what is chosen about one of them, by name without the baseline's."""
        prefix = f"{baseline}_"
        return {
            name.removeprefix(prefix): value
            for name, value in dataclasses.asdict(self).items()
            if name.startswith(prefix)
        }


def choose_baselines(config: BaselinesConfig, run: RunConfig) -> tuple[str, ...]:
    """Returns what is to be fitted: what was named, or what suits the data; in a fixed order."""
    if config.baselines is not None:
        return tuple(name for name in BASELINES if name in config.baselines)
    unsuited = set()
    if config.private_popularity_epsilon is None:
        unsuited.add(PRIVATE_POPULARITY)
    if run.dataset == "adjacency":
        unsuited.add(MARKOV)
    return tuple(name for name in BASELINES if name not in unsuited)


def releases_privately(config: BaselinesConfig, run: RunConfig) -> bool:
    """Whether something is released privately, so that all that is exact beside it is marked."""
    return PRIVATE_POPULARITY in choose_baselines(config, run)


def validate(
    config: BaselinesConfig, run: RunConfig, population: PopulationBudget | None = None
) -> None:
    """Refuses values out of range, and combinations that contradict each other.

    Args:
      config: The choices to check.
      run: The flags of data and model.
      population: The budget over runs; None for none.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    chosen = choose_baselines(config, run)
    _check_run(run, releases_privately(config, run))
    config_checks.check_ranges(config)
    for name in config.baselines or ():
        if name not in BASELINES:
            raise errors.UserError(
                f"--baselines: {name!r} is unknown; choose from {', '.join(BASELINES)}"
            )
    default = BaselinesConfig.two_tower_num_negatives
    if config.two_tower_num_negatives != default and not run.two_tower.is_causal:
        raise errors.UserError(
            "--two_tower_num_negatives means nothing without a causal --query_tower, where "
            "the examples of a step are negatives for each other: drop it"
        )
    if run.two_tower.reads_whole_sets:
        raise errors.UserError(
            "--query_tower=set: only experiments.train trains it; choose mean, which is the same "
            "function of a history, trained on what came before each item"
        )
    if not chosen:
        raise errors.UserError(f"--baselines: name at least one of {', '.join(BASELINES)}")
    _check_flags_mean_something(config, run, chosen)
    if MARKOV in chosen and run.dataset == "adjacency":
        raise errors.UserError(
            "--baselines=markov: adjacency sets have no order in time, so nothing comes after "
            "anything: leave markov out"
        )
    if PRIVATE_POPULARITY in chosen:
        _check_privacy(config, run)
    if population is not None and set(chosen) != {PRIVATE_POPULARITY}:
        raise errors.UserError(
            "--population_ledger: all baselines but one are exact functions of the users' data, so "
            f"no budget is enough for them: --baselines={PRIVATE_POPULARITY}, or drop it"
        )


def to_flags(config: BaselinesConfig, run: RunConfig) -> dict[str, Any]:
    """Every flag's value, as JSON has it; the baselines are those that are fitted."""
    flags = {name: getattr(run, name) for name in (*DATA_FLAGS, *MODEL_FLAGS)}
    flags |= dataclasses.asdict(config)
    flags["baselines"] = list(choose_baselines(config, run))
    return {name: list(v) if isinstance(v, tuple) else v for name, v in flags.items()}


def _check_run(run: RunConfig, is_private: bool) -> None:
    """Refuses flags of data and model that contradict each other, in words of what there is."""
    if run.catalogue == "selected":
        raise errors.UserError(
            "--catalogue=selected: only experiments.train chooses a catalogue with noise; use "
            "table, if there is a table of the items, or data"
        )
    config_checks.validate(dataclasses.replace(run, catalogue=run.catalogue_kind_if(is_private)))


def _check_flags_mean_something(
    config: BaselinesConfig, run: RunConfig, chosen: tuple[str, ...]
) -> None:
    """Refuses a parameter that was changed although its baseline is not fitted."""
    changed = {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
    idle = [
        (f"{baseline}_{name}", baseline)
        for baseline in BASELINES
        for name in config.parameters_of(baseline)
        if baseline not in chosen and f"{baseline}_{name}" in changed
    ]
    if TWO_TOWER not in chosen:
        catalogue_kind = run.catalogue_kind_if(PRIVATE_POPULARITY in chosen)
        idle += [
            (name, TWO_TOWER)
            for name in MODEL_FLAGS
            if getattr(run, name) != getattr(RunConfig, name)
            and not (name == "item_table" and catalogue_kind == "table")
        ]
    for name, baseline in idle:
        raise errors.UserError(
            f"--{name} means nothing without {baseline}: drop it, or add that to --baselines"
        )


def _check_privacy(config: BaselinesConfig, run: RunConfig) -> None:
    if config.private_popularity_epsilon is None:
        raise errors.UserError(
            f"--baselines={PRIVATE_POPULARITY} needs a budget: add --private_popularity_epsilon"
        )
    if run.k_core > 1:
        raise errors.UserError(
            "--k_core drops users and items because of what other users did, which no noise "
            f"covers: drop it, or leave {PRIVATE_POPULARITY} out"
        )
    if run.split == "global_time":
        raise errors.UserError(
            "--split=global_time cuts where the times of all users say, which no noise covers: "
            f"choose another, or leave {PRIVATE_POPULARITY} out"
        )
