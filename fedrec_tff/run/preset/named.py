"""Presets that are files: flags as a flagfile has them."""

import types
import typing
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import preset_config
from fedrec_tff.config.run_config import RunConfig

_HINTS = typing.get_type_hints(RunConfig)


def read(name: str) -> dict[str, Any]:
    """Reads the flags of a preset.

    Args:
      name: Name of the preset.

    Returns:
      Values by the names of flags; none for `auto` and `basic`.

    Raises:
      UserError: If there is no such preset.
    """
    if name in (preset_config.AUTO, preset_config.BASIC):
        return {}
    if name not in preset_config.list_names():
        known = (preset_config.AUTO, preset_config.BASIC, *preset_config.list_names())
        raise errors.UserError(f"--preset={name}: choose one of {', '.join(known)}")
    lines = (preset_config.FOLDER / f"{name}.cfg").read_text().splitlines()
    pairs = [line.removeprefix("--").split("=", 1) for line in lines if line.startswith("--")]
    return {flag: _parse(flag, text) for flag, text in pairs}


def _parse(flag: str, text: str) -> Any:
    hint = _HINTS[flag]
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        return tuple(text.split(","))
    return text == "true" if hint is bool else hint(text)
