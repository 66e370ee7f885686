"""From a path to what recommends: the folder of a run, or that of an export."""

# Tested in tests/serving/test_export.py and tests/serving/test_run_recommender.py.

import functools
import os
import pathlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from fedrec_tff import errors
from fedrec_tff.run.finished import finished_run, item_catalogue
from fedrec_tff.run.finished.portable_model import PortableModel, ToldData
from fedrec_tff.serving import export_folder
from fedrec_tff.serving.export_folder import ExportFolder

if TYPE_CHECKING:
    from fedrec_tff.serving.recommender import Recommender

# What every run has.
_RUN = "config.json"


def check_can_be_opened(
    path: str | os.PathLike[str], searches_index: bool = False, named: Collection[str] = ()
) -> None:
    """Refuses what `open_recommender` does, as far as it shows without TensorFlow.

    Args:
      path: Path of a run's folder, or of an export's.
      searches_index: As `open_recommender` has it.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Raises:
      UserError: If neither is there, or it cannot be used.
    """
    root = pathlib.Path(path)
    if export_folder.is_export(root):
        export_folder.read_manifest(ExportFolder(root))
        return
    _check_is_no_part(root)
    run = finished_run.find(root, named)
    if searches_index:
        raise errors.UserError(f"{root} is a run, which has no index: export it with --index")
    run.check_history_is_enough()


def open_recommender(
    path: str | os.PathLike[str], searches_index: bool = False, named: Collection[str] = ()
) -> "Recommender":
    """Opens a finished run or an export; see `recommender` for what it offers.

    What is wrong with a path is told before TensorFlow is imported, which takes ten seconds.

    Args:
      path: Path of a run's folder, or of an export's.
      searches_index: Whether to search by the index of an export, which may miss items, and not
        among all.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      What recommends.

    Raises:
      UserError: If neither is there, files cannot be read, or the run's model needs to know more
        than a history.
    """
    check_can_be_opened(path, searches_index, named)
    # These import TensorFlow.
    if not export_folder.is_export(path):
        from fedrec_tff.serving import run_recommender

        return run_recommender.open_run(finished_run.find(path, named))
    folder = ExportFolder(pathlib.Path(path))
    model = _open_export(folder, named)
    if not searches_index:
        return model
    from fedrec_tff.serving import item_index

    return item_index.read(model, folder.index)


def open_portable(
    path: str | os.PathLike[str], named: Collection[str] = ()
) -> PortableModel | None:
    """Opens an export to be measured; TensorFlow is imported when scores are asked for.

    Args:
      path: Path of an export's folder, or of a form's that `experiments.compress` made.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      The model; None for a folder that holds no export.

    Raises:
      UserError: If it is a part of an export, or holds several, or files cannot be read.
    """
    root = pathlib.Path(path)
    if not export_folder.is_export(root):
        if root.is_dir() and not (root / _RUN).exists():
            _check_holds_no_exports(root)
            _check_is_no_part(root)
        return None
    folder = ExportFolder(root)
    manifest = export_folder.read_manifest(folder)
    open_model = functools.cache(lambda: _open_export(folder, named))
    data = None
    if manifest.data is not None:
        data = ToldData(manifest.data["flags"], tuple(manifest.data["places"]))
    return PortableModel(
        root,
        item_catalogue.read(folder.items, manifest.has_integer_ids),
        lambda histories: open_model().score(histories),
        lambda: open_model().item_vectors,
        manifest.privacy,
        manifest.withholds,
        data,
    )


def _check_holds_no_exports(root: pathlib.Path) -> None:
    inside = sorted(str(p) for p in root.iterdir() if export_folder.is_export(p))
    if inside:
        raise errors.UserError(f"{root} holds several models: name one: {', '.join(inside)}")


def _open_export(folder: ExportFolder, named: Collection[str]) -> "Recommender":
    if folder.compact.exists():
        from fedrec_tff.serving.compression import compact_recommender

        return compact_recommender.open_export(folder, named)
    from fedrec_tff.serving import exported_recommender

    return exported_recommender.ExportedRecommender(folder)


def _check_is_no_part(root: pathlib.Path) -> None:
    """Refuses a folder inside of an export, and one that is neither run nor export."""
    inside = [parent for parent in root.absolute().parents if export_folder.is_export(parent)]
    if inside:
        raise errors.UserError(f"{root} is a part of an export: name {inside[0]}")
    if root.is_dir() and not (root / _RUN).exists():
        raise errors.UserError(f"{root} holds neither a run nor an export: name the folder of one")
