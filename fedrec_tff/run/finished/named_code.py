"""Code of somebody's own that a folder names: run only for who has named it, too.

A folder may be a stranger's, and what its `config.json` says is text: it must not decide what code
is run. So a model that is somebody's own builder is imported only if whoever opens the folder names
the same builder; built-in ones, and those that installed packages offer by name, need no naming.
"""

# Tested in tests/across_rooms/test_files_run_nothing.py.

from collections.abc import Collection
from typing import Any

from fedrec_tff import errors
from fedrec_tff.models import plugin
from fedrec_tff.plugins import loading

HELP = (
    "Builder of a model of somebody's own, as the folder names it: its code is run, and is not "
    "unless it is named here. May be repeated."
)


def check(builder: str | None, named: Collection[str], where: Any) -> None:
    """Refuses code that was not named by whoever opens the folder.

    Args:
      builder: Builder of the model that a folder names; None for a built-in model.
      named: Builders that were named.
      where: Path of the file that names the builder.

    Raises:
      UserError: If it was not named, and no installed package offers it.
    """
    if builder is None or builder in named or builder in loading.entry_points(plugin.FLAG):
        return
    raise errors.UserError(
        f"{where} names a model of somebody's own, whose code would be run: look at it, and if you "
        f"trust it, name it: --model={builder}"
    )
