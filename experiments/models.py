"""Lists models, tells how one of your own is used, and checks it.

  python -m experiments.models list
  python -m experiments.models describe path/to/file.py:builder
  python -m experiments.models check path/to/file.py:builder --model_param width=16

A model of your own is a builder, package.module:builder or path/to/file.py:builder, or an entry
point of the group fedrec_tff.models. `check` tries what training relies on, one line for each
check; the exit status is 1 if one fails. `list` and `describe` import no TensorFlow.
docs/custom_models.md tells how to write one.
"""

from absl import flags

from experiments import app
from experiments.command_line import field_flags, plugin_commands
from fedrec_tff import errors
from fedrec_tff.checks import model_check_config, model_text
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.models import plugin
from fedrec_tff.plugins import loading, signatures

_HOLDERS = field_flags.define(RunConfig, model_check_config.FLAGS)
_USAGE = "write one of: list; describe NAME; check NAME"

flags.adopt_module_key_flags(field_flags)


def main(argv: list[str]) -> int | None:
    """Does what the first argument says."""
    for name, holder in _HOLDERS.items():
        if holder.present and argv[1:2] != ["check"]:
            raise errors.UserError(f"--{name} means nothing without check: drop it")
    return plugin_commands.run(argv, _COMMANDS, _USAGE)


def _list() -> None:
    offered = {name: _summarize(name) for name in loading.entry_points(plugin.FLAG)}
    print(model_text.to_list(offered))


def _summarize(name: str) -> str:
    """The first line of an installed package's model; one that cannot be read says so."""
    try:
        return signatures.read_signature(plugin.find_builder(name), plugin.FLAG).summary
    except errors.UserError as error:
        return f"cannot be used: {error}"


def _describe(name: str) -> None:
    builder = plugin.find_builder(name)
    signature = signatures.read_signature(builder, plugin.FLAG)
    print(model_text.to_description(name, builder, signature))


def _check(name: str) -> int | None:
    config = model_check_config.create_config(name, **field_flags.read(_HOLDERS))

    # Imports TensorFlow.
    from fedrec_tff.checks import model_check

    return plugin_commands.tell(model_check.check(config))


_COMMANDS = {"list": (_list, 0), "describe": (_describe, 1), "check": (_check, 1)}


if __name__ == "__main__":
    app.run(main)
