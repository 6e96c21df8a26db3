"""Passing a child's output on while remembering its last lines."""

import os
import threading
from collections import deque
from typing import BinaryIO

_CHUNK_BYTES = 65536
_LINE_BYTES = 4096


class LogTail:
    """The last lines of several streams, in the order in which they arrived."""

    def __init__(self, lines: int = 40) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._lock = threading.Lock()

    def follow(self, source: BinaryIO, target: BinaryIO) -> threading.Thread:
        """Copy source to target until it ends, in a thread; a target that is gone never blocks the source."""
        thread = threading.Thread(target=self._copy, args=(source, target), daemon=True, name="log")
        thread.start()
        return thread

    def lines(self) -> list[str]:
        """Read the last lines, oldest first."""
        with self._lock:
            return list(self._lines)

    def _copy(self, source: BinaryIO, target: BinaryIO) -> None:
        rest = b""
        while chunk := os.read(source.fileno(), _CHUNK_BYTES):
            try:
                target.write(chunk)
                target.flush()
            except (OSError, ValueError):  # closed by the reader; the run goes on
                pass
            *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            rest = rest[-_LINE_BYTES:]
            self._add(whole)
        self._add([rest])

    def _add(self, lines: list[bytes]) -> None:
        with self._lock:
            self._lines.extend(line.decode(errors="replace") for line in lines if line.strip())
