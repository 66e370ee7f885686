"""The secret that pseudonyms hang on: where it is read from, and what is refused."""

# Tested in tests/anonymization/test_anonymization_pseudonyms.py.

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Mapping

from fedrec_tff import errors

ENVIRONMENT_VARIABLE = "FEDREC_TFF_PSEUDONYM_KEY"
MIN_BYTES = 16
_MIN_DISTINCT_BYTES = 6  # 16 random hexadecimal digits have fewer once in 100,000 times
_HOW_TO_MAKE_ONE = "make a key: (umask 077; openssl rand -hex 32 > pseudonym.key), then give"


def read_key(
    key_file: str | pathlib.Path | None, environment: Mapping[str, str] = os.environ
) -> bytes:
    """Reads the key from a file, or else from the environment.

    Args:
      key_file: Path of a file that its owner alone may read; None to use the environment.
      environment: Environment variables, of which `FEDREC_TFF_PSEUDONYM_KEY` may be one.

    Returns:
      The key, without white space at its ends.

    Raises:
      UserError: If there is none, others may read it, or it is easily guessed. The message never
        holds the key.
    """
    if key_file is not None:
        path = pathlib.Path(key_file)
        return _check(_read_file(path), f"--key_file={path}")
    if ENVIRONMENT_VARIABLE in environment:
        key = os.fsencode(environment[ENVIRONMENT_VARIABLE]).strip()
        return _check(key, f"the environment variable {ENVIRONMENT_VARIABLE}")
    raise errors.UserError(
        f"pseudonyms need a secret key: {_HOW_TO_MAKE_ONE} --key_file=pseudonym.key, or set "
        f"{ENVIRONMENT_VARIABLE}"
    )


def _read_file(path: pathlib.Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise errors.UserError(
                f"--key_file={path}: others than its owner may use it; chmod 600 {path}, and make "
                "a new key if anybody may have read it"
            )
        return path.read_bytes().strip()
    except FileNotFoundError as error:
        raise errors.UserError(
            f"--key_file={path}: there is no such file; {_HOW_TO_MAKE_ONE} --key_file=pseudonym.key"
        ) from error
    except OSError as error:
        raise errors.UserError(f"--key_file={path}: {error.strerror}; name a file") from error


def _check(key: bytes, source: str) -> bytes:
    if len(key) < MIN_BYTES:
        raise errors.UserError(
            f"{source}: the key has {len(key)} bytes, and {MIN_BYTES} are the least that cannot be "
            f"tried out; {_HOW_TO_MAKE_ONE} --key_file=pseudonym.key"
        )
    if len(set(key)) < _MIN_DISTINCT_BYTES:
        raise errors.UserError(
            f"{source}: the key is not random; {_HOW_TO_MAKE_ONE} --key_file=pseudonym.key"
        )
    return key
