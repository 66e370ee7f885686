"""What makes a folder one private run: an id, a key for its cohorts and a ledger, bound together.

A new run writes, each whole and on disk before the next: the key; the ledger, which is a header
alone; and `config.json`, with which the run has begun. The header names the run and commits to the
key, `config.json` names the run. A crash before `config.json` leaves a key and a header that
nothing was drawn from and nothing spent in: the next start replaces both. A crash after it leaves a
run, which goes on only with the ledger and the key that are its own.
"""

import dataclasses
import hashlib
import secrets
import uuid
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import privacy_plan
from fedrec_tff.run.folder import run_directory, whole_files

RUN_ID = "run_id"
_KEY_BYTES = 16
# Keeps the commitment apart from whatever else is derived from the key.
_PERSON = b"cohort_key"


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """Which run it is.

    Attributes:
      run_id: Random, and public.
      cohort_key: 128 secret bits that cohorts are drawn from; None where the seed draws them.
    """

    run_id: str
    cohort_key: int | None = None

    @property
    def key_commitment(self) -> str | None:
        """Binds the key without telling it, for whoever cannot try 2^128 keys."""
        if self.cohort_key is None:
            return None
        key = self.cohort_key.to_bytes(_KEY_BYTES, "big")
        return hashlib.blake2b(key, digest_size=32, person=_PERSON).hexdigest()


def create(config: RunConfig) -> RunIdentity:
    """Draws the identity of a new run from the operating system; writes nothing."""
    key = secrets.randbits(8 * _KEY_BYTES) if config.has_secret_cohorts else None
    return RunIdentity(uuid.uuid4().hex, key)


def write(
    directory: run_directory.RunDirectory,
    config: RunConfig,
    plan: privacy_plan.PrivacyPlan,
    identity: RunIdentity,
) -> None:
    """Writes key and ledger of a new run, in the place of what an aborted start left.

    Args:
      directory: The run's paths; this process holds its lock, and there is no `config.json` yet.
      config: The run's flags.
      plan: Sampler and mechanism.
      identity: Identity of the run, from `create`.
    """
    directory.ledger.unlink(missing_ok=True)
    directory.cohort_key.unlink(missing_ok=True)
    if identity.cohort_key is not None:
        with whole_files.open_whole(directory.cohort_key) as file:
            file.write(f"{identity.cohort_key:0{2 * _KEY_BYTES}x}\n".encode())
    if plan.mechanism is not None:
        open_ledger(directory, config, plan, identity).close()


def read(
    directory: run_directory.RunDirectory, config: RunConfig, stored: dict[str, Any]
) -> RunIdentity:
    """Reads the identity of a run that has begun, and checks that its parts belong together.

    Args:
      directory: The run's paths; this process holds its lock.
      config: The run's flags.
      stored: Contents of `config.json`.

    Returns:
      The identity.

    Raises:
      UserError: If the ledger or the key is missing, or of another run.
    """
    run_id = stored["derived"].get(RUN_ID)
    if not config.is_private:
        return RunIdentity(run_id)
    if run_id is None:
        raise errors.UserError(
            f"{directory.root} was begun by an earlier version, which did not bind the ledger to "
            "the run: choose another --output_dir"
        )
    if not directory.ledger.exists():
        raise errors.UserError(
            f"{directory.ledger} is missing, without which nobody knows what the run has spent: "
            "restore it, or choose another --output_dir"
        )
    header = ledger_lib.read_ledger(directory.ledger).header
    if header.run_id != run_id:
        raise _refuse_other(directory, directory.ledger)
    identity = RunIdentity(run_id, _read_key(directory) if config.has_secret_cohorts else None)
    if header.key_commitment != identity.key_commitment:
        raise _refuse_other(directory, directory.cohort_key)
    return identity


def open_ledger(
    directory: run_directory.RunDirectory,
    config: RunConfig,
    plan: privacy_plan.PrivacyPlan,
    identity: RunIdentity,
    budget: ledger_lib.Budget | None = None,
) -> ledger_lib.PrivacyLedger:
    """Opens the ledger of a private run; a new run's is created.

    Args:
      directory: The run's paths; this process holds its lock.
      config: The run's flags.
      plan: Sampler and mechanism.
      identity: The run's identity.
      budget: Part that the run may spend of a budget shared by several runs; None for a run that
        stands alone.

    Returns:
      The ledger, to be closed.

    Raises:
      UserError: If it is another run's, damaged, or a copy that nobody has asked to go on in.
    """
    header = ledger_lib.LedgerHeader(
        run_id=identity.run_id,
        mechanism=plan.mechanism,
        delta=config.target_delta,
        releases=plan.releases,
        insecure_deterministic_noise=config.insecure_deterministic_noise,
        departures=plan.departures,
        key_commitment=identity.key_commitment,
    )
    return ledger_lib.PrivacyLedger(
        directory.ledger, header, plan.sampler, config.resume_copy, budget
    )


def _read_key(directory: run_directory.RunDirectory) -> int:
    path = directory.cohort_key
    try:
        return int(path.read_text(), 16)
    except FileNotFoundError as error:
        raise errors.UserError(
            f"{path} is missing, without which the run's cohorts are not known: restore it, or "
            "choose another --output_dir"
        ) from error
    except (OSError, ValueError) as error:
        raise _refuse_other(directory, path) from error


def _refuse_other(directory: run_directory.RunDirectory, path: Any) -> errors.UserError:
    return errors.UserError(
        f"{path} is not the one that the run in {directory.root} was begun with: restore it, or "
        "choose another --output_dir"
    )
