"""What can be chosen about an export, and what is refused before TensorFlow is imported."""

# Tested in tests/serving/test_export.py and tests/experiments/test_export_binary.py.

import dataclasses
import importlib.util
import os

from fedrec_tff import errors
from fedrec_tff.run.finished import finished_run
from fedrec_tff.run.folder import output_folder
from fedrec_tff.serving import index_libraries

TFLITE, ONNX = "tflite", "onnx"
FORMATS = (TFLITE, ONNX)


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What can be chosen about an export.

    Attributes:
      default_k: Number of items where a caller of the SavedModel names none, and length of the
        lists of files for devices.
      formats: Forms beside the SavedModel; some of `FORMATS`. ONNX needs an extra.
      index: Library of an approximate search, one of `index_libraries.NAMES`; None for none.
      shows_non_private: Whether the card of a private run shows exact metrics of held-out
        interactions, under their `non_private/` names.
    """

    default_k: int = 10
    formats: tuple[str, ...] = (TFLITE,)
    index: str | None = None
    shows_non_private: bool = False


def check(
    run: finished_run.FinishedRun, output_dir: str | os.PathLike[str], config: ExportConfig
) -> None:
    """Refuses what cannot be exported, before anything slow is done.

    Args:
      run: The run.
      output_dir: Path of the folder; missing or empty.
      config: Choices of the export.

    Raises:
      UserError: If it cannot; the message says what to do.
    """
    unknown = [name for name in config.formats if name not in FORMATS]
    if unknown:
        raise errors.UserError(
            f"--formats={','.join(config.formats)}: {unknown[0]!r} is none of {', '.join(FORMATS)}"
        )
    run.check_history_is_enough()
    if config.formats and run.config.personal is not None:
        raise errors.UserError(
            f"--formats={','.join(config.formats)}: a part of the model is fitted to each history "
            f"(--personal_tower={run.config.personal.tower}), by seeded draws and gradients, for "
            "which TensorFlow Lite and ONNX have no operations: export the SavedModel alone "
            "(--formats=)"
        )
    output_folder.find_free(output_dir)
    if ONNX in config.formats:
        check_onnx()
    if config.index is not None:
        index_libraries.load(config.index)


def check_onnx() -> None:
    """Checks that what writes ONNX is there.

    Raises:
      UserError: If it is not; the message says how to install it.
    """
    missing = [name for name in ("tf2onnx", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.UserError(
            f"--formats={ONNX} needs the package {missing[0]}, which is not installed: "
            f"pip install --no-deps -r {index_libraries.REQUIREMENTS}"
        )
