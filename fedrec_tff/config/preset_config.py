"""The topic of presets: where the values of flags come from that nobody gave."""

# Tested in tests/run/preset/test_named.py.

import dataclasses
import pathlib

from fedrec_tff.config.field_spec import declare

AUTO = "auto"
BASIC = "basic"
FOLDER = pathlib.Path(__file__).with_name("presets")


def list_names() -> tuple[str, ...]:
    """Returns the names of the presets that are files, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.cfg")))


@dataclasses.dataclass(frozen=True)
class PresetConfig:
    """What chooses the flags that are left open. See its help."""

    preset: str = declare(
        AUTO,
        "Origin of the flags that are not given: auto, rules that look at the size and kind of the "
        "data (under differential privacy only at what is public of them), and say what they chose "
        "and why (experiments.train and fedrec_tff.train; elsewhere as basic); basic, the defaults "
        f"that this help shows; or a set that was tuned: {', '.join(list_names())}.",
        choices=(AUTO, BASIC, *list_names()),
        may_change_on_resume=True,
        is_leading=True,
    )
