"""Builders of somebody's own, and files of them, that may be anything: used, or one line."""

import pytest
from hypothesis import strategies as st

from fedrec_tff.aggregators import aggregator as aggregator_lib
from fedrec_tff.aggregators import chain as chain_lib
from fedrec_tff.models import plugin as model_plugin
from fedrec_tff.models.losses import plugin as loss_plugin
from fedrec_tff.plugins import loading, signatures
from tests.fuzzing import cases

_FLAGS = (aggregator_lib.FLAG, model_plugin.FLAG, loss_plugin.FLAG)
_WORDS = st.text(max_size=6) | st.sampled_from(
    [
        *("build", "", ":", "::", "a.py", "a.py:", ":build", "os:system", "os.path:join", "..:x"),
        *("builtins:eval", "subprocess:call", "a/b.py:build", "\0:x", ".x:y", "tests:x", "é:é"),
        *("sys:exit", "json:", "no.such:thing", "this:that", "antigravity:x", "\ud800:x", "."),
    ]
)
_PARAMETERS = st.sampled_from(
    ["", "a=1", "a", "=", "a=b=c", "a=nan", "a=1e999", "b=true", "a=1\n", "é=1", "a=" + "9" * 5000]
)


@cases.fuzz_times(20, words=st.lists(_WORDS, max_size=3), parameters=st.lists(_PARAMETERS))
def test_names(words, parameters):
    text = ",".join(words)
    cases.accepts_or_refuses(lambda: chain_lib.parse(text, tuple(parameters)), ("--aggregator",))
    cases.accepts_or_refuses(lambda: model_plugin.parse(text, tuple(parameters)), ("--model",))
    cases.accepts_or_refuses(lambda: loss_plugin.parse(text, tuple(parameters)), ("--loss",))


_STATEMENTS = st.sampled_from(
    [
        "import sys; sys.exit(3)",
        "raise ValueError('one\\ntwo')",
        "raise KeyboardInterrupt",
        "raise RuntimeError",
        "1 / 0",
        "import no_such_module",
        "from . import x",
        "def build(context, a: int = 1): return a",
        "def build(context, a: int): return {}[a]",
        "def build(context): raise SystemExit(4)",
        "def build(context, *, b: bool = False, a: float = float('nan')): return None",
        "def build(context, a: 'int' = 1, /, *c, **d): pass",
        "def build(): pass",
        "def build(context, a: int = 'x'): pass",
        "async def build(context): pass",
        "class build:\n    def __init__(self, a: int = 2): self.a = a",
        "build = 3",
        "build: int",
        "build, other = 1, 2",
        "from os.path import join as build",
        "def build(context): return build(context)",
        "def build(context:\n",
        "\tdef build(context): pass",
        "x = " + "(" * 300 + ")" * 300,
        "x = " + "-" * 3000 + "1",
        "# -*- coding: no-such-encoding -*-",
        "\ufeffdef build(context): pass",
        "__name__ = None",
        "del __builtins__",
        "",
    ]
)


@cases.fuzz_times(
    30,
    statements=st.lists(_STATEMENTS, max_size=3),
    changes=cases.DAMAGES | st.none(),
    flag=st.sampled_from(_FLAGS),
    parameters=st.lists(_PARAMETERS, max_size=1),
)
@pytest.mark.filterwarnings("ignore")
def test_files(tmp_path_factory, statements, changes, flag, parameters):
    path = tmp_path_factory.mktemp("p") / "mine.py"
    content = "\n".join(statements).encode()
    path.write_bytes(content if changes is None else cases.damage(content, changes))
    builder = f"{path}:build"
    names = (path.name, f"--{flag.name}")
    cases.accepts_or_refuses(lambda: signatures.list_functions(str(path), flag), names)
    read = cases.accepts_or_refuses(lambda: signatures.read_signature(builder, flag), names)
    cases.accepts_or_refuses(lambda: chain_lib.parse(builder, tuple(parameters)), ("--",))
    if read is None:
        return

    def use():
        found = loading.import_builder(builder, builder, flag)
        return loading.call_builder(found, builder, flag, "context")

    try:
        cases.accepts_or_refuses(use, names)
    except KeyboardInterrupt:
        # Whoever presses Ctrl-C while a file is imported means the program.
        assert "KeyboardInterrupt" in content.decode(errors="replace")
