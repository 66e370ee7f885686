"""Listing, describing and checking aggregators, as their authors meet it: processes."""

import functools

import binaries
import plugin_binaries
import pytest

from fedrec_tff.aggregators import registry
from fedrec_tff.checks import aggregator_text

ROOT = plugin_binaries.ROOT
EXAMPLES = "examples/custom_aggregator"

run_main = functools.partial(plugin_binaries.run_main, "experiments.aggregators")


@pytest.fixture(scope="module")
def installed_package(tmp_path_factory):
    """A folder with a package that has an entry point, and one whose entry point is broken."""
    folder = tmp_path_factory.mktemp("site")
    plugin_binaries.write_package(
        folder,
        "fedrec_tff.aggregators",
        "import tensorflow\n\n\n"
        "def build(context, inner, *, depth: int, name: str | None = None, fast: bool = True):\n"
        '    """Digs.\n\n    Deeply.\n\n    Args:\n      context: Not used.\n'
        '      depth: In feet.\n    """\n',
    )
    return folder


def test_list_has_all_and_entry_points_too(installed_package):
    status, text, _, imported_tensorflow = run_main("list", path=installed_package)
    assert (status, imported_tensorflow) == (0, False)
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert set(registry.names()) <= set(rows)
    assert rows["dp_gaussian"].split()[:4] == ["dp_gaussian", "aggregator", "yes", "yes"]
    assert rows["local_laplace"].split()[:4] == ["local_laplace", "aggregator", "yes", "no"]
    assert rows["weighted_mean"].split()[:4] == ["weighted_mean", "aggregator", "no", "yes"]
    assert "wrapping step" in rows["somebodys"]
    assert "Digs." in rows["somebodys"]
    assert "cannot be used" in rows["broken"]


def test_the_reference_has_the_rows_of_the_list():
    reference = (ROOT / "docs" / "aggregators.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in reference.splitlines() if line[:3] == "| `"]
    documented = {cells[0].strip("`"): tuple(cells[1:4]) for cells in rows if len(cells) == 5}
    found = [registry.get(name) for name in registry.names()]
    assert documented == {
        aggregator.name: (
            aggregator_text.describe_kind(aggregator),
            aggregator_text.describe_privacy(aggregator),
            aggregator_text.describe_rows(aggregator),
        )
        for aggregator in found
    }


def test_describe_tells_parameters_place_and_usage(installed_package):
    status, text, _, imported_tensorflow = run_main("describe", "somebodys", path=installed_package)
    assert (status, imported_tensorflow) == (0, False)
    assert "Deeply." in text
    assert "depth: int, must be given\n    In feet." in text
    assert "name: str or none, default none" in text
    assert "fast: bool, default true" in text
    assert "Not in a differentially private run" in text
    assert "--aggregator=somebodys,mean" in text
    assert "--aggregator_param depth=<int>" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "write one of: list"),
        (["lst"], "'lst' is no command"),
        (["list", "mean"], "list takes no name"),
        (["describe", "dp_gausian"], "did you mean dp_gaussian"),
        (["check", "mean", "--aggregator_param", "depth=3"], "depth: unknown; mean has none"),
        (["check", f"{EXAMPLES}/majority_vote.py:build_votes"], "Factory, build_vote"),
    ],
)
def test_a_wrong_command_is_told_in_one_line_at_once(arguments, message):
    status, text, error, imported_tensorflow = run_main(*arguments)
    assert (status, text, imported_tensorflow) == (2, "", False)
    assert message in error
    assert "\n" not in error


def test_check_says_what_is_wrong_line_by_line_and_fails(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import tensorflow as tf\nimport tensorflow_federated as tff\n\n\n"
        "def build(context, inner, *, depth: int):\n"
        "    '''Digs.'''\n"
        "    class Factory(tff.aggregators.UnweightedAggregationFactory):\n"
        "        def create(self, value_type):\n"
        "            raise LookupError(f'no shovel for {depth} feet')\n"
        "    return Factory()\n"
    )
    arguments = ["check", f"{plugin}:build", "--aggregator_param=depth=3"]
    child = binaries.run("aggregators", *arguments)
    assert child.returncode == 1
    assert "Traceback" not in child.stderr
    first, second = child.stdout.splitlines()
    assert first.split()[:2] == ["OK", "builder"]
    assert first.endswith(f"{plugin}:build,mean")
    assert second.split()[:3] == ["FAIL", "dense:", "types"]
    assert second.endswith("LookupError: no shovel for 3 feet (plugin.py, line 9)")
