"""What can be chosen about smaller forms, and what is refused before TensorFlow is imported."""

# Tested in tests/serving/compression/test_compression_session.py.

import dataclasses
import os
from collections.abc import Mapping

from fedrec_tff import errors
from fedrec_tff.run.folder import output_folder
from fedrec_tff.serving.compression.chain import Chain

SAVED_MODEL, TFLITE = "saved_model", "tflite"
FORMATS = (SAVED_MODEL, TFLITE)


@dataclasses.dataclass(frozen=True)
class CompressionConfig:
    """What is made and measured.

    Attributes:
      forms: Chains of methods by their texts.
      seed: Seed of all that is drawn.
      measures_held_out: Whether to measure held-out interactions, unless the run withholds that.
      formats: Forms of files to write besides, some of `FORMATS`.
    """

    forms: Mapping[str, Chain]
    seed: int = 0
    measures_held_out: bool = True
    formats: tuple[str, ...] = ()


def check(config: CompressionConfig, output_dir: str | os.PathLike[str] | None) -> None:
    """Refuses what cannot be written, before anything slow is done.

    Args:
      config: What is made and measured.
      output_dir: Folder of the forms, missing or empty; None to measure alone.

    Raises:
      UserError: If it cannot; the message says what to do.
    """
    written = f"--formats={','.join(config.formats)}"
    for name in config.formats:
        if name not in FORMATS:
            raise errors.UserError(f"{written}: {name!r} is none of {', '.join(FORMATS)}")
    if output_dir is not None:
        output_folder.find_free(output_dir)
    elif config.formats:
        raise errors.UserError(f"{written} means nothing without --output_dir: add that")
