"""The binary as its users meet it."""

import pathlib

import dp_accounting
import pytest
from plugin_binaries import run_main

from fedrec_tff.privacy import accounting, population_ledger
from fedrec_tff.privacy.population_format import RESERVED, RunEntry

ADD = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE


def ledger(*arguments):
    status, output, error, has_tensorflow = run_main("experiments.ledger", *arguments)
    assert not has_tensorflow
    assert "Traceback" not in error
    return status, output, error


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A ledger that the binary has begun, with a run and a release."""
    path = tmp_path_factory.mktemp("ledgers") / "customers.jsonl"
    create = ("create", path, "--epsilon=8", "--delta=1e-5", "--population=customers of June")
    status, output, error = ledger(*map(str, create))
    assert status in (None, 0), error
    assert "customers of June, whose budget is epsilon 8 at delta 1e-05" in output
    with population_ledger.PopulationLedger(path) as opened:
        events = ((dp_accounting.GaussianDpEvent(2.0), 1),)
        entry = RunEntry(
            "r",
            RESERVED,
            "training",
            "/runs/a",
            "",
            "dp_gaussian",
            events,
            "d",
            (),
            ("trusted_server",),
        )
        opened.reserve(entry, ADD)
    add = ("add", str(path), "--epsilon=0.5", "--delta=1e-7", "--note=counts for the press")
    status, output, error = ledger(*add)
    assert status in (None, 0), error
    return path


def test_show_has_a_row_for_each_and_what_is_left(path):
    status, output, error = ledger("show", str(path))
    assert status in (None, 0), error
    contents = population_ledger.read_population(path)
    budget = contents.header.budget
    (row,) = (line for line in output.splitlines() if "training" in line)
    alone = accounting.epsilon([(dp_accounting.GaussianDpEvent(2.0), 1)], 1e-5, ADD)
    for part in ("reserved", "dp_gaussian", "/runs/a", f"{alone:.3g}"):
        assert part in row.split() or part in row
    (row,) = (line for line in output.splitlines() if "counts for" in line)
    for part in ("elsewhere", "settled", "counts for the press", "0.5", "delta 1e-07"):
        assert part in row
    assert f"taken:      {budget.share(contents.costs()):.1%} of it" in output
    half = accounting.epsilon([(dp_accounting.GaussianDpEvent(2.0), 1)], 5e-6, ADD)
    assert f"all so far: epsilon {half + 0.5:.3g} at delta 5.1e-06" in output
    assert "assumed:    trusted_server, and whatever the releases from elsewhere assume" in output
    assert "voided" not in output
    assert f"epsilon {budget.epsilon_left(contents.costs()):.2g} or somewhat less" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "write one of: show FILE"),
        (["forget", "PATH"], "'forget' is no command"),
        (["show"], "show takes 1"),
        (["show", "/no/such.jsonl"], "cannot read the population ledger /no/such.jsonl"),
        (["show", "PATH", "--note=x"], "--note means nothing here"),
        (["create", "PATH", "--epsilon=8", "--delta=1e-5"], "is there already"),
        (["create", "NEW", "--epsilon=8"], "--delta is missing"),
        (["create", "NEW", "--epsilon=8", "--delta=2"], "delta must lie strictly"),
        (["add", "PATH", "--epsilon=1", "--delta=0"], "--note is missing"),
        (["add", "PATH", "--epsilon=20", "--delta=0", "--note=x"], "of the budget of 'customers"),
        (["add", "PATH", "--epsilon=1", "--delta=0.1", "--note=x"], "half of the budget's delta"),
        (["settle", "PATH", "/no/such/run"], "no private run is there"),
    ],
)
def test_mistakes_are_told_in_a_line(path, tmp_path, arguments, said):
    before = path.read_bytes()
    names = {"PATH": str(path), "NEW": str(tmp_path / "new.jsonl")}
    status, output, error = ledger(*(names.get(a, a) for a in arguments))
    assert status == 2
    assert output == ""
    (line,) = error.splitlines()
    assert said in line
    assert path.read_bytes() == before
    assert not pathlib.Path(names["NEW"]).exists()
