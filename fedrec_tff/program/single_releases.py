"""Releases that a run makes once, before training, and keeps in a file of its folder."""

import pathlib
from collections.abc import Callable

from fedrec_tff import errors
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.program import run_directory
from fedrec_tff.program.config import RunConfig


def obtain(
    path: pathlib.Path,
    name: str,
    config: RunConfig,
    ledger: ledger_lib.PrivacyLedger,
    release_fn: Callable[[], bytes],
) -> bytes:
    """Reads what was released; releases it if the file is not there.

    Args:
      path: The file.
      name: Of the release, as the ledger has it.
      config: The run's flags.
      ledger: Records the release before it is computed.
      release_fn: Computes it, with fresh noise, and returns the file's content.

    Returns:
      The content.

    Raises:
      UserError: If the ledger does not know of the file, or a release that a crash made necessary
        again would pass the budget.
    """
    if path.exists():
        if not ledger.accountant.num_releases.get(name):
            raise errors.UserError(
                f"{path} is there, and {ledger.path} has not counted it: restore the ledger, or "
                "choose another --output_dir"
            )
        return path.read_bytes()
    if not ledger.may_release(name, config.target_epsilon):
        raise errors.UserError(
            f"{name} was released before, {path} is missing, and once more would pass "
            f"{config.budget_name}: restore the file, or choose another --output_dir"
        )
    ledger.append_release(name)
    released = release_fn()
    with run_directory.open_whole(path) as file:
        file.write(released)
    return released
