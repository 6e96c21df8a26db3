"""Stages that are done once: each leaves a file, and none starts that would end too late."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ESTIMATES = {
    "device": 10.0,
    "step": 225.0,
    "update": 30.0,
    "plain": 35.0,
    "agreement": 20.0,
    "dual": 100.0,
    "prefix": 80.0,
}
"""Seconds of a stage at the 8B shape on one H100 with five repeats: arithmetic at half its rate, and loading."""


class Plan:
    """The files of a folder. A file of another shape or device is not taken for one of this."""

    def __init__(
        self, folder: Path, subject: str, deadline: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`deadline` is a time of `clock`."""
        self.folder = folder
        self.subject = subject
        self.deadline = deadline
        self.clock = clock
        self.slowness = 0.0
        """The largest share of its estimate that a stage of this call took; 0 before the first."""

    def carry_out(self, name: str, stage: Callable[[], dict[str, Any]]) -> bool:
        """Do a stage that is not done yet; False when there is no time for it."""
        if self._read(name) is not None:
            return True
        estimate = ESTIMATES[name] * (self.slowness or 1.0)
        if self.clock() + estimate > self.deadline:
            return False
        began = self.clock()
        found = stage()
        taken = self.clock() - began
        self.slowness = max(self.slowness, taken / ESTIMATES[name])
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{name}.json.draft"
        draft.write_text(json.dumps({"subject": self.subject, "seconds": taken, "found": found}, indent=1))
        draft.rename(self.folder / f"{name}.json")
        print(f"{name}: {taken:.1f} s", flush=True)
        return True

    def results(self) -> dict[str, dict[str, Any]]:
        """What the finished stages found, by name."""
        found = {name: self._read(name) for name in ESTIMATES}
        return {name: theirs for name, theirs in found.items() if theirs is not None}

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        stored = json.loads(path.read_text())
        return stored["found"] if stored["subject"] == self.subject else None
