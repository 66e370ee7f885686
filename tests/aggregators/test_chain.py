"""What `--aggregator` and `--aggregator_param` say, before TensorFlow is imported."""

import subprocess
import sys
import textwrap

import pytest

from fedrec_tff import errors
from fedrec_tff.aggregators import builtin, chain, registry
from fedrec_tff.aggregators.aggregator import FLAG, TRANSFORM, WRAPPER
from fedrec_tff.models import plugin as model_plugin
from fedrec_tff.plugins import signatures

_PLUGIN = '''
"""Imports what does not exist: reading it must not import it."""
import a_module_that_does_not_exist


def build_mine(context, *, rate: float = 0.5, k: int | None = None, loud: bool = False):
    """Does it my way.

    At length.

    Args:
      rate: How much,
        in parts.
      k: How many.
    """


def build_step(context, *, rate: float = 1.0):
    """A step."""


def build_around(context, inner, *, times: int):
    """Wraps."""


def build_vague(context, *, what=None):
    """Has a parameter of no type."""


def build_open(context, **kwargs):
    """Takes anything."""


def build_nothing():
    """Takes no context."""


def build_by_number(rate: float = 0.5, *, k=3, names=(), inner_factory=None):
    """Takes no context, and parameters that no flag sets."""


def wrap_without_context(inner, *, k: int = 2):
    """Wraps."""


class Inherited(a_module_that_does_not_exist.Factory):
    """Has the constructor of another.

    Args:
      rate: Rate of the other.
    """


class Constructed(Inherited):
    """Has one of its own."""

    def __init__(self, rate: float, factory: "Factory | None" = None, **kwargs) -> None:
        """Constructs.

        Args:
          rate: How much.
        """


class Vague(Inherited):
    def __init__(self, rate):
        """Has a parameter of no type, which is not the context."""


class Told(Inherited):
    def __init__(self, context, *, k: int = 1):
        """Is told the context."""


made = Constructed(0.5)
'''


@pytest.fixture(name="plugin")
def _plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(_PLUGIN))
    return str(path)


def test_a_builders_signature_is_read_without_importing_it(plugin):
    signature = signatures.read_signature(f"{plugin}:build_mine", FLAG)
    assert signature.summary == "Does it my way."
    assert signature.docstring == "Does it my way.\n\nAt length."
    rate, k, loud = signature.parameters.values()
    assert (rate.type, rate.default, rate.help) == (float, 0.5, "How much, in parts.")
    assert (k.type, k.default, k.is_optional, k.is_required) == (int, None, True, False)
    assert (loud.type, loud.default, loud.help) == (bool, False, "")


@pytest.mark.parametrize(
    ("builder", "has_context", "has_inner", "parameters"),
    [
        ("build_mine", True, False, ["rate", "k", "loud"]),
        ("build_around", True, True, ["times"]),
        ("build_nothing", False, False, []),
        ("build_by_number", False, False, ["rate", "k"]),
        ("wrap_without_context", False, True, ["k"]),
        ("Inherited", False, False, []),
        ("Constructed", False, False, ["rate"]),
        ("Told", True, False, ["k"]),
        ("made", None, False, []),
        ("a_module_that_does_not_exist", None, False, []),
    ],
)
def test_a_builder_may_do_without_the_context_and_be_a_class_or_a_factory(
    plugin, builder, has_context, has_inner, parameters
):
    signature = signatures.read_signature(f"{plugin}:{builder}", FLAG)
    assert signature.has_context is has_context
    assert signature.has_inner is has_inner
    assert list(signature.parameters) == parameters


def test_a_constructors_parameters_are_told_with_the_classs_docstring(plugin):
    signature = signatures.read_signature(f"{plugin}:Constructed", FLAG)
    assert signature.docstring == "Has one of its own."
    assert signature.parameters["rate"].help == "How much."


def test_a_model_still_needs_the_context(plugin):
    with pytest.raises(errors.UserError, match="takes none"):
        signatures.read_signature(f"{plugin}:build_nothing", model_plugin.FLAG)
    with pytest.raises(errors.UserError, match="defines no function 'made'"):
        signatures.read_signature(f"{plugin}:made", model_plugin.FLAG)


@pytest.mark.parametrize("aggregator", builtin.AGGREGATORS, ids=lambda a: a.name)
def test_every_builtin_has_a_builder_that_flags_can_set(aggregator):
    signature = signatures.read_signature(aggregator.builder, FLAG)
    assert signature.has_inner == (aggregator.kind == WRAPPER)
    assert signature.summary
    for parameter in signature.parameters.values():
        assert parameter.help, f"{aggregator.name} says nothing about {parameter.name}"


def test_parameters_are_typed_from_the_signature(plugin):
    parsed = chain.parse(f"{plugin}:build_mine", ("rate=2", "k=none", "loud=TRUE"))
    (link,) = parsed.links
    values = dict(link.parameters)
    assert values == {"rate": 2.0, "k": None, "loud": True}
    assert isinstance(values["rate"], float)
    assert parsed.has_plugin
    assert chain.parse(f"{plugin}:build_mine", ("k=3",)).links[0].parameters == (("k", 3),)


def test_a_parameter_that_two_have_is_given_by_name(plugin):
    text = f"{plugin}:build_step,{plugin}:build_mine"
    with pytest.raises(errors.UserError, match=r"build_step\.rate or .*build_mine\.rate"):
        chain.parse(text, ("rate=2",))
    step, last = chain.parse(text, ("build_step.rate=2", f"{plugin}:build_mine.rate=3")).links
    assert dict(step.parameters) == {"rate": 2.0}
    assert dict(last.parameters) == {"rate": 3.0}
    assert step.aggregator.kind == TRANSFORM


@pytest.mark.parametrize(
    ("builder", "parameters", "message"),
    [
        ("build_mine", ("rte=1",), "did you mean rate"),
        ("build_mine", ("rate",), "write key=value"),
        ("build_mine", ("rate=fast",), "rate=fast: must be a number"),
        ("build_mine", ("rate=nan",), "finite"),
        ("build_mine", ("k=1.5",), "whole number"),
        ("build_mine", ("loud=1",), "true or false"),
        ("build_mine", ("k=1", "k=2"), "twice"),
        ("build_around,mean", (), "times=<int>"),
        ("build_vague", (), "annotate what"),
        ("build_open", (), r"\*args and \*\*kwargs"),
        ("build_nothing", ("k=1",), "has none"),
        ("Constructed", (), "rate=<float>"),
        ("Vague", (), "annotate rate"),
        ("made", ("rate=1",), "has none"),
        ("bild_mine", (), "build_mine"),
    ],
)
def test_mistakes_are_told_in_one_line(plugin, builder, parameters, message):
    with pytest.raises(errors.UserError, match=message) as raised:
        chain.parse(f"{plugin}:{builder}", parameters)
    assert "\n" not in str(raised.value)


def test_a_file_without_a_builder_tells_which_there_are(plugin):
    with pytest.raises(errors.UserError, match=r"name a builder in that file.*build_mine"):
        chain.parse(str(plugin))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meen", "did you mean mean"),
        ("mean,", "empty name"),
        ("no_such_package.module:build", "no_such_package"),
        ("fedrec_tff.no_such_module:build", "no module"),
        ("nowhere/mine.py:build", "no file"),
        ("mean,weighted_mean", "mean aggregates, so nothing can follow it"),
        ("dp_gaussian,mean", "after its clip and noise"),
        ("weighted_mean,dp_gaussian", "everybody counts the same"),
    ],
)
def test_chains_that_make_no_sense_are_refused(text, message):
    with pytest.raises(errors.UserError, match=message):
        chain.parse(text)


def test_edges_with_models_of_their_own_take_no_step_that_is_not_ours(plugin):
    text = f"{plugin}:build_step,hierarchical"
    assert chain.parse(text).terminal.has_edges
    with pytest.raises(errors.UserError, match="sync_period above 1"):
        chain.parse(text, ("sync_period=2",))


def test_a_step_that_stands_twice_keeps_its_defaults(plugin):
    with pytest.raises(errors.UserError, match="more than once"):
        chain.parse("quantize,quantize,mean", ("bits=3",))


def test_what_would_void_the_guarantee_is_refused(plugin):
    with pytest.raises(errors.UserError, match=r"build_around wraps dp_gaussian.*analysed"):
        chain.parse(f"{plugin}:build_around,dp_gaussian", ("times=1",))
    with pytest.raises(errors.UserError, match=r"cannot come last"):
        chain.parse(f"mean,{plugin}:build_around", ("times=1",))
    assert chain.parse(f"{plugin}:build_step,dp_gaussian").terminal.is_private


def test_a_file_with_a_syntax_error_is_told_by_line(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def build(context):\n    return (\n")
    with pytest.raises(errors.UserError, match=r"broken\.py, line 2"):
        chain.parse(f"{path}:build")


def test_an_entry_point_is_found_by_its_name(monkeypatch, plugin):
    monkeypatch.setattr(registry, "entry_points", lambda: {"theirs": f"{plugin}:build_mine"})
    found = registry.find("theirs")
    assert (found.name, found.is_plugin) == ("theirs", True)
    with pytest.raises(errors.UserError, match="did you mean theirs"):
        registry.find("their")


def test_nothing_of_this_imports_tensorflow():
    code = (
        "import sys\n"
        "from fedrec_tff.aggregators import chain\n"
        "chain.parse('mean')\n"
        "assert not {'tensorflow', 'tensorflow_federated'} & set(sys.modules)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
