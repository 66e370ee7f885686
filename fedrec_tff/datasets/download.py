"""Fetches public data sets from their publishers, checks them, and keeps them unpacked."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat
import tempfile
import zipfile

import pooch
import requests

from fedrec_tff import errors

MOVIELENS_URL = "https://files.grouplens.org/datasets/movielens/"
CACHE_VARIABLE = "FEDREC_TFF_CACHE_DIR"
_TIMEOUT_SECONDS = 30
_MAX_UNPACKED_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip file at a publisher's.

    Attributes:
      name: The data set; the zip file is `name`.zip, and holds a folder `name`.
      sha256: Of the zip file, in hexadecimal.
    """

    name: str
    sha256: str


ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive("ml-100k", "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"),
        Archive("ml-1m", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"),
    )
}


def cache_dir() -> pathlib.Path:
    """Returns where data sets are kept: `FEDREC_TFF_CACHE_DIR`, or the user's cache folder."""
    return pathlib.Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("fedrec_tff"))


def fetch(
    archive: Archive, base_url: str = MOVIELENS_URL, directory: pathlib.Path | None = None
) -> pathlib.Path:
    """Downloads and unpacks an archive unless it is there already; shows progress on stderr.

    Args:
      archive: The archive to fetch.
      base_url: The address of the zip file's folder, with a slash at the end.
      directory: The folder to keep it in; None for `cache_dir()`.

    Returns:
      The unpacked folder.

    Raises:
      UserError: If there is no network, no such file, another content than expected, or no room.
    """
    directory = cache_dir() if directory is None else directory
    folder = directory / archive.name
    if folder.is_dir():
        return folder
    url = f"{base_url}{archive.name}.zip"
    way_out = f"download it by hand, unpack it, and name its folder with --data_dir (from {url})"
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{archive.sha256}",
            fname=f"{archive.name}.zip",
            path=directory,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_SECONDS),
        )
        _unpack(pathlib.Path(path), archive.name, directory)
    except requests.RequestException as error:  # is an OSError too, so it comes first
        reason = _one_line(error)
        raise errors.UserError(f"cannot download {archive.name} ({reason}): {way_out}") from error
    except OSError as error:
        raise errors.UserError(
            f"cannot keep {archive.name} in {directory} ({error.strerror or _one_line(error)}): "
            f"make room there, set {CACHE_VARIABLE} to another folder, or {way_out}"
        ) from error
    except (ValueError, zipfile.BadZipFile) as error:  # ValueError: pooch on a wrong checksum
        raise errors.UserError(
            f"what was downloaded for {archive.name} is not what was expected "
            f"({_one_line(error)}): try again, or {way_out}"
        ) from error
    return folder


def _unpack(path: pathlib.Path, name: str, directory: pathlib.Path) -> None:
    """Unpacks the folder `name` of a zip file, all or nothing, and nothing outside of it."""
    with tempfile.TemporaryDirectory(dir=directory) as staging, zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            inside = pathlib.PurePosixPath(member.filename.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or _is_link(member):
                raise ValueError(f"{member.filename!r} in it would lie outside of its folder")
        members = [m for m in archive.infolist() if m.filename.startswith(f"{name}/")]
        if not members:
            raise ValueError(f"it holds no folder {name}/")
        if sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
            raise ValueError(f"it unpacks to more than {_MAX_UNPACKED_BYTES:,} bytes")
        archive.extractall(staging, members)
        unpacked = pathlib.Path(staging) / name
        try:
            unpacked.rename(directory / name)
        except OSError:
            if not (directory / name).is_dir():  # else another process was first
                raise
    path.unlink(missing_ok=True)


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."
