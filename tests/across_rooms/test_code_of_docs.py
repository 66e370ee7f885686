"""Code that the docs show runs: cells of notebooks, and blocks of Python, in a reduced form.

The cells and blocks of a page run in their order and in one namespace, between what they take to
be there and what they are asked afterwards. A block that says not to be run, or that another test
runs (`test_doc_commands.py`), is left out. So is an excerpt of a file of examples/, which has
tests of its own: it must be in that file.
"""

import ast
import gzip
import json
import subprocess
import sys

import code_blocks
import doc_blocks
import pytest
from doc_blocks import ROOT

_NOTEBOOKS = ROOT / "examples" / "notebooks"
_IMPORTS = ("fedrec_tff.run.federated_run", "fedrec_tff.checks.aggregator_check")
_REDUCED = "ROUNDS, EXECUTION = 2, 'debug'\n"
# What takes the place of the cell of parameters, and what is asked at the end.
_ENDS = {
    "first_private_recommender": (
        "NUM_USERS = 40\n",
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


# Before a page's blocks: a table of events, and training that is short. After them: what is asked.
_SHORT = """
import functools, fedrec_tff, numpy as np, pandas as pd
rng = np.random.default_rng(0)
events = pd.DataFrame({"user": rng.integers(0, 40, 600), "time": rng.integers(0, 10**6, 600),
                       "item": [f"item {number}" for number in rng.integers(0, 30, 600)]})
fedrec_tff.train = functools.partial(fedrec_tff.train, preset="basic", embedding_dim=4, rounds=1,
                                     clients_per_round=10, num_negatives=8, execution="debug")
"""
_TELL_RUN = """
assert 0 < run.epsilon <= 8
found = {"items": list(run.recommend(["item 7", "item 3"], k=10)["item"]),
         "statement": run.privacy_statement}
"""
_AVERAGE = """
import collections, tensorflow as tf, tensorflow_federated as tff
factory = tff.aggregators.MeanFactory()
mean = factory.create(tff.TensorType(np.float32), tff.TensorType(np.float32))
@tff.federated_computation(mean.initialize.type_signature.result,
                           tff.FederatedType(np.float32, tff.CLIENTS))
def next_fn(state, values):
    output = mean.next(state, values, values)
    return tff.templates.MeasuredProcessOutput(*output)
process = tff.templates.AggregationProcess(mean.initialize, next_fn)
clients = [np.float32(1.0), np.float32(3.0)]
"""
_LEDGERS = """
import os
from fedrec_tff.privacy import ledger, mechanisms
mechanism = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
for name, rounds in (("first", 2), ("second", 3)):
    os.makedirs(f"runs/{name}")
    path = f"runs/{name}/privacy_ledger.jsonl"
    with ledger.PrivacyLedger(path, ledger.LedgerHeader(name, mechanism, 1e-5)) as opened:
        for number in range(rounds):
            opened.append(number + 1)
"""
_ADD_UP = """
together = [(mechanisms.unit_event(mechanism), 5)]
assert np.isclose(accounting.epsilon(events, 1e-5, relation),
                  accounting.epsilon(together, 1e-5, relation), rtol=1e-6)
found = len(events)
"""
_REPORT_ROUNDS = """
import types
printer = build(types.SimpleNamespace(name="mine"), every=2)
for key in range(4):
    try:
        printer.release({"loss": key}, key).send(None)
    except StopIteration:
        pass
printer.close()
found = None
"""
_CHECK_VOTE = """
from fedrec_tff.checks import aggregator_check, aggregator_check_config, plugin_text
config = aggregator_check_config.read_config(
    "examples/custom_aggregator/majority_vote.py:build_vote")
found = [plugin_text.to_line(one.status, one.name, one.text)
         for one in aggregator_check.check(config)]
"""
_RUN_TO_COMPRESS = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "serving")!r})
import shipped_models
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import data
flags = {{"synthetic_users": 60, "synthetic_items": 50}}
log = data.load_data(RunConfig(embedding_dim=8, history_length=5, **flags))
ids = log.interactions.item_ids.astype(object)
titles = np.array(["Toy Story (1995)", *(f"Title {{i}}" for i in range(1, len(ids)))], object)
items = shipped_models.ItemCatalogue(ids, titles)
import pathlib
shipped_models.write_run(pathlib.Path("runs/mine"), None, items, log.fingerprint, **flags)
"""
_IMPORT_NUMPY = "import numpy as np\n"
# Pages with blocks of Python: what comes before, and what is asked.
_PAGES = {
    "docs/execution.md": (
        _IMPORT_NUMPY + _AVERAGE,
        "found = float(output.result), float(process.next(output.state, []).result)",
    ),
    "docs/population_budget.md": (_IMPORT_NUMPY + _LEDGERS, _ADD_UP),
    "docs/tensorboard.md": ("", _REPORT_ROUNDS),
    "docs/aggregators.md": (f"import os\nos.chdir({str(ROOT)!r})\n", _CHECK_VOTE),
}
_SLOW_PAGES = {
    "README.md": (_SHORT, _TELL_RUN),
    "docs/python.md": (_SHORT, _TELL_RUN + "assert len(score(run.model, [1, 2])) == 30\n"),
    "docs/compression.md": (
        _IMPORT_NUMPY + _RUN_TO_COMPRESS,
        "found = [form.name for form in results.forms[1:]]",
    ),
}


def _read_excerpts():
    """Functions and classes of the examples by name, without docstrings and types."""
    found = {}
    for path in (ROOT / "examples").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found[node.name] = _to_bare(node)
    return found


def _to_bare(node):
    """What stays of a definition without docstrings and types."""
    node = ast.parse(ast.unparse(node)).body[0]
    for inner in ast.walk(node):
        if isinstance(inner, ast.ClassDef | ast.FunctionDef):
            if ast.get_docstring(inner) is not None:
                del inner.body[0]
            inner.returns = None
        elif isinstance(inner, ast.arg):
            inner.annotation = None
    return ast.dump(node)


def _is_excerpt(text, excerpts):
    # A signature alone has no body.
    is_signature = text.rstrip().endswith(":")
    nodes = ast.parse(f"{text.rstrip()} pass" if is_signature else text).body
    if not all(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in nodes):
        return False
    if is_signature:
        [node] = nodes
        head = _to_bare(node).partition("body=")[0]
        return excerpts.get(node.name, "").startswith(head)
    return all(excerpts.get(node.name) == _to_bare(node) for node in nodes)


def _find_python():
    """The blocks that are to be run, by page."""
    excerpts, found = _read_excerpts(), {}
    for block in doc_blocks.find_blocks():
        is_left_out = block.not_run is not None or block.run_by is not None
        if block.language == "python" and not (is_left_out or _is_excerpt(block.text, excerpts)):
            found.setdefault(block.page, []).append((block.place, block.text))
    return found


_PYTHON = _find_python()


def _put_together(page):
    before, end = {**_PAGES, **_SLOW_PAGES}[page]
    blocks = _PYTHON.get(page, [])
    return (("before", before), *blocks, ("end", end + _TELL))


def _run_programs(programs, tmp_path_factory):
    made = [
        code_blocks.Program(str(tmp_path_factory.mktemp("program")), tuple(pieces))
        for pieces in programs.values()
    ]
    return dict(zip(programs, code_blocks.run_all(made, _IMPORTS), strict=True))


@pytest.fixture(name="ended", scope="module")
def _ended(tmp_path_factory):
    programs = {name: _reduce(name) for name in _ENDS}
    programs |= {page: _put_together(page) for page in _PAGES}
    return _run_programs(programs, tmp_path_factory)


@pytest.fixture(name="slowly_ended", scope="module")
def _slowly_ended(tmp_path_factory):
    return _run_programs({page: _put_together(page) for page in _SLOW_PAGES}, tmp_path_factory)


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


def test_every_block_of_python_is_run():
    missing = set(_PYTHON) - set(_PAGES) - set(_SLOW_PAGES)
    assert not missing, f"{missing}: add the page to _PAGES, with what its code takes to be there"
    assert set(_PYTHON) >= {"README.md", "docs/python.md", "docs/execution.md"}


def test_an_excerpt_is_one_only_as_it_stands_in_the_file():
    excerpts = _read_excerpts()
    [block] = [b for b in doc_blocks.find_blocks() if "class MajorityVoteFactory" in b.text]
    assert _is_excerpt(block.text, excerpts)
    assert not _is_excerpt(block.text.replace("tf.sign(t)", "tf.abs(t)"), excerpts)
    assert not _is_excerpt("x = 1\n", excerpts)
    assert not _is_excerpt("def build_vote(context, *, stride):\n", excerpts)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_first_code_that_one_meets_trains_and_recommends(page, slowly_ended):
    found = _get_found(slowly_ended[page])
    assert len(set(found["items"]) - {"item 7", "item 3"}) == 10
    assert "differential privacy" in found["statement"]


def test_any_process_runs_in_the_compiled_context(ended):
    # Weighted by themselves: (1 + 9) / (1 + 3); nobody's mean is nobody's business.
    assert _get_found(ended["docs/execution.md"])[0] == 2.5


def test_ledgers_of_two_runs_compose(ended):
    assert _get_found(ended["docs/population_budget.md"]) == 2


def test_a_tracker_of_ones_own_prints_every_second_round(ended):
    found = ended["docs/tensorboard.md"]
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[:-1] == ["mine 0 {'loss': 0}", "mine 2 {'loss': 2}"]


def test_the_check_of_the_vote_finds_what_the_page_shows(ended):
    [block] = [b for b in doc_blocks.find_blocks() if b.text.startswith("OK    builder")]
    assert block.page == "docs/aggregators.md"
    assert _get_found(ended["docs/aggregators.md"]) == block.text.splitlines()


@pytest.mark.slow
def test_a_smaller_form_is_made_and_recommends(slowly_ended):
    assert _get_found(slowly_ended["docs/compression.md"]) == ["pq | quantize"]


def test_a_literal_a_line_becomes_json_a_line(tmp_path):
    """The command of docs/data.md, as a shell gives it to Python."""
    [block] = [b for b in doc_blocks.find_blocks() if "ast.literal_eval" in b.text]
    assert block.page == "docs/data.md"
    [([[_, *arguments]], _)] = doc_blocks.record_calls([block.text])
    rows = [{"user": "a", "game": 3, "early": True}, {"user": "b", "text": "it's \u00fc"}]
    with gzip.open(tmp_path / "steam_reviews.json.gz", "wt") as file:
        file.writelines(f"{row!r}\n" for row in rows)
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    written = (tmp_path / "steam.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == rows
