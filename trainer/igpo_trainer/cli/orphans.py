"""The duties of PID 1: every process of the pod is reaped, and none outlives the launcher."""

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 5.0


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, as PID 1 is; no effect outside Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_until(child: int) -> int:
    """Reap children as they end until child has; return its exit code, -n when signal n killed it."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def end_children() -> None:
    """Kill and reap the children that are left, and the orphans that this uncovers, for five seconds at most.

    A rank in uninterruptible sleep (a hung GPU) cannot be killed; it must not keep the pod's verdict from the world.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while (children := _children()) and time.monotonic() < deadline:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            _reap(child, deadline)


def _children() -> list[int]:
    """List our children: of all threads, since an orphan may be given to any of them."""
    children: list[int] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has just ended
            children += map(int, listing.read_text().split())
    return children


def _reap(child: int, deadline: float) -> None:
    descriptor = os.pidfd_open(child)
    try:
        select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        os.waitpid(child, os.WNOHANG)
    finally:
        os.close(descriptor)
