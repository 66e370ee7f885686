"""Releases that a run makes once, before training, and keeps in a file of its folder."""

# Tested in tests/studies/baselines/test_baselines_release.py and tests/whole_runs/test_resume.py.

import pathlib
from collections.abc import Callable

from fedrec_tff import errors
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run.folder import run_directory


def obtain(
    path: pathlib.Path,
    name: str,
    ledger: ledger_lib.PrivacyLedger,
    release_fn: Callable[[], bytes],
    target_epsilon: float | None,
    budget_name: str,
) -> bytes:
    """Reads what was released; releases it if the file is not there.

    Args:
      path: Path of the file.
      name: Name of the release, as the ledger has it.
      ledger: Ledger that records the release before it is computed.
      release_fn: Function that computes the release, with fresh noise, and returns the file's
        content.
      target_epsilon: Largest epsilon that the ledger's run may cost; None for no limit.
      budget_name: Name of the limit on the cost, for messages.

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
    if not ledger.may_release(name, target_epsilon):
        raise errors.UserError(
            f"{name} was released before, {path} is missing, and once more would pass "
            f"{budget_name}: restore the file, or choose another --output_dir"
        )
    ledger.append_release(name)
    released = release_fn()
    with run_directory.open_whole(path) as file:
        file.write(released)
    return released
