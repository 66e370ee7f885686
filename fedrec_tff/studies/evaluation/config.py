"""What can be chosen about the evaluation of finished runs: one field, one flag."""

# Tested in tests/studies/evaluation/test_evaluation_session.py.

import dataclasses

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.field_spec import MOST, declare
from fedrec_tff.run.finished import named_code, portable_model

PARTS = ("test", "validation")
USER_FORMATS = ("parquet", "csv")
# The flags of a run that say which data.
DATA_FLAGS = (*portable_model.DATA_FLAGS, "seed")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, and how users are grouped. See each field's help."""

    part: str = declare("test", "Part of the split that is measured.", choices=PARTS)
    list_lengths: tuple[str, ...] = declare(
        (),
        "Lengths of the lists for metrics at k, as in 5,10,20; the first is shown. By default "
        "those of the first run.",
    )
    model: tuple[str, ...] = declare((), named_code.HELP, is_repeated=True)
    num_sampled_negatives: int = declare(
        99,
        "Items that each target is ranked among in the sampled protocol, whose metrics are called "
        "sampled_99/... after it; 0 leaves it out.",
        low=0,
        high=MOST,
    )
    genre_column: str = declare(
        "genres",
        "Column of the item table that tells genres, separated by |, for genre_diversity and "
        "miscalibration.",
    )
    group_by: tuple[str, ...] | None = declare(
        None,
        "Groups of users to compare, separated by commas: activity (length of the history), taste "
        "(share of popular items in it), tenure (time of the first interaction), and columns of "
        "what is known of users, as in age,gender. By default activity, taste and, where there are "
        "times, tenure; an empty value for none.",
    )
    num_quantiles: int = declare(
        3, "Groups of about the same size that numbers are cut into.", low=2, high=100
    )
    activity_bounds: tuple[str, ...] = declare(
        (),
        "Lengths of history at which activity is cut, as in 20,100: numbers that tell nothing of "
        "anybody. By default --num_quantiles groups of these users.",
    )
    popular_fraction: float = declare(
        0.2,
        "Fraction of the catalogue that counts as popular, by users who took it in training, for "
        "taste.",
        low=0.0,
        high=1.0,
        low_is_allowed=False,
    )
    min_group_size: int = declare(
        20,
        "Users below which a group is not reported alone: it is put together with others.",
        low=1,
        high=MOST,
    )
    num_resamples: int = declare(
        2000, "Draws of the users for intervals and tests.", low=100, high=1_000_000
    )
    confidence: float = declare(
        0.95,
        "Confidence of the intervals.",
        low=0.0,
        high=0.9999,
        low_is_allowed=False,
    )
    resampling_seed: int = declare(0, "Seed of these draws.", low=0, high=MOST)
    users_format: str = declare(
        "parquet", "Form of the table of users in --output.", choices=USER_FORMATS
    )

    @property
    def ks(self) -> tuple[int, ...]:
        """Lengths of the lists; none for those of the first run."""
        return _read_numbers("list_lengths", self.list_lengths, int)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Lengths of history at which activity is cut; none for quantiles."""
        return _read_numbers("activity_bounds", self.activity_bounds, float)


def validate(config: EvaluationConfig) -> None:
    """Refuses values out of range, and flags that mean nothing beside others.

    Args:
      config: The choices to check.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    config_checks.check_ranges(config)
    if len(set(config.ks)) < len(config.ks) or any(k < 1 for k in config.ks):
        raise errors.UserError(
            f"--list_lengths={','.join(config.list_lengths)}: name whole numbers of at least 1, "
            "each once"
        )
    names = config.group_by or ()
    if len(set(names)) < len(names):
        raise errors.UserError(f"--group_by={','.join(names)}: name each group once")
    if config.bounds and config.group_by is not None and "activity" not in names:
        raise errors.UserError(
            "--activity_bounds means nothing without activity: drop it, or add that to --group_by"
        )


def _read_numbers(name: str, texts: tuple[str, ...], kind: type) -> tuple:
    try:
        return tuple(kind(text) for text in texts)
    except ValueError as error:
        raise errors.UserError(
            f"--{name}={','.join(texts)}: name numbers, separated by commas"
        ) from error
