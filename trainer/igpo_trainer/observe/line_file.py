"""Files of one JSON object a line, append only: a line that was begun when the writer was killed never counts."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from igpo_trainer.spec.errors import InvalidDataError


class _Line(Protocol):
    def model_dump_json(self) -> str: ...


L = TypeVar("L", bound=_Line)
R = TypeVar("R")


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Lines that end in a newline; a torn last line (the writer was killed) is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def read_lines(path: Path, adapter: TypeAdapter[R]) -> Iterator[tuple[bytes, R]]:
    """Yield every whole line and what it says, oldest first; nothing when there is no file.

    Raises InvalidDataError for a line that is not what `adapter` expects.
    """
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            yield line, adapter.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidDataError(
                f"{path}:{number}: {where or 'the line'}: {first['msg']}; remove the line, or read the run with the "
                "version of igpo that wrote it"
            ) from error


class LineFile(Generic[L]):
    """Appends objects of one type to a file; every line is handed to the system as a whole."""

    def __init__(self, path: Path, adapter: TypeAdapter[L]) -> None:
        """Open for appending; a torn last line is cut off, missing folders are made."""
        self.path = path
        self._adapter = adapter
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        whole = sum(len(line) for line in _whole_lines(path))
        if self._file.seek(0, os.SEEK_END) != whole:
            self._file.truncate(whole)

    def write(self, record: L) -> None:
        """Append one line. Non-finite numbers become null."""
        line = record.model_dump_json().encode() + b"\n"
        while line:  # an unbuffered write may be short; the next one then raises why (disk full)
            line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close; closing twice is harmless."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
