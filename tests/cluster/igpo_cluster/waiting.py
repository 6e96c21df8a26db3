"""Waiting for a condition, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

from igpo_cluster.errors import ClusterError

_T = TypeVar("_T")


def until(probe: Callable[[], _T | None], what: str, within: float = 60.0, every: float = 0.05) -> _T:
    """Ask `probe` every `every` seconds until its answer is true, and return that answer.

    Raises:
        ClusterError: no true answer came within `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} did not happen within {within:.0f} s")
        time.sleep(every)
