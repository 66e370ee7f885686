"""The catalogue of losses against the functions that it names."""

import inspect

import pytest

from fedrec_tff.models.losses import builtin, catalogue, plugin, scored
from fedrec_tff.plugins import signatures


@pytest.mark.parametrize("name", catalogue.LOSSES)
def test_the_catalogue_says_what_the_source_says(name):
    entry, function = catalogue.LOSSES[name], getattr(builtin, name)
    assert scored.find_candidates(function) == entry.candidates
    parameters = [*inspect.signature(function).parameters][1:]
    assert tuple(parameters) == entry.parameters
    # They are read as one's own are.
    builder = plugin.choose_builtin(name, dict.fromkeys(parameters, 0.5)).builder
    assert tuple(signatures.read_signature(builder, plugin.FLAG).parameters) == entry.parameters
