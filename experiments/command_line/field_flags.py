"""Flags made from fields of a configuration, for binaries that take only some of them."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from fedrec_tff.config import field_spec

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
}


def define(
    config_class: type, names: Iterable[str] | None = None, has_defaults: bool = True
) -> dict[str, flags.FlagHolder]:
    """Defines a flag for each field, with the field's default, choices and help.

    The caller adopts this module's flags as its own: `flags.adopt_module_key_flags(field_flags)`.

    Args:
      config_class: A dataclass of flags, as `field_spec.declare` makes them.
      names: Names of the fields to define flags for; None for all.
      has_defaults: Whether a flag that is not given has the field's default, and not None.

    Returns:
      The flags by name.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    hints = typing.get_type_hints(config_class)
    chosen = fields if names is None else names
    found = {}
    for name in chosen:
        field = fields[name]
        default = field.default if has_defaults else None
        found[name] = _define(field, hints[name], default)
    return found


def read(holders: Mapping[str, flags.FlagHolder]) -> dict[str, Any]:
    """Returns the values of flags by name, lists as tuples."""
    values = {name: holder.value for name, holder in holders.items()}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _define(field: dataclasses.Field, type_hint: Any, default: Any) -> flags.FlagHolder:
    spec = field_spec.read_spec(field)
    if spec.choices is not None:
        return flags.DEFINE_enum(field.name, default, spec.choices, spec.help)
    if isinstance(type_hint, types.UnionType):
        type_hint = typing.get_args(type_hint)[0]
    if typing.get_origin(type_hint) is tuple:
        define_tuple = flags.DEFINE_multi_string if spec.is_repeated else flags.DEFINE_list
        return define_tuple(field.name, None if default is None else list(default), spec.help)
    return _DEFINE[type_hint](field.name, default, spec.help)
