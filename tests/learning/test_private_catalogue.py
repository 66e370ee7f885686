"""What users say of items before a catalogue is chosen, against NumPy."""

import numpy as np

from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.execution import compiled
from fedrec_tff.learning import private_catalogue
from fedrec_tff.privacy import releases

_ROWS = [[3, 5, 3, 8], [0], [1, 2, 6, 7, 9], [11, 11, 11], []]
# Noise that is next to nothing, so that sums can be compared.
_RELEASE = releases.CatalogueRelease(1e-6, 1e-6, items_per_user=4)


def _release(rows, secret=0):
    population = clients_lib.stack_clients(sequences_lib.from_rows(rows), bucket_lengths=[2, 8])
    draws = keyed_draws.KeyedDraws(np.arange(len(rows)), secret)
    return private_catalogue.stack(population, draws)


def test_each_user_spreads_a_vector_of_length_one():
    computation = private_catalogue.build_private_catalogue(12, _RELEASE)
    with compiled.CompiledContext().install():
        sums = computation(_release(_ROWS))
        few = [computation(_release([_ROWS[2]], secret)) for secret in range(8)]
    expected = np.zeros(12)
    for row in _ROWS[:2] + _ROWS[3:]:
        distinct = np.unique(row).astype(int)
        expected[distinct] += len(distinct) ** -0.5 if len(distinct) else 0.0
    # The third has five items, and counts for four of them.
    others = [i for i in range(12) if i not in _ROWS[2]]
    np.testing.assert_allclose(sums[others], expected[others], atol=1e-4)
    for vector in few:
        np.testing.assert_allclose(np.sort(vector)[-5:], [0.0, 0.5, 0.5, 0.5, 0.5], atol=1e-4)
        assert np.linalg.norm(vector) < 1.0 + 1e-4
    # Which, is drawn: four of five the same eight times has a chance of one in 78,125.
    assert len({tuple(np.flatnonzero(vector > 0.25)) for vector in few}) > 1
