import dp_accounting

from fedrec_tff.privacy import accounting, population_budget
from fedrec_tff.privacy.population_format import (
    SETTLED,
    PopulationContents,
    PopulationHeader,
    RunEntry,
)
from fedrec_tff.run.display import population_text

BUDGET = population_budget.create(8.0, 1e-5, accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE)
EVENTS = ((dp_accounting.GaussianDpEvent(4.0), 1),)


def create_run(folder, assumes, voided_by=()):
    return RunEntry(
        folder, SETTLED, "training", folder, "", "noise", EVENTS, "d", voided_by, assumes
    )


def show(*runs):
    header = PopulationHeader("customers", BUDGET)
    return population_text.to_table(PopulationContents(header, runs, ("d",))).splitlines()


def test_what_all_epsilons_assume_is_in_one_line():
    lines = show(
        create_run("/a", ("trusted_server", "edges")),
        create_run("/b", ("honest_devices", "edges")),
    )
    assert "assumed:    trusted_server, edges, honest_devices" in lines
    assert "*" not in "".join(lines)


def test_a_number_that_is_no_epsilon_of_these_people_is_marked():
    sound, voided = create_run("/a", ("edges",)), create_run("/b", (), ("seeded_cohorts", "other"))
    lines = show(sound, voided)
    epsilon = f"{accounting.epsilon(EVENTS, 1e-5, BUDGET.relation):.3g}"
    rows = {line.split()[-1]: line.split() for line in lines if "settled" in line}
    assert epsilon in rows["/a"]
    assert f"{epsilon}*" in rows["/b"]
    assert "voided:     * by seeded_cohorts, other: training in /b" in lines
    # Nor is any sum that it is part of.
    (total,) = (line for line in lines if line.startswith("all so far:"))
    assert total == "all so far: no epsilon, because of what is marked *"
