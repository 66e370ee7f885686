"""Flags, flagfiles and keywords that may be anything: they are taken, or refused in a line."""

import dataclasses
import types
import typing

import hypothesis
import pytest
from absl import flags as absl_flags
from hypothesis import strategies as st

from experiments import app
from experiments import flags as run_flags
from fedrec_tff.anonymization import config as anonymization_config
from fedrec_tff.config import config_checks, field_spec
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.notebook import keywords
from fedrec_tff.privacy.mechanisms import kinds
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.baselines import config as baselines_config
from fedrec_tff.studies.evaluation import config as evaluation_config
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import space as sweep_space
from tests.fuzzing import cases

_SPECS = field_spec.read_specs(RunConfig)
_HINTS = typing.get_type_hints(RunConfig)
_TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "",
        " ",
        "/",
        "..",
        "\x00",
        "a\nb",
        "--seed=1",
        "é",
        "�",
        ",",
        ":",
        "a:b",
        "a.py:b",
        "=",
        "os:x",
        "none",
        "None",
        "true",
        "mean",
        "7",
        "-1",
        "nan",
        "1e999",
        "0x1",
        "x" * 300,
        "%",
        "%s",
        "{}",
        *list(kinds.KINDS),
    ]
)
_FLOATS = st.floats() | st.sampled_from([0.0, 1.0, -1.0, 1e39, 1e-300, 8.0, 0.5])
_INTEGERS = st.integers() | st.sampled_from([0, 1, 2, -1, 2**31, 2**63, 10**400, 10, 100])


def _values(name):
    """Values of a flag's own type, and of its choices."""
    hint, spec = _HINTS[name], _SPECS[name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = typing.get_origin(options[0]) or options[0]
    known = {
        bool: st.booleans(),
        int: _INTEGERS,
        float: _FLOATS,
        str: _TEXTS,
        tuple: st.lists(_TEXTS, max_size=3).map(tuple),
    }[kind]
    if spec.choices is not None:
        known = known | st.sampled_from(spec.choices)
    if kind is tuple and not spec.holds_numbers:
        known = known | st.lists(st.sampled_from(["a=1", "title", "year"]), max_size=2).map(tuple)
    return known | st.none() if type(None) in options else known


_FLAGS = st.lists(st.sampled_from(sorted(_SPECS)), max_size=5, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _values(name) for name in names})
)


@cases.fuzz_times(60, given=_FLAGS)
def test_flags_of_a_run(given):
    cases.accepts_or_refuses(lambda: config_checks.validate(RunConfig(**given)), _name_all(given))


def _name_all(given):
    """A refusal names what was given, or what it needs."""
    return ("--", *given)


@cases.fuzz_times(
    30,
    given=st.dictionaries(
        st.sampled_from(sorted(_SPECS)) | st.text(max_size=4),
        cases.VALUES | _TEXTS | st.binary(max_size=3) | st.just(object()) | st.just(RunConfig),
        max_size=4,
    ),
)
@hypothesis.example(given={"list_lengths": ""})
@hypothesis.example(given={"list_lengths": "9" * 5000})
def test_keywords_of_any_types(given):
    def read():
        with keywords.keywords_for_flags():
            return keywords.read_asked(given)

    cases.accepts_or_refuses(read)


def _parse(arguments):
    """What a binary does with its command line before anything else."""
    try:
        app.read_flags(["train", *arguments])
        return run_flags.read_asked()
    finally:
        # As `flagsaver` does it, which takes longer than all the rest.
        for flag in {*map(absl_flags.FLAGS.__getitem__, absl_flags.FLAGS)}:
            if flag.present:
                flag.unparse()


_ARGUMENTS = st.lists(
    st.tuples(st.sampled_from(sorted(_SPECS)), _TEXTS | _INTEGERS.map(str) | _FLOATS.map(str)).map(
        lambda pair: f"--{pair[0]}={pair[1]}"
    )
    | st.sampled_from(sorted(_SPECS)).map(lambda name: f"--no{name}")
    | _TEXTS.filter(lambda text: "help" not in text),
    max_size=4,
)


@cases.fuzz_times(12, arguments=_ARGUMENTS)
@hypothesis.example(arguments=["--list_lengths=:"])
def test_command_lines(arguments):
    cases.accepts_or_refuses(lambda: _parse(arguments))


@cases.fuzz_times(7, lines=_ARGUMENTS, changes=cases.DAMAGES | st.none())
def test_flagfiles(tmp_path_factory, lines, changes):
    path = tmp_path_factory.mktemp("f") / "flags.cfg"
    content = "\n".join(["# flags", *lines]).encode(errors="replace")
    path.write_bytes(content if changes is None else cases.damage(content, changes))
    cases.accepts_or_refuses(lambda: _parse([f"--flagfile={path}"]))


_OF_STUDIES = {
    "anonymize": lambda values: anonymization_config.AnonymizationConfig(**values),
    "audit": lambda values: audit_config.validate(
        audit_config.AuditConfig(**values), RunConfig(noise_multiplier=1.0)
    ),
    "baselines": lambda values: baselines_config.validate(
        baselines_config.BaselinesConfig(**values), RunConfig()
    ),
    "evaluate": lambda values: evaluation_config.validate(
        evaluation_config.EvaluationConfig(**values)
    ),
}
_CLASSES = {
    "anonymize": anonymization_config.AnonymizationConfig,
    "audit": audit_config.AuditConfig,
    "baselines": baselines_config.BaselinesConfig,
    "evaluate": evaluation_config.EvaluationConfig,
}


def _of_type(hint):
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = typing.get_origin(options[0]) or options[0]
    parts = {int: _INTEGERS, float: _FLOATS, str: _TEXTS, bool: st.booleans()}
    if kind is tuple:
        return st.lists(parts.get((typing.get_args(options[0]) or (str,))[0], _TEXTS)).map(tuple)
    found = parts[kind]
    return found | st.none() if type(None) in options else found


@pytest.mark.parametrize("study", _CLASSES)
def test_flags_of_studies(study):
    hints = typing.get_type_hints(_CLASSES[study])
    names = [field.name for field in dataclasses.fields(_CLASSES[study])]
    values = st.lists(st.sampled_from(names), max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: _of_type(hints[name]) for name in chosen})
    )

    @cases.fuzz_times(7, values=values)
    def check(values):
        cases.accepts_or_refuses(lambda: _OF_STUDIES[study](values))

    check()


_SPACES = st.tuples(
    st.sampled_from(sorted(_SPECS)) | _TEXTS, st.sampled_from(["=", "", "=="]), _TEXTS
).map("".join) | st.tuples(
    st.sampled_from(["clip_norm", "embedding_dim", "rounds", "aggregator", "aggregator_param"]),
    st.lists(
        st.sampled_from(["1", "0.5", "1e999", "-1", "nan", "a", "log", "", "9" * 400]), max_size=4
    ),
    st.sampled_from([",", ":", ";"]),
).map(lambda parts: f"{parts[0]}={parts[2].join(parts[1])}")


@cases.fuzz_times(
    20,
    texts=st.lists(_SPACES, max_size=2),
    search=st.sampled_from([*sweep_config.SEARCHES, "vizier", ""]),
    num_trials=st.none() | _INTEGERS,
    objective=_TEXTS | st.sampled_from(["validation/recall@10", "private/recall@10", "test/mrr"]),
    distribution=st.sampled_from(sweep_config.TRIALS_DISTRIBUTIONS),
    shape=_FLOATS,
    seeds=st.lists(_INTEGERS, max_size=2).map(tuple),
)
def test_sweeps(texts, search, num_trials, objective, distribution, shape, seeds):
    def check():
        config = sweep_config.SweepConfig(
            RunConfig(),
            sweep_space.parse(texts),
            search,
            num_trials,
            seeds or (0,),
            objective,
            trials_distribution=distribution,
            trials_shape=shape,
        )
        sweep_config.check(config)
        return sweep_config.create_trials(config) if search == sweep_config.GRID else []

    cases.accepts_or_refuses(check, ("--",))
