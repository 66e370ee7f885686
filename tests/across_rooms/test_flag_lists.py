"""What is known about flags stands beside their declarations, and in no list anywhere else."""

import ast
import pathlib

import fedrec_tff
from fedrec_tff.config import field_spec
from fedrec_tff.config.run_config import RunConfig

_PACKAGE = pathlib.Path(fedrec_tff.__file__).parent
_MANY = 3
_NAMES = set(field_spec.read_specs(RunConfig))
# Facts about whoever holds the list, not about the flags; by the beginning of its path.
_ALLOWED = {
    "checks/model_check_config.py": "what the check of a model lets its author choose",
    "privacy/": "fields of a mechanism's record, which are called as flags are",
    "studies/audit/config.py": "what the process that this attack builds for itself leaves out",
    "studies/baselines/report.py": "what tells baselines apart in TensorBoard",
    "studies/robustness/config.py": "what the cells of a study set themselves",
}


def _find_lists(tree):
    """The names of flags in each literal list, tuple or set; what is starred counts as part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = [part.value if isinstance(part, ast.Starred) else part for part in node.elts]
            inner = [e for p in parts if isinstance(p, ast.List | ast.Tuple) for e in p.elts]
            texts = [part.value for part in (*parts, *inner) if isinstance(part, ast.Constant)]
            found = [text for text in texts if isinstance(text, str) and text in _NAMES]
            if len(found) >= _MANY:
                yield node.lineno, found


def test_no_module_but_a_topic_lists_flags():
    listed = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE).as_posix()
        is_topic = name.startswith("config/") and name.endswith("_config.py")
        found = [] if is_topic else list(_find_lists(ast.parse(path.read_text())))
        if found:
            listed[name] = found
    allowed = tuple(_ALLOWED)
    assert not {name: found for name, found in listed.items() if not name.startswith(allowed)}


def test_lists_are_found_in_whatever_form():
    for text in (
        "a = ['rounds', 'seed', 'loss']",
        "f({'rounds', 'seed', 'loss', 'x'})",
        "a = (*('rounds', 'seed'), 'loss')",
    ):
        assert list(_find_lists(ast.parse(text)))
    assert not list(_find_lists(ast.parse("a = ('rounds', 'seed', 'x')")))
