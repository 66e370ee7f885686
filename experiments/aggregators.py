"""Lists aggregators, tells how one is used, and checks one of your own.

  python -m experiments.aggregators list
  python -m experiments.aggregators describe NAME
  python -m experiments.aggregators check path/to/file.py:builder --aggregator_param step=0.1

NAME is a registered name, an entry point of the group fedrec_tff.aggregators, or a builder of your
own: package.module:builder or path/to/file.py:builder. `check` also takes a chain, as --aggregator
does: step,aggregator. It tries what training relies on, over made-up updates of a small model, one
line for each check; the exit status is 1 if one fails. `list` and `describe` import no TensorFlow.
docs/aggregators.md tells how to write one.
"""

from absl import flags

from experiments import app
from experiments.command_line import plugin_commands
from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.aggregator import FLAG, TERMINAL, Aggregator
from fedrec_tff.checks import aggregator_check_config, aggregator_text
from fedrec_tff.plugins import signatures

_PARAMETERS = flags.DEFINE_multi_string(
    "aggregator_param",
    [],
    "A parameter of what is checked, as key=value, or name.key=value where several have it; may be "
    "repeated.",
)
_USAGE = "write one of: list; describe NAME; check NAME[,NAME...]"


def main(argv: list[str]) -> int | None:
    """Does what the first argument says."""
    if _PARAMETERS.value and argv[1:2] != ["check"]:
        raise errors.UserError("--aggregator_param means nothing without check: drop it")
    return plugin_commands.run(argv, _COMMANDS, _USAGE)


def _list() -> None:
    found = [registry.get(name) for name in registry.names()]
    found += [_find_entry_point(name) for name in registry.entry_points()]
    print(aggregator_text.to_table(found))


def _find_entry_point(name: str) -> Aggregator:
    """An installed package's aggregator; one that cannot be read is told in its row."""
    try:
        return registry.find(name)
    except errors.UserError as error:
        return Aggregator(name, f"cannot be used: {error}", "", TERMINAL, is_plugin=True)


def _describe(name: str) -> None:
    found = registry.find(name)
    print(aggregator_text.to_description(found, signatures.read_signature(found.builder, FLAG)))


def _check(text: str) -> int | None:
    config = aggregator_check_config.read_config(text, _PARAMETERS.value)

    # Imports TensorFlow.
    from fedrec_tff.checks import aggregator_check

    return plugin_commands.tell(aggregator_check.check(config))


_COMMANDS = {"list": (_list, 0), "describe": (_describe, 1), "check": (_check, 1)}


if __name__ == "__main__":
    app.run(main)
