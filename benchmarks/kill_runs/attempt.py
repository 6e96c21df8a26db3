"""One start of `igpo run` as a process that says where it is and can be killed.

The process is forked from one that has imported the trainer, which spares each start the import of torch; what it runs
is the command line itself.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kill_runs.manifest import NEVER_SECONDS
from kill_runs.watch import report_phases, wait_for_verifiers

from igpo_trainer.cli.main import main


@dataclass(slots=True)
class Attempt:
    """A running or ended start of `igpo run`. Messages are lines such as `phase update`, `step 3`, `call fsync …`."""

    pid: int
    _pipe: int
    phase: str = "start"
    step: int | None = None
    """The cycle it is in, or was when it ended; None before the first."""
    first_step: int | None = None
    messages: list[tuple[float, str]] = field(default_factory=list)
    """Everything it said, with the monotonic time at which it was read."""
    code: int | None = None
    """Its exit code, or minus the signal that ended it."""
    _unread: bytes = b""

    def until(self, wanted: Callable[["Attempt"], bool], seconds: float | None = None) -> bool:
        """Follow it until `wanted` holds after a message (True), until it ends, or for some seconds (False).

        Everything it had said by then is taken in: it may be further than what was wanted.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            found = False
            for message in self._read(None if end is None else max(0.0, end - time.monotonic())):
                self._take(message)
                found = found or wanted(self)
            if found:
                return True
            if self.code is not None or (end is not None and time.monotonic() >= end):
                return False

    def kill(self) -> None:
        """End it by SIGKILL, and read what it had said before."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.until(lambda _: False)

    def _read(self, seconds: float | None) -> Iterator[str]:
        if self.code is not None or not select.select([self._pipe], [], [], seconds)[0]:
            return
        data = os.read(self._pipe, 65536)
        if not data:
            os.close(self._pipe)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        yield from (line.decode() for line in lines)

    def _take(self, message: str) -> None:
        self.messages.append((time.monotonic(), message))
        kind, _, value = message.partition(" ")
        if kind == "phase":
            self.phase = value
        elif kind == "step":
            self.step = int(value)
            self.first_step = self.first_step or self.step


def start(arguments: Sequence[str], log: Path, prepare: Callable[[Callable[[str], None]], None]) -> Attempt:
    """Fork a process that runs `igpo` with these arguments, its output appended to `log`.

    `prepare` is called in the new process with a function that sends a message.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Attempt(pid, reading)
    code = 70
    try:
        os.close(reading)
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)

        def say(message: str) -> None:
            os.write(writing, message.encode() + b"\n")

        wait_for_verifiers(NEVER_SECONDS)
        report_phases(say)
        prepare(say)
        main(list(arguments))
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
