"""Code that the docs show runs: the cells of the notebooks, in order and in a reduced form."""

import json
import pathlib

import code_blocks
import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_NOTEBOOKS = _ROOT / "examples" / "notebooks"
_REDUCED = "ROUNDS, EXECUTION = 2, 'debug'\n"
# What takes the place of the cell of parameters, and what is asked at the end.
_ENDS = {
    "first_private_recommender": (
        "NUM_USERS = 80\n",
        "found = {'epsilon': run.epsilon, 'target': EPSILON, 'items': list(same.recommend(history)"
        "['item']), 'history': history, 'catalogue': list(items['item']), 'recall': recall}",
    ),
    "write_an_aggregator": (
        "NUM_USERS, CLIENTS_PER_ROUND = 40, 10\n",
        "found = {'statuses': [one.status for one in findings], 'recall': recall, 'shortened': "
        "rounds['aggregator/fraction_shortened'].tolist()}",
    ),
}
_TELL = "\nimport json\nprint(json.dumps(found))\n"


def _read(name):
    return json.loads((_NOTEBOOKS / f"{name}.ipynb").read_text())


def _name_parameters(source):
    return [line.split(" = ")[0] for line in source.splitlines()]


def _reduce(name):
    """The cells of code; after that of parameters, smaller ones are set."""
    smaller, end = _ENDS[name]
    for number, cell in enumerate(_read(name)["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            yield f"{name}:cell {number}", source
        if "parameters" in cell["metadata"].get("tags", ()):
            yield "reduced", smaller + _REDUCED
    yield "end", end + _TELL


@pytest.fixture(name="ended", scope="module")
def _ended(tmp_path_factory):
    programs = [
        code_blocks.Program(str(tmp_path_factory.mktemp(name)), tuple(_reduce(name)))
        for name in _ENDS
    ]
    imports = ("tensorflow_federated", "fedrec_tff.run.session", "fedrec_tff.aggregators.building")
    return dict(zip(_ENDS, code_blocks.run_all(programs, imports), strict=True))


def _get_found(ended):
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", _ENDS)
def test_a_notebook_is_plain_and_holds_no_outputs(name):
    notebook = _read(name)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    [parameters] = [c for c in code if "parameters" in c["metadata"].get("tags", ())]
    names = _name_parameters("".join(parameters["source"]))
    assert {"NUM_USERS", "ROUNDS", "EXECUTION", "FOLDER"} <= set(names)


def test_every_notebook_is_run():
    assert {path.stem for path in _NOTEBOOKS.glob("*.ipynb")} == set(_ENDS)


def test_the_first_recommender_keeps_its_budget_and_recommends_what_is_new(ended):
    found = _get_found(ended["first_private_recommender"])
    assert 0.5 * found["target"] < found["epsilon"] <= found["target"]
    assert len(found["items"]) == 10
    assert not set(found["items"]) & set(found["history"])
    assert set(found["items"]) <= set(found["catalogue"])
    assert list(found["recall"]) == ["this model", "private popularity", "EASE, not private"]
    assert all(0.0 <= value <= 1.0 for value in found["recall"].values())


def test_the_aggregator_is_as_numpy_has_it_passes_the_check_and_trains(ended):
    # The comparison with NumPy is a cell of its own, and would end the notebook.
    found = _get_found(ended["write_an_aggregator"])
    assert len(found["statuses"]) > 5
    assert set(found["statuses"]) == {"OK"}
    assert set(found["recall"]) == {"mean", "clipped_mean", "popularity"}
    assert len(found["shortened"]) == 2
    assert all(0.0 < fraction <= 1.0 for fraction in found["shortened"])
