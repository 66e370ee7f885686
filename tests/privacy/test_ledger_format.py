"""What the first line of a ledger says of each mechanism, to the byte: old ledgers must be read."""

import json

import pytest

from fedrec_tff.privacy import ledger_format, mechanisms
from fedrec_tff.privacy.mechanisms import kinds

# Written by the version before mechanisms were objects of their own.
_HEADERS = [
    (
        {
            "name": "dp_gaussian",
            "noise_multiplier": 1.1,
            "clip_norm": 0.3,
            "num_clients": 6040,
            "clients_per_round": 60,
            "tower_clip_norm": 0.4,
        },
        "add_or_remove_one",
        '{"name": "dp_gaussian", "noise_multiplier": 1.1, "clip_norm": 0.3, "num_clients": '
        '6040, "clients_per_round": 60.0, "sampling": "poisson", "clipped_count_stddev": '
        'null, "tower_clip_norm": 0.4, "min_separation": null, "rounds": null, '
        '"max_rounds_per_user": null, "noise_cohort_size": null, "noise_population_size": '
        'null, "num_weights": null, "modulus_bits": null}',
    ),
    (
        {
            "name": "dp_adaptive",
            "noise_multiplier": 1.1,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "sampling": "fixed_size",
            "noise_cohort_size": 6000,
            "noise_population_size": 1000000,
        },
        "replace_one",
        '{"name": "dp_adaptive", "noise_multiplier": 1.1, "clip_norm": 0.5, "num_clients": '
        '6040, "clients_per_round": 60.0, "sampling": "fixed_size", "clipped_count_stddev": '
        'null, "tower_clip_norm": null, "min_separation": null, "rounds": null, '
        '"max_rounds_per_user": null, "noise_cohort_size": 6000.0, "noise_population_size": '
        '1000000, "num_weights": null, "modulus_bits": null}',
    ),
    (
        {
            "name": "dp_sparse",
            "noise_multiplier": 1.1,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "histogram_share": 0.2,
            "rows_per_user": 50,
            "row_threshold": 0,
            "row_selection": "run",
        },
        "add_or_remove_one",
        '{"name": "dp_sparse", "noise_multiplier": 1.1, "clip_norm": 0.5, "num_clients": '
        '6040, "clients_per_round": 60.0, "sampling": "poisson", "clipped_count_stddev": '
        'null, "tower_clip_norm": null, "min_separation": null, "rounds": null, '
        '"max_rounds_per_user": null, "noise_cohort_size": null, "noise_population_size": '
        'null, "num_weights": null, "modulus_bits": null, "histogram_share": 0.2, '
        '"rows_per_user": 50, "row_threshold": 0.0, "row_selection": "run"}',
    ),
    (
        {
            "name": "dp_tree",
            "noise_multiplier": 2.0,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "sampling": "cyclic_poisson",
            "min_separation": 64,
            "rounds": 1000,
        },
        "add_or_remove_one",
        '{"name": "dp_tree", "noise_multiplier": 2.0, "clip_norm": 0.5, "num_clients": 6040, '
        '"clients_per_round": 60.0, "sampling": "cyclic_poisson", "clipped_count_stddev": '
        'null, "tower_clip_norm": null, "min_separation": 64, "rounds": 1000, '
        '"max_rounds_per_user": null, "noise_cohort_size": null, "noise_population_size": '
        'null, "num_weights": null, "modulus_bits": null}',
    ),
    (
        {
            "name": "dp_banded_mf",
            "noise_multiplier": 2.0,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "sampling": "cyclic_poisson",
            "min_separation": 64,
            "rounds": 1000,
        },
        "add_or_remove_one",
        '{"name": "dp_banded_mf", "noise_multiplier": 2.0, "clip_norm": 0.5, "num_clients": '
        '6040, "clients_per_round": 60.0, "sampling": "cyclic_poisson", '
        '"clipped_count_stddev": null, "tower_clip_norm": null, "min_separation": 64, '
        '"rounds": 1000, "max_rounds_per_user": null, "noise_cohort_size": null, '
        '"noise_population_size": null, "num_weights": null, "modulus_bits": null}',
    ),
    (
        {
            "name": "local_gaussian",
            "noise_multiplier": 9.0,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "sampling": "shuffled_epochs",
            "max_rounds_per_user": 5,
        },
        "replace_one",
        '{"name": "local_gaussian", "noise_multiplier": 9.0, "clip_norm": 0.5, "num_clients":'
        ' 6040, "clients_per_round": 60.0, "sampling": "shuffled_epochs", '
        '"clipped_count_stddev": null, "tower_clip_norm": null, "min_separation": null, '
        '"rounds": null, "max_rounds_per_user": 5, "noise_cohort_size": null, '
        '"noise_population_size": null, "num_weights": null, "modulus_bits": null}',
    ),
    (
        {
            "name": "local_laplace",
            "noise_multiplier": 9.0,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "max_rounds_per_user": 5,
        },
        "replace_one",
        '{"name": "local_laplace", "noise_multiplier": 9.0, "clip_norm": 0.5, "num_clients": '
        '6040, "clients_per_round": 60.0, "sampling": "poisson", "clipped_count_stddev": '
        'null, "tower_clip_norm": null, "min_separation": null, "rounds": null, '
        '"max_rounds_per_user": 5, "noise_cohort_size": null, "noise_population_size": null, '
        '"num_weights": null, "modulus_bits": null}',
    ),
    (
        {
            "name": "ddp_discrete_gaussian",
            "noise_multiplier": 2.0,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "sampling": "shuffled_epochs",
            "num_weights": 5000,
            "modulus_bits": 24,
        },
        "replace_one",
        '{"name": "ddp_discrete_gaussian", "noise_multiplier": 2.0, "clip_norm": 0.5, '
        '"num_clients": 6040, "clients_per_round": 60.0, "sampling": "shuffled_epochs", '
        '"clipped_count_stddev": null, "tower_clip_norm": null, "min_separation": null, '
        '"rounds": null, "max_rounds_per_user": null, "noise_cohort_size": null, '
        '"noise_population_size": null, "num_weights": 5000, "modulus_bits": 24}',
    ),
    (
        {
            "name": "ddp_skellam",
            "noise_multiplier": 2.0,
            "clip_norm": 0.5,
            "num_clients": 6040,
            "clients_per_round": 60,
            "sampling": "shuffled_epochs",
            "num_weights": 5000,
            "modulus_bits": 24,
            "colluding_clients": 1,
        },
        "replace_one",
        '{"name": "ddp_skellam", "noise_multiplier": 2.0, "clip_norm": 0.5, "num_clients": '
        '6040, "clients_per_round": 60.0, "sampling": "shuffled_epochs", '
        '"clipped_count_stddev": null, "tower_clip_norm": null, "min_separation": null, '
        '"rounds": null, "max_rounds_per_user": null, "noise_cohort_size": null, '
        '"noise_population_size": null, "num_weights": 5000, "modulus_bits": 24, '
        '"colluding_clients": 1}',
    ),
]
_IDS = [fields["name"] for fields, _, _ in _HEADERS]


def _expect(relation, mechanism):
    return (
        '{"format_version": 2, "run_id": "a-run", "num_clients": 6040, "mechanism": '
        f'{mechanism}, "neighbouring_relation": "{relation}", "delta": 1e-06, "releases": [], '
        '"insecure_deterministic_noise": false}'
    )


def test_every_mechanism_has_a_header():
    assert list(kinds.KINDS) == _IDS


@pytest.mark.parametrize(("fields", "relation", "mechanism"), _HEADERS, ids=_IDS)
def test_headers_are_written_as_ever(fields, relation, mechanism):
    header = ledger_format.LedgerHeader("a-run", mechanisms.Mechanism(**fields), 1e-6)
    assert json.dumps(ledger_format.header_to_json(header)) == _expect(relation, mechanism)


@pytest.mark.parametrize(("fields", "relation", "mechanism"), _HEADERS, ids=_IDS)
def test_old_headers_are_read(fields, relation, mechanism):
    header = ledger_format.header_from_json(json.loads(_expect(relation, mechanism)))
    assert header.mechanism == mechanisms.Mechanism(**fields)
    # Numbers came back as the types that they had.
    assert type(header.mechanism.clients_per_round) is float
    assert type(header.mechanism.colluding_clients) is int
