"""Draws mutants of the modules whose mistakes nobody would see, and writes them as lines of JSON.

.venv-mutation/bin/python tests/mutation/draw_mutants.py --seed=1 --mutants=120 > drawn.jsonl

The operators are cosmic-ray's. Of each area so many places are drawn as asked for, shared out among
its modules by their lines; at each place one of its mutations. Each module has a generator of its
own, so a change to one leaves what is drawn of the others.

What is left out is decided here, from the syntax, before any test runs:
- operators that only put an error of types in place of an arithmetic one: arithmetic and
  comparisons are mutated to their neighbours (`_NEIGHBOURS`), which are the hard ones to notice;
- what handlers catch: cosmic-ray puts a name there that the module doesn't know;
- annotations, `__all__`, and blocks under `TYPE_CHECKING`: nothing evaluates them for their value;
- what stands in a `raise`, and the message of an `assert`: the text of an error. Its condition is
  mutated;
- caches, whether a dataclass (or one of attrs) is frozen, what is abstract, and `strict` of zip:
  they change no value, and keep programmers from mistakes.
"""

import argparse
import ast
import difflib
import json
import pathlib
import random
from collections.abc import Iterator

import cosmic_ray.ast
import cosmic_ray.mutating
import cosmic_ray.plugins

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_ROW_SPARSE = (
    "fedrec_tff/aggregators/row_lists.py",
    "fedrec_tff/aggregators/row_sparse.py",
    "fedrec_tff/execution/row_loops.py",
    "fedrec_tff/execution/row_writes.py",
    "fedrec_tff/learning/row_finalizer.py",
    "fedrec_tff/privacy/table_rows.py",
)
# What belongs to an area: folders, or files. A file belongs to the first that names it.
AREAS = {
    "row_sparse_sums": _ROW_SPARSE,
    "secure_sums": ("fedrec_tff/secure_sums",),
    "metrics": ("fedrec_tff/evaluation", "fedrec_tff/run/metrics"),
    "privacy": ("fedrec_tff/privacy",),
}
_NEIGHBOURS = frozenset({
    "Add_Sub", "Sub_Add", "Mul_Div", "Mul_Add", "Div_Mul", "Div_FloorDiv", "FloorDiv_Div",
    "FloorDiv_Mul", "Mod_FloorDiv", "Mod_Mul", "Pow_Mul", "RShift_LShift", "LShift_RShift",
    "BitOr_BitAnd", "BitOr_BitXor", "BitAnd_BitOr", "BitAnd_BitXor", "BitXor_BitAnd",
    "BitXor_BitOr", "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE",
    "Gt_LtE", "GtE_Gt", "GtE_Lt", "Is_IsNot", "IsNot_Is",
})  # fmt: skip
_CACHES = ("cache", "lru_cache", "cached_property")
# `s` is that of `attr.s`.
_HARMLESS_DECORATORS = (*_CACHES, "dataclass", "s", "abstractmethod")


def _is_used(name: str) -> bool:
    family, _, change = name.removeprefix("core/").partition("_")
    if family in ("ReplaceBinaryOperator", "ReplaceComparisonOperator"):
        return change in _NEIGHBOURS
    return family not in ("VariableReplacer", "VariableInserter", "NoOp", "ExceptionReplacer")


_OPERATORS = [
    (name, cosmic_ray.plugins.get_operator(name)())
    for name in cosmic_ray.plugins.operator_names()
    if _is_used(name)
]

_Position = tuple[tuple[int, int], tuple[int, int]]


def _name_of(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", getattr(called, "id", ""))


def _left_out(node: ast.AST) -> list[ast.AST]:
    """The parts of a node, or itself, that are not mutated."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        decorators = [d for d in node.decorator_list if _name_of(d) in _HARMLESS_DECORATORS]
        return decorators + ([node.returns] if getattr(node, "returns", None) else [])
    if isinstance(node, ast.arg | ast.AnnAssign):
        return [node.annotation] if node.annotation else []
    if isinstance(node, ast.Assign):
        return [node] if any(getattr(t, "id", "") == "__all__" for t in node.targets) else []
    if isinstance(node, ast.If):
        return [node] if "TYPE_CHECKING" in ast.unparse(node.test) else []
    if isinstance(node, ast.keyword):
        return [node.value] if node.arg == "strict" else []
    if isinstance(node, ast.Call):
        return [k.value for k in node.keywords] if _name_of(node) in _CACHES else []
    if isinstance(node, ast.Raise):
        return [node]
    return [node.msg] if isinstance(node, ast.Assert) and node.msg else []


def _ranges_left_out(source: str) -> list[_Position]:
    nodes = [part for node in ast.walk(ast.parse(source)) for part in _left_out(node)]
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes]


def find_places(source: str) -> dict[_Position, list[tuple[str, int]]]:
    """Finds where a module can be mutated.

    Args:
      source: Its text.

    Returns:
      The mutations, as names of operators and their occurrences, by position.
    """
    left_out = _ranges_left_out(source)
    nodes = list(cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source)))
    places = {}
    for name, operator in _OPERATORS:
        positions = (p for node in nodes for p in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            # A decorator begins one column before its expression, at the `@`.
            start_inside = (start[0], start[1] + 1) if name.endswith("RemoveDecorator") else start
            if not any(first <= start_inside < last for first, last in left_out):
                places.setdefault((start, end), []).append((name, occurrence))
    return places


def share_out(total: int, weights: dict[str, int]) -> dict[str, int]:
    """Shares a number out by weights, by largest remainders."""
    exact = {key: total * weight / sum(weights.values()) for key, weight in weights.items()}
    shares = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (shares[key] - exact[key], key))
    for key in by_remainder[: total - sum(shares.values())]:
        shares[key] += 1
    return shares


def find_modules(area: str) -> list[str]:
    """The paths of an area's modules, in order."""
    paths = []
    for entry in AREAS[area]:
        found = [_ROOT / entry] if entry.endswith(".py") else (_ROOT / entry).rglob("*.py")
        paths += [str(path.relative_to(_ROOT)) for path in found]
    elsewhere = _ROW_SPARSE if AREAS[area] is not _ROW_SPARSE else ()
    return sorted(path for path in paths if path not in elsewhere)


def draw(area: str, num_mutants: int, seed: int) -> Iterator[dict[str, object]]:
    """Draws mutants of an area.

    Args:
      area: A key of `AREAS`.
      num_mutants: How many.
      seed: Of the draw.

    Yields:
      Mutants: `area`, `path`, `line`, `operator`, `occurrence`, the line `before` and `after`, and
      the whole `source`.
    """
    sources = {path: (_ROOT / path).read_text() for path in find_modules(area)}
    places = {path: find_places(source) for path, source in sources.items()}
    lines = {path: len(sources[path].splitlines()) for path in sources if places[path]}
    for path, share in share_out(num_mutants, lines).items():
        generator = random.Random(f"{seed}:{path}")
        chosen = generator.sample(sorted(places[path]), min(share, len(places[path])))
        for place in sorted(chosen):
            operator, occurrence = generator.choice(sorted(places[path][place]))
            where = {"area": area, "path": path, "line": place[0][0]}
            yield where | _mutate(sources[path], operator, occurrence)


def list_all(path: str, operator: str) -> Iterator[dict[str, object]]:
    """Makes all mutants of a module that an operator makes, instead of a sample.

    Args:
      path: The module's.
      operator: Its name, without `core/`.

    Yields:
      Mutants as `draw` does; their area is the operator's name.
    """
    source = (_ROOT / path).read_text()
    for place, mutations in sorted(find_places(source).items()):
        for name, occurrence in mutations:
            if name == f"core/{operator}":
                where = {"area": operator, "path": path, "line": place[0][0]}
                yield where | _mutate(source, name, occurrence)


def _differing_lines(one: list[str], other: list[str]) -> tuple[str, str]:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    _, *bounds = next(code for code in matcher.get_opcodes() if code[0] != "equal")
    a, b, c, d = bounds
    return " ".join("\n".join(one[a:b]).split()), " ".join("\n".join(other[c:d]).split())


def _mutate(source: str, operator: str, occurrence: int) -> dict[str, object]:
    mutated = cosmic_ray.mutating.mutate_code(source, dict(_OPERATORS)[operator], occurrence)
    before, after = _differing_lines(source.splitlines(), mutated.splitlines())
    return {
        "operator": operator.removeprefix("core/"),
        "occurrence": occurrence,
        "before": before,
        "after": after,
        "source": mutated,
    }


def main() -> None:
    """Prints the mutants."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=120, help="of each area")
    parser.add_argument("--areas", nargs="*", choices=list(AREAS), default=[])
    parser.add_argument("--all_of", nargs=2, metavar=("PATH", "OPERATOR"), help="and no sample")
    flags = parser.parse_args()
    if flags.all_of:
        for mutant in list_all(*flags.all_of):
            print(json.dumps(mutant))
        return
    for area in flags.areas or AREAS:
        for mutant in draw(area, flags.mutants, flags.seed):
            print(json.dumps(mutant))


if __name__ == "__main__":
    main()
