"""A CSV file that grows while a long measurement goes on, so that the next session can go on from there."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from model.errors import InputError


class RowLog:
    """Rows of text in a CSV file. What `append` has returned from survives a kill.

    Attributes:
        rows: those in the file.

    Raises:
        InputError: the file cannot be read or written, or has other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], resume: bool):
        self.rows: list[dict[str, str]] = []
        self._path, self._columns = path, list(columns)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if resume and path.is_file():
                self.rows = self._read()
            self.keep(self.rows)  # written anew: a row that was cut off by a kill must not be prolonged
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; choose another folder") from error

    def append(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add rows to the file and wait until they are on the disk."""
        text = [{c: str(row[c]) for c in self._columns} for row in rows]
        self._write(self._path, "a", text)
        self.rows += text

    def keep(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Leave only these of its rows in the file."""
        partial = self._path.with_name(self._path.name + ".partial")
        self._write(partial, "w", rows)
        partial.replace(self._path)
        self.rows = [dict(row) for row in rows]

    def _read(self) -> list[dict[str, str]]:
        with self._path.open(encoding="utf-8", newline="") as file:
            content = file.read()
        whole = content[: content.rfind("\n") + 1]
        reader = csv.DictReader(whole.splitlines())
        if whole and reader.fieldnames != self._columns:
            raise InputError(f"{self._path} has other columns than this program writes: move it away")
        return [dict(row) for row in reader]

    def _write(self, path: Path, how: str, rows: Sequence[Mapping[str, str]]) -> None:
        with path.open(how, encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            if how == "w":
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
