"""Releases that a run makes once, before training, and keeps in a file of its folder.

What they cost cannot be had again, and nobody could tell a bit of noise from another: a file beside
each has its digest.
"""

# Tested in tests/studies/baselines/test_baselines_release.py and tests/whole_runs/test_resume.py.

import hashlib
import pathlib
from collections.abc import Callable

from fedrec_tff import errors
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run.folder import whole_files


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
    digest_file = path.with_name(f"{path.name}.sha256")
    if path.exists():
        if not ledger.accountant.num_releases.get(name):
            raise errors.UserError(
                f"{path} is there, and {ledger.path} has not counted it: restore the ledger, or "
                "choose another --output_dir"
            )
        content = path.read_bytes()
        # Those of earlier versions have none.
        if digest_file.exists() and digest_file.read_bytes() != _digest(content, path):
            raise errors.UserError(
                f"{path} is damaged: restore it with {digest_file.name}, or choose another "
                "--output_dir"
            )
        return content
    if not ledger.may_release(name, target_epsilon):
        raise errors.UserError(
            f"{name} was released before, {path} is missing, and once more would pass "
            f"{budget_name}: restore the file, or choose another --output_dir"
        )
    ledger.append_release(name)
    released = release_fn()
    for target, content in ((digest_file, _digest(released, path)), (path, released)):
        with whole_files.open_whole(target) as file:
            file.write(content)
    return released


def _digest(content: bytes, path: pathlib.Path) -> bytes:
    """A line as `sha256sum` writes it."""
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode()
