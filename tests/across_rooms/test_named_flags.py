"""Every flag that a message names exists, and no message names a setting that no flag sets."""

import ast
import dataclasses
import pathlib
import re

import pytest

from fedrec_tff.benchmarks.accelerator import plan_config
from fedrec_tff.benchmarks.scale import deployment
from fedrec_tff.config import run_config
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.evaluation import config as evaluation_config

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z_0-9]*[a-z0-9])")
_DEFINED = re.compile(r"DEFINE_\w+\(\s*\"(\w+)\"|define\(\s*\"(\w+)\"")
# Of programs that are not ours (XLA, TFF's worker, git, TensorBoard, pip), and a placeholder.
_FOREIGN = {
    *("xla_cpu_enable_fast_min_max", "port", "max_concurrent_computation_calls"),
    *("always", "dirty", "abbrev", "logdir", "no", "name", "head"),
}
# Settings of functions that a run's user cannot reach; messages about them are for programmers,
# and must not come from where every run passes.
_WITHOUT_A_FLAG = (
    *("clipped_count_stddev", "data_path", "min_interactions_per_user", "k_core_user"),
    *("popularity_exponent", "test_quantile"),
)
_EVERY_RUN = (
    "privacy/calibration.py",
    "datasets/delimited.py",
    *("config/", "run/", "checks/", "studies/"),
    "datasets/movielens.py",
    "datasets/preparation.py",
)


def _messages(path):
    """The strings of a file that are no docstrings, joined as in the source."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in documentation:
            yield node.lineno, node.value


def _known_flags():
    names = {"help", "helpfull", "flagfile"}
    for config_class in (
        run_config.RunConfig,
        baselines_config.BaselinesConfig,
        evaluation_config.EvaluationConfig,
        deployment.Deployment,
        plan_config.PlanConfig,
    ):
        names |= {field.name for field in dataclasses.fields(config_class)}
    for path in (_ROOT / "experiments").rglob("*.py"):
        for found in _DEFINED.findall(path.read_text()):
            names |= set(found) - {""}
    return names


@pytest.mark.parametrize("package", ["fedrec_tff", "experiments"])
def test_every_flag_that_a_message_names_exists(package):
    known = _known_flags() | _FOREIGN
    known |= {f"no{name}" for name in known}
    unknown = [
        f"{path.relative_to(_ROOT)}:{line}: --{name}"
        for path in sorted((_ROOT / package).rglob("*.py"))
        for line, text in _messages(path)
        for name in _FLAG.findall(text)
        if name not in known
    ]
    assert not unknown


def test_no_message_on_the_way_of_a_run_names_a_setting_without_a_flag():
    found = [
        f"{path.relative_to(_ROOT)}:{line}: {text}"
        for path in sorted((_ROOT / "fedrec_tff").rglob("*.py"))
        # Wherever the checkout lies.
        if any(place in path.relative_to(_ROOT).as_posix() for place in _EVERY_RUN)
        for line, text in _messages(path)
        for name in _WITHOUT_A_FLAG
        if " " in text and re.search(rf"\b{name}\b", text)
    ]
    assert not found
