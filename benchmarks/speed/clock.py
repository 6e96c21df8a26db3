"""Seconds and peak memory of things done in turns."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

LEAST_REPEATS = 5
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Seconds:
    """The runs of one arm."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that ratios are made of."""
        return statistics.median(self.runs)

    def __str__(self) -> str:
        return f"{self.median:10.3f}{min(self.runs):10.3f}{max(self.runs):10.3f}"


def synchronize(device: torch.device) -> None:
    """Wait for what was queued on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """How long a call takes."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def in_turns(arms: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, Seconds]:
    """Time every arm `repeats` times, one after the other in each turn, so that a busy minute hits all alike."""
    runs: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, work in arms.items():
            runs[name].append(seconds_of(work, device))
    return {name: Seconds(tuple(taken)) for name, taken in runs.items()}


def print_peak(work: Callable[[], object]) -> None:
    """Do the work and print what it took above what was there before, and the process's peak, in bytes, as JSON."""
    built = peak_bytes()
    _CLEAR.write_text("5")  # the peak begins anew at what is there now
    before = peak_bytes()
    work()
    peak = peak_bytes()
    print(json.dumps({"above": peak - before, "process": max(built, peak)}))


def peak_bytes() -> int:
    """Peak of this process's own memory. getrusage's would count what its parent had when it was forked."""
    [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def peaks(arms: Sequence[str], arguments: Sequence[str]) -> dict[str, dict[str, int]]:
    """Peak memory of every arm: this program once more for each, in a process of its own, with `--peak ARM`."""
    found = {}
    for arm in arms:
        command = [sys.executable, *arguments, "--peak", arm]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[arm] = json.loads(output.splitlines()[-1])
    return found
