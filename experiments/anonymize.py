"""Anonymises a data set: pseudonyms, generalisation, k-anonymity, noise, decoys; and a report.

  (umask 077; openssl rand -hex 32 > pseudonym.key)
  python -m experiments.anonymize --dataset=ml-1m --key_file=pseudonym.key --output_dir=anonymized

Writes interactions.csv, which `experiments.train --dataset=csv` reads, users.csv, and
anonymization_report.json, which holds exact statistics and is not for others. This is hygiene: the
guarantee is differential privacy. docs/anonymization.md says what each step does not protect.
"""

import sys
import time
from collections.abc import Callable

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff import errors
from fedrec_tff.anonymization import config as config_lib
from fedrec_tff.anonymization import keys
from fedrec_tff.config import config_checks, field_spec, run_config
from fedrec_tff.config.data_config import DataConfig

_DATASETS = ("synthetic", "ml-100k", "ml-1m", "csv")  # adjacency sets have no order to speak of
_DATASET = flags.DEFINE_enum("dataset", _DATASETS[0], _DATASETS, "Data set to anonymise.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the result; missing or empty.", required=True
)
_KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    f"File of the secret that pseudonyms are made with, at least {keys.MIN_BYTES} bytes, for its "
    f"owner alone to read; without it, the environment variable {keys.ENVIRONMENT_VARIABLE}.",
)
_USERS_FILE = flags.DEFINE_string(
    "users_file",
    None,
    "CSV or TSV file with a header and the attributes of users (csv); only those are read that "
    "--quasi_identifiers and --sensitive name.",
)
_MEASURE_RECALL = flags.DEFINE_bool(
    "measure_recall", True, "Train small references before and after, and report the difference."
)
_MAX_EVALUATED_USERS = flags.DEFINE_integer(
    "max_evaluated_users",
    10_000,
    "Measure recall for a sample of so many users at most.",
    lower_bound=1,
)
_INSECURE_NOISE = flags.DEFINE_bool(
    "insecure_deterministic_noise",
    False,
    "Draw noise, decoys and shuffles from --seed. For tests: whoever knows the seed can undo them.",
)
_QUIET_SECONDS = 2.0


# Defined above, or of training alone.
_OTHER_FLAGS = ("dataset", "split", "roster", "catalogue", "item_table", "user_table")
_RUN_FLAGS = field_flags.define(
    run_config.RunConfig,
    (*(name for name in field_spec.read_specs(DataConfig) if name not in _OTHER_FLAGS), "seed"),
)

flags.adopt_module_key_flags(field_flags)

_DEFAULTS = config_lib.AnonymizationConfig()
_QUASI_IDENTIFIERS = flags.DEFINE_list(
    "quasi_identifiers",
    _DEFAULTS.quasi_identifiers,
    "Attributes that others may know of a user: generalised, and k-anonymous. By default all that "
    "the data have (ml-100k, ml-1m: age, gender, occupation, zip_code; synthetic: age_group) but "
    "the sensitive one; empty for none. Other attributes are not written.",
)
_SENSITIVE = flags.DEFINE_string(
    "sensitive",
    _DEFAULTS.sensitive,
    "The attribute that l-diversity protects: an attribute, top_genre (the one a user took most "
    "often), or none. By default top_genre where items have genres.",
)
_AGE_BANDS = flags.DEFINE_list(
    "age_bands",
    _DEFAULTS.age_bands,
    "Width of bands of ages, as in 10, or the ages at which bands begin, as in 18,25,35. By "
    "default 10 years; in ml-1m, which knows bands only, its own.",
)
_GENERALIZE_ORDER = flags.DEFINE_list(
    "generalize_order",
    _DEFAULTS.generalize_order,
    "Attributes to generalise further, a step for each name, again from the start when through, as "
    "in zip_code,zip_code,age. By default, whatever costs least certainty.",
)
_FLAGS = {
    "k": flags.DEFINE_integer(
        "k",
        _DEFAULTS.k,
        f"k-anonymity: so many users look alike, at least. By default {config_lib.DEFAULT_K} where "
        "there are quasi-identifiers.",
    ),
    "l": flags.DEFINE_integer(
        "l", _DEFAULTS.l, "l-diversity of --sensitive among users who look alike, at least."
    ),
    "diversity": flags.DEFINE_enum(
        "diversity",
        _DEFAULTS.diversity,
        config_lib.DIVERSITIES,
        "Diversity that --l counts: distinct values, or exp of their entropy, which is stricter.",
    ),
    "max_suppressed_fraction": flags.DEFINE_float(
        "max_suppressed_fraction",
        _DEFAULTS.max_suppressed_fraction,
        "Generalise until no more than this fraction of users must be suppressed.",
    ),
    "age_column": flags.DEFINE_string(
        "age_column", _DEFAULTS.age_column, "Attribute that holds ages in years."
    ),
    "zip_column": flags.DEFINE_string(
        "zip_column",
        _DEFAULTS.zip_column,
        "Attribute that holds codes of places: zip codes, geohashes.",
    ),
    "zip_digits": flags.DEFINE_integer(
        "zip_digits", _DEFAULTS.zip_digits, "Leading characters of a place's code that stay."
    ),
    "time_granularity": flags.DEFINE_enum(
        "time_granularity",
        _DEFAULTS.time_granularity,
        config_lib.TIME_GRANULARITIES,
        "Times become the start of their day, week or month, UTC; none drops them. By default "
        "week, or none where the data have no times.",
    ),
    "keep_order": flags.DEFINE_bool(
        "keep_order",
        _DEFAULTS.keep_order,
        "Keep the order of a user's rows inside a period, which reveals what was taken right after "
        "what; by default they are shuffled, which costs recall of what looks at order.",
    ),
    "keep_values": flags.DEFINE_bool(
        "keep_values",
        _DEFAULTS.keep_values,
        "Write values (ratings). By default yes, but not with --item_epsilon, which does not cover "
        "them.",
    ),
    "item_epsilon": flags.DEFINE_float(
        "item_epsilon",
        _DEFAULTS.item_epsilon,
        "Randomised response on items: local differential privacy with this epsilon for each "
        "interaction; a user with n interactions composes to n times as much.",
    ),
    "response_domain": flags.DEFINE_enum(
        "response_domain",
        _DEFAULTS.response_domain,
        config_lib.RESPONSE_DOMAINS,
        "Responses come from the whole catalogue, or from the item's first genre: then epsilon "
        "holds inside of a genre, and the genre is told exactly.",
    ),
    "decoys_per_user": flags.DEFINE_integer(
        "decoys_per_user", _DEFAULTS.decoys_per_user, "Items added to each user's, not marked."
    ),
    "decoy_fraction": flags.DEFINE_float(
        "decoy_fraction", _DEFAULTS.decoy_fraction, "The same, as a fraction of a user's rows."
    ),
    "decoy_items": flags.DEFINE_enum(
        "decoy_items",
        _DEFAULTS.decoy_items,
        config_lib.DECOY_ITEMS,
        "Decoys are uniform over the catalogue; or follow the counts of the data, which are "
        "harder to spot and are themselves exact statistics.",
    ),
    "item_ids": flags.DEFINE_enum(
        "item_ids",
        _DEFAULTS.item_ids,
        config_lib.ITEM_IDS,
        "Form of item ids: kept, or turned into pseudonyms.",
    ),
    "key_epoch": flags.DEFINE_string(
        "key_epoch",
        _DEFAULTS.key_epoch,
        "Period of the pseudonyms, as in 2026Q4: another one gives others that cannot be linked to "
        "the first ones.",
    ),
}


def main(argv: list[str]) -> None:
    """Anonymises, and prints what was reached and what it cost."""
    app.check_no_arguments(argv)
    config = _read_config()
    source = run_config.RunConfig(
        dataset=_DATASET.value, **{name: holder.value for name, holder in _RUN_FLAGS.items()}
    )
    config_checks.validate(source)
    key = keys.read_key(_KEY_FILE.value)

    # Imported late: pandas and SciPy take a second, and a wrong flag is told before.
    from fedrec_tff.anonymization import export, report
    from fedrec_tff.studies.anonymization import session as anonymization_session

    outcome = anonymization_session.run(
        source,
        config,
        key,
        _OUTPUT_DIR.value,
        users_file=_USERS_FILE.value,
        max_evaluated_users=_MAX_EVALUATED_USERS.value if _MEASURE_RECALL.value else None,
        insecure_noise_seed=source.seed if _INSECURE_NOISE.value else None,
        progress_fn=_create_progress_fn(),
    )
    print(report.describe(outcome.report))
    print(
        f"\nwritten to {_OUTPUT_DIR.value}: hand on {export.INTERACTIONS} and {export.USERS}, but "
        f"not {export.REPORT}, whose statistics are exact\n"
        f"train on it: python -m experiments.train {outcome.training_flags} --output_dir=..."
    )


def _read_config() -> config_lib.AnonymizationConfig:
    return config_lib.AnonymizationConfig(
        quasi_identifiers=_as_tuple(_QUASI_IDENTIFIERS.value),
        sensitive=_SENSITIVE.value,
        age_bands=_parse_age_bands(_AGE_BANDS.value),
        generalize_order=_as_tuple(_GENERALIZE_ORDER.value),
        **{name: holder.value for name, holder in _FLAGS.items()},
    )


def _as_tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _parse_age_bands(texts: list[str] | None) -> tuple[int, ...] | None:
    if texts is None:
        return None
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise errors.UserError(
            f"--age_bands={','.join(texts)}: give whole years, as in 10 or 18,25,35"
        ) from error


def _create_progress_fn() -> Callable[[str], None]:
    """A line for each step that comes later than two seconds from now."""
    start = time.monotonic()

    def tell(step: str) -> None:
        seconds = time.monotonic() - start
        if seconds > _QUIET_SECONDS:
            print(f"{seconds:4.0f} s  {step}", file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    app.run(main)
