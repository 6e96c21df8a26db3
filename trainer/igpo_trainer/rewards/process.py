"""One verifier process, seen from the trainer: started, fed, read and killed without ever blocking on it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import IO, Any

from igpo_trainer.rewards.verdict import JudgeTask
from igpo_trainer.spec.errors import InvalidRunError

Result = float | str
"""A reward, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One reward function applied to one task; `index` is its place in the caller's list."""

    index: int
    reward: str
    task: JudgeTask


class WorkerProcess:
    """A fresh interpreter running `rewards.worker`.

    Not multiprocessing: its children import the parent's main module, here the command line with all of torch. The
    process leads its own session, so that a Ctrl-C in the terminal reaches the trainer only and a kill reaches
    whatever a reward function started.
    """

    def __init__(self, rewards: tuple[str, ...], deadline_seconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "igpo_trainer.rewards.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        os.set_blocking(self.inbox.fileno(), False)
        os.set_blocking(self.outbox.fileno(), False)
        setup = {"path": sys.path, "rewards": rewards, "deadline": deadline_seconds}
        self.unsent = json.dumps(setup).encode() + b"\n"
        self.ready = False
        self.unanswered: deque[Evaluation] = deque()
        self.since = time.monotonic()
        self._partial = b""

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def inbox(self) -> IO[bytes]:
        """The worker's standard input, non-blocking."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def outbox(self) -> IO[bytes]:
        """The worker's standard output, non-blocking."""
        assert self._process.stdout is not None
        return self._process.stdout

    def alive(self) -> bool:
        """Whether the process still runs."""
        # WNOWAIT leaves the zombie: its id, the name of its process group, is not given away before `kill`.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def assign(self, evaluations: list[Evaluation]) -> None:
        """Queue work for an idle worker; `flush` sends it."""
        rows = [[e.reward, e.task.prompt, e.task.completion, e.task.answer] for e in evaluations]
        self.unsent += json.dumps(rows).encode() + b"\n"
        self.unanswered.extend(evaluations)
        self.since = time.monotonic()

    def flush(self) -> None:
        """Send what fits into the pipe; a broken pipe is left to `receive`, which finds the worker's end."""
        try:
            sent = os.write(self.inbox.fileno(), self.unsent)
        except BlockingIOError:
            return
        except BrokenPipeError:
            sent = len(self.unsent)
        self.unsent = self.unsent[sent:]

    def receive(self) -> tuple[list[tuple[Evaluation, Result]], bool]:
        """Results that have arrived, and whether the worker has ended.

        Raises InvalidRunError if the worker could not load a reward function.
        """
        try:
            data = os.read(self.outbox.fileno(), 1 << 16)
        except BlockingIOError:
            return [], False
        if not data:
            return [], True
        *lines, self._partial = (self._partial + data).split(b"\n")
        results = []
        for line in lines:
            message: Any = json.loads(line)
            if isinstance(message, dict):
                if "error" in message:
                    raise InvalidRunError(message["error"])
                self.ready = True
            else:
                results.append((self.unanswered.popleft(), message))
            self.since = time.monotonic()
        return results, False

    def kill(self) -> None:
        """End the process and all it started, and collect it: nothing is left, not even a zombie."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.inbox.close()
        self.outbox.close()
