import dataclasses
import itertools
import json

import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.run import privacy_plan

_FLAGS = [f.name for f in dataclasses.fields(departures.Choices) if f.type is bool]


def _iterate_choices():
    for name in kinds.KINDS:
        for kind in ("table", "selected", "data"):
            for values in itertools.product((False, True), repeat=len(_FLAGS)):
                yield departures.Choices(
                    name, catalogue_kind=kind, **dict(zip(_FLAGS, values, strict=True))
                )


def _expect(choices):
    """Names by hand: what voids the number, and what it assumes."""
    central = choices.mechanism_name.startswith("dp_")
    local = choices.mechanism_name.startswith("local_")
    insecure, simulated, assumed = set(), set(), set()
    if choices.has_deterministic_noise:
        insecure.add("deterministic_noise")
    if central:
        assumed.add("trusted_server")
    if central and choices.samples_users:
        if choices.has_secret_cohorts:
            assumed.add("secret_cohorts")
        else:
            insecure.add("seeded_cohorts")
    if not central:
        assumed.add("honest_devices" if local else "honest_secure_sum")
    if choices.simulates_deployment:
        simulated.add("simulated_deployment")
    if choices.catalogue_kind == "data":
        assumed.add("catalogue_from_data")
    if not choices.has_public_roster:
        assumed.add("users_from_data")
    if local:
        assumed.add("floating_point")
    for has_it, name in (
        (choices.has_edges, "edges"),
        (choices.keeps_weights_on_devices, "weights_on_devices"),
        (choices.has_absent_devices, "absent_devices"),
        (choices.has_group_attendance, "group_attendance"),
        (choices.has_initial_model, "initial_model"),
    ):
        if has_it:
            assumed.add(name)
    return {"insecure": insecure, "simulated": simulated, "assumption": assumed}


@pytest.mark.parametrize("name", kinds.KINDS)
def test_what_nobody_chose_departs_from_nothing_and_takes_all_from_the_data(name):
    unnamed = departures.Choices(name)
    said = departures.Choices(
        name,
        catalogue_kind="data",
        **{flag: flag in ("has_secret_cohorts", "samples_users") for flag in _FLAGS},
    )
    assert unnamed == said


def test_every_combination_has_its_departures_and_one_name_for_epsilon():
    for choices in _iterate_choices():
        found = departures.find_departures(choices)
        expected = _expect(choices)
        by_kind = {kind: {e.name for e in found.entries if e.kind == kind} for kind in expected}
        assert by_kind == expected, choices
        name = "epsilon"
        if expected["simulated"]:
            name = "simulated_epsilon"
        if expected["insecure"]:
            name = "insecure_epsilon"
        assert found.epsilon_name == name, choices
        assert found.voided_by == name.removesuffix("epsilon").removesuffix("_")


def test_json_holds_all_of_it():
    for choices in itertools.islice(_iterate_choices(), 0, None, 37):
        found = departures.find_departures(choices)
        assert departures.Departures.from_json(json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(ValueError, match="no kind"):
        departures.Departures.from_json([{"name": "x", "kind": "y", "sentence": "z"}])
    with pytest.raises(TypeError):
        departures.Departures.from_json([{"name": "x"}])


def test_sentences_are_whole_and_each_is_said_once():
    for choices in itertools.islice(_iterate_choices(), 0, None, 11):
        found = departures.find_departures(choices)
        text = found.describe()
        for entry in found.entries:
            assert text.count(entry.sentence) == 1
            assert entry.sentence[0].isupper()
            assert entry.sentence.endswith(".")
            assert entry.name in found.summarize()
        assert found.describe("simulated") == "".join(
            e.sentence for e in found.entries if e.kind == "simulated"
        )
    assert departures.NONE.describe() == departures.NONE.summarize() == ""
    assert departures.NONE.epsilon_name == "epsilon"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("", None)),
        ({"epsilon": None}, ("", None)),
        ({"epsilon": 2.0}, ("", 2.0)),
        # Folders of earlier versions have both.
        ({"epsilon": None, "simulated_epsilon": 3.0}, ("simulated", 3.0)),
        ({"insecure_epsilon": "inf", "epsilon": None}, ("insecure", "inf")),
    ],
)
def test_an_epsilon_is_found_under_its_name(values, expected):
    assert departures.find_epsilon(values) == expected


@pytest.mark.parametrize(
    ("flags", "names", "epsilon"),
    [
        ({"insecure_seeded_cohorts": True}, {"seeded_cohorts"}, "insecure_epsilon"),
        # Such noise comes with cohorts of the seed.
        (
            {"insecure_deterministic_noise": True},
            {"deterministic_noise", "seeded_cohorts"},
            "insecure_epsilon",
        ),
        (
            {"noise_cohort_size": 500.0, "noise_population_size": 100_000},
            {"simulated_deployment", "secret_cohorts"},
            "simulated_epsilon",
        ),
        ({"failure": "dropout"}, {"absent_devices"}, "epsilon"),
        (
            {"device_profile": "phones", "round_deadline_seconds": 60.0},
            {"absent_devices"},
            "epsilon",
        ),
        (
            {"initial_model": "runs/other", "initial_model_is_public": True},
            {"initial_model"},
            "epsilon",
        ),
        ({"finetuning_epochs": 1}, {"weights_on_devices"}, "epsilon"),
        ({"aggregator": "dp_hierarchical"}, {"edges", "trusted_server"}, "epsilon"),
        (
            {
                "aggregator": "local_gaussian",
                "max_rounds_per_user": 2,
                "insecure_seeded_cohorts": True,
            },
            {"honest_devices"},
            "epsilon",
        ),
    ],
)
def test_flags_become_departures(flags, names, epsilon):
    found = privacy_plan.find_departures(RunConfig(noise_multiplier=1.0, **flags))
    assert names <= {entry.name for entry in found.entries}
    assert found.epsilon_name == epsilon
    assert privacy_plan.find_departures(RunConfig()) == departures.NONE


def test_what_several_epsilons_rest_on_is_said_once_and_what_voids_comes_first():
    sound = departures.find_departures(departures.Choices("dp_gaussian", has_edges=True))
    seeded = departures.find_departures(
        departures.Choices("dp_gaussian", has_secret_cohorts=False, simulates_deployment=True)
    )
    found = departures.unite([sound, seeded])
    assert found.voiding == ["seeded_cohorts", "simulated_deployment"]
    assert found.assumed == [*sound.assumed]
    assert departures.unite([]) == departures.NONE
