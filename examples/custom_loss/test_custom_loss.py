"""The losses of this folder against NumPy, and one of them in a run's client work."""

import pathlib

import numpy as np
import pytest

from fedrec_tff.models.losses import contract, plugin
from fedrec_tff.models.losses.catalogue import CATALOGUE, DRAWN

_FILE = pathlib.Path(__file__).parent / "margin_ranking.py"


def _choose(name, *parameters):
    return plugin.parse(f"{_FILE}:{name}", parameters)


def test_both_keep_the_contract():
    for name in ("margin_ranking", "focal_softmax"):
        contract.check(_choose(name))


def test_margin_ranking_leaves_out_accidental_hits():
    loss = _choose("margin_ranking", "margin=1.5")
    assert plugin.find_candidates(loss) == DRAWN
    scored = contract.create_scored(DRAWN, 3)
    expected = []
    for example in range(3):
        terms = [
            np.log1p(np.exp(1.5 + logit - scored.positive_logits[example].numpy()))
            for logit, index in zip(
                scored.candidate_logits[example].numpy(), scored.candidate_index, strict=True
            )
            if index != scored.positive_index[example]
        ]
        expected.append(np.mean(terms))
    np.testing.assert_allclose(plugin.load(loss)(scored), expected, rtol=1e-5)


@pytest.mark.parametrize("focus", [0.0, 2.0])
def test_focal_softmax_weighs_cross_entropy(focus):
    loss = _choose("focal_softmax", f"focus={focus}")
    assert plugin.find_candidates(loss) == CATALOGUE
    scored = contract.create_scored(CATALOGUE, 3)
    logits = scored.candidate_logits.numpy().astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sure = shares[np.arange(3), scored.positive_index.numpy()]
    expected = (1 - sure) ** focus * -np.log(sure)
    np.testing.assert_allclose(plugin.load(loss)(scored), expected, rtol=1e-4)
