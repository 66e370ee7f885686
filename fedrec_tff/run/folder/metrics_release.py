"""Writes `metrics.csv`: a row for each round."""

# Tested in tests/run/folder/test_metrics_release.py.

import csv
import errno
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow_federated as tff

from fedrec_tff.run.folder import whole_files


class MetricsReleaseManager(tff.program.CSVFileReleaseManager):
    """TFF's manager of a CSV file, which replaces the file by none that is not on disk."""

    def __init__(self, path: pathlib.Path) -> None:
        """Opens the file, or begins it.

        Args:
          path: Path of the file.

        Raises:
          KeyError: If it is no such file.
        """
        self._path = path
        try:
            super().__init__(path, key_fieldname="round")
        except tff.program.CSVKeyFieldnameNotFoundError as error:
            raise KeyError(str(error)) from error

    async def _remove_values_greater_than_key(self, key: int) -> None:
        # TFF's writes the file anew for each round, also where there is nothing to remove.
        if self._latest_key is not None and key < self._latest_key:
            await super()._remove_values_greater_than_key(key)

    async def _append_value(self, value: Mapping[str, Any]) -> None:
        try:
            await super()._append_value(value)
        except PermissionError as error:
            # TFF's says neither which file nor what is wrong with it.
            reason = os.strerror(errno.EACCES)
            raise PermissionError(errno.EACCES, reason, os.fspath(self._path)) from error

    def _write_values(self, fieldnames: Sequence[str], values: Iterable[Mapping[str, Any]]) -> None:
        with whole_files.open_whole_text(self._path) as file:
            writer = csv.DictWriter(file, fieldnames=fieldnames)
            writer.writeheader()
            writer.writerows(values)
