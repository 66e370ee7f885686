import pytest

from fedrec_tff.studies.comparison.result_folders import Guarantee
from fedrec_tff.studies.report import formats


def test_values_are_a_mean_with_the_deviation_of_the_sample():
    assert formats.write_values([0.1, 0.2, 0.6]) == "0.3000 ± 0.2646"
    assert formats.write_values([0.25], is_marked=True) == "0.2500*"
    assert formats.write_values(None) == "-"


@pytest.mark.parametrize(
    ("epsilon", "text"), [(7.99901, "8.000"), (8.0, "8.000"), (0.0001, "0.001")]
)
def test_an_epsilon_is_never_below_what_was_proved(epsilon, text):
    assert formats.write_epsilon(epsilon) == text


def test_what_voids_an_epsilon_stands_with_it():
    assert formats.write_guarantees([Guarantee(None)]) == "none"
    assert formats.write_guarantees([Guarantee(7.5), Guarantee(8.0)]) == "8.000"
    assert formats.write_guarantees([Guarantee(2.0, "simulated")]) == "none (simulated: 2.000)"
    assert formats.write_guarantees([Guarantee(float("inf"))]) == "infinite"


def test_names_are_listed_as_in_a_sentence():
    assert formats.list_names(["a"]) == "a"
    assert formats.list_names(["a", "b", "c"]) == "a, b and c"
