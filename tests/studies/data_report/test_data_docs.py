"""docs/data.md names flags and data sets that there are, and its recipes pass the checks."""

import pathlib
import re
import shlex

import pytest

from fedrec_tff.config import config_checks, field_spec
from fedrec_tff.config.data_config import DATASETS
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequence_files

_PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "data.md"
_TEXT = _PAGE.read_text()
_RECIPES = [
    found for found in re.findall(r"`(--dataset=[^`]+)`", _TEXT) if found.count("--data_dir") == 1
]


def test_flags_and_data_sets_are_those_that_there_are():
    flags = set(field_spec.read_specs(RunConfig)) | {"output_dir", "for_private_runs"}
    named = {name for name in re.findall(r"--(?:no(?=quoting))?(\w+)", _TEXT) if name[0].isalpha()}
    assert not named - flags
    assert not [name for name in DATASETS if name != "synthetic" and name not in _TEXT]


@pytest.mark.parametrize("recipe", _RECIPES)
def test_recipes_pass_the_checks_of_flags(recipe):
    flags = {}
    for written in shlex.split(recipe):
        name, _, value = written.removeprefix("--").partition("=")
        flags[name] = value
    if "noquoting" in flags:
        flags["quoting"] = bool(flags.pop("noquoting"))
    if "max_malformed_fraction" in flags:
        flags["max_malformed_fraction"] = float(flags["max_malformed_fraction"])
    if "item_features" in flags:
        flags["item_features"] = tuple(flags["item_features"].split(","))
    config_checks.validate(RunConfig(**flags))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["amazon-beauty", "lastfm", "yelp"])
def test_counts_are_those_of_the_files(real_data_dir, name):
    log, _ = sequence_files.read(real_data_dir / name)
    for count in (log.num_users, log.num_items, log.num_interactions):
        assert f"{count:,}" in _TEXT
