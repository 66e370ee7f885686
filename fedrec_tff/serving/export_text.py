"""What `experiments.export` says of what it has written, and the command that it was."""

# Tested in tests/experiments/test_export_binary.py.

import os
import pathlib
import shlex

import rich.box
import rich.console
import rich.table

from fedrec_tff.serving.export_checks import ExportConfig
from fedrec_tff.serving.export_folder import ExportFolder
from fedrec_tff.serving.model_card import Contents, list_overlaps, shorten

_WIDTH = 400


def to_command(run: str, output_dir: str, config: ExportConfig) -> list[str]:
    """The words of the command that makes an export, paths by their last part only.

    Args:
      run: Path of the run's folder.
      output_dir: Path of the export's folder.
      config: Choices of the export.

    Returns:
      The words.
    """
    defaults = ExportConfig()
    flags = {
        "k": (config.default_k, defaults.default_k),
        "formats": (",".join(config.formats), ",".join(defaults.formats)),
        "index": (config.index, defaults.index),
        "show_non_private_metrics": (config.shows_non_private, defaults.shows_non_private),
    }
    words = ["python", "-m", "experiments.export", shorten(run)]
    words.append(f"--output_dir={shorten(output_dir)}")
    return words + [f"--{name}={value}" for name, (value, usual) in flags.items() if value != usual]


def describe(contents: Contents, output_dir: str | os.PathLike[str]) -> str:
    """Describes an export in several lines: its files, and what to do next.

    Args:
      contents: What is in the folder.
      output_dir: The folder.

    Returns:
      The text.
    """
    folder = ExportFolder(pathlib.Path(output_dir))
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column(os.fspath(output_dir))
    table.add_column("bytes", justify="right")
    table.add_column("of the exact first ten", justify="right")
    overlaps = list_overlaps(contents)
    for name, size in contents.num_bytes.items():
        table.add_row(name, f"{size:,}", overlaps.get(name, ""))
    console = rich.console.Console(width=_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().rstrip().splitlines()]
    recommend = shlex.join(["python", "-m", "experiments.recommend", os.fspath(output_dir)])
    return "\n".join(
        [
            *lines,
            f"what it is and promises: {folder.card}",
            f"recommend from it: {recommend} --history='...;...'",
        ]
    )
