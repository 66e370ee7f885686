"""The text of `--help`: a binary's flags by topic, those that matter most first."""

import sys
from collections.abc import Iterable, Iterator

from absl import flags

from fedrec_tff.config import field_spec, run_config

_MOST_IMPORTANT = "The flags that matter most"
_OWN = "Flags of this program alone"
_ALONE = "Flags"
_MORE = (
    "A file of flags is given by --flagfile, one on a line. --helpfull also lists the flags of "
    "libraries."
)
_MEASURE = 100
_INDENT, _HANGING = "  ", "      "


def write(documentation: str, module: str) -> str:
    """Writes the help text of a binary.

    Args:
      documentation: The binary's own words.
      module: The name under which absl knows the binary: `sys.argv[0]` for the one that runs.

    Returns:
      The text.
    """
    found = {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(module)}
    paragraphs = [documentation.strip()]
    for title, names in _group(found.values()):
        paragraphs.append("\n".join([f"{title}:", *(_describe(found[name]) for name in names)]))
    paragraphs.append(_wrap(_MORE, "", ""))
    return "\n\n".join(paragraphs)


def _group(found: Iterable[flags.Flag]) -> Iterator[tuple[str, list[str]]]:
    """The names of flags by topic, in the order of the topics and within them."""
    left = {flag.name: flag for flag in found}
    leading = field_spec.find_names(run_config.RunConfig, lambda spec: spec.is_leading)
    required = [name for name, flag in left.items() if _is_required(flag)]
    first = [*required, *(name for name in leading if name in left)]
    topics = {
        title: [name for name, spec in specs.items() if name in left and _is_of(spec, left[name])]
        for title, specs in _read_topics().items()
    }
    shared = {*first, *(name for names in topics.values() for name in names)}
    groups = {_MOST_IMPORTANT: first, _OWN: [n for n in left if n not in shared], **topics}
    is_alone = len(groups[_OWN]) == len(left)
    for title, names in groups.items():
        new = [name for name in names if left.pop(name, None) is not None]
        if new:
            yield (_ALONE if is_alone else title), new


def _read_topics() -> dict[str, dict[str, field_spec.FieldSpec]]:
    return {title: field_spec.read_specs(topic) for title, topic in run_config.TOPICS.items()}


def _is_of(spec: field_spec.FieldSpec, flag: flags.Flag) -> bool:
    """Whether a flag is what a run has under its name, and no other of the same name."""
    return _read_help(flag) == spec.help


def _is_required(flag: flags.Flag) -> bool:
    """Whether absl refuses to go on without it."""
    return flag.default is None and any(not found.checker(None) for found in flag.validators)


def _describe(flag: flags.Flag) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    facts = "; ".join(_list_facts(flag))
    text = _read_help(flag)
    return _wrap(f"{name}: {text}" + (f" ({facts})" if facts else ""), _INDENT, _HANGING)


def _list_facts(flag: flags.Flag) -> Iterator[str]:
    """The facts that stand behind a flag's help."""
    if _is_required(flag):
        yield "required"
    text = _read_help(flag)
    choices = getattr(flag.parser, "enum_values", ())
    if not all(choice in text for choice in choices):
        yield f"one of {', '.join(choices)}"
    if isinstance(flag, flags.MultiFlag):
        yield "may be repeated"
    elif isinstance(flag.parser, flags.ListParser) and "commas" not in text:
        yield "a list, by commas"
    if flag.default is not None and flag.default is not False and flag.default != []:
        yield f"default {_write_default(flag.default)}"


def _write_default(default: object) -> str:
    if isinstance(default, list):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _read_help(flag: flags.Flag) -> str:
    """The help as it was declared, without what absl adds."""
    text = flag.help
    choices = getattr(flag.parser, "enum_values", None)
    if choices:
        text = text.removeprefix(f"<{'|'.join(choices)}>: ")
    if isinstance(flag, flags.MultiFlag):
        text = text.split(";\n")[0]
    return " ".join(text.split())


def _wrap(text: str, first: str, others: str) -> str:
    width = min(flags.get_help_width(), _MEASURE)
    return flags.text_wrap(text, width, others, first)


def print_help() -> None:
    """Prints the help text of the binary that runs."""
    print(write(sys.modules["__main__"].__doc__ or "", sys.argv[0]), flush=True)
