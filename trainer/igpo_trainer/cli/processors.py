"""How many processors this pod may use: no more than it may run on, and no more than its CPU limit pays for."""

import math
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")


def usable_processors(cgroups: Path = _CGROUPS) -> int:
    """Processors that threads may be spread over, at least 1.

    A CPU limit is a quota of time on every processor of the node, so affinity alone would start 128 threads for a limit
    of 8, which then throttle each other.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroups)
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def _quota(cgroups: Path) -> float | None:
    """CPU time that the container's own cgroup grants per time, version 2 or 1; None without a limit."""
    try:
        if (cgroups / "cpu.max").exists():
            granted, period = (cgroups / "cpu.max").read_text().split()
        else:
            granted = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    return None if granted in ("max", "-1") else int(granted) / int(period)
