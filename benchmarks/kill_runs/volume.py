"""What a killed run left on its volume: judged after every kill, and what is unfinished is made unreadable."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from igpo_trainer.loop.store import MARKER, CheckpointStore
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import StartRecord, StepRecord
from igpo_trainer.spec.contract import CHECKPOINTS_DIR, FINAL_DIR, METRICS_FILE, SAMPLES_FILE
from igpo_trainer.spec.errors import RunError

GARBAGE = b"a partial file that nothing may read"
TORN = b'{"event":"step","step":'
NOT_COMPARED = ("run.json", "summary.json", "report.html")
"""Files that say when and how often the run was started."""


class KillTestError(AssertionError):
    """A promise was broken by a kill."""


@dataclass(slots=True)
class Volume:
    """A run folder between two starts, and what earlier starts had brought to it."""

    run_dir: Path
    latest: int | None = None
    """Step of the newest complete checkpoint so far."""
    poisoned: int = 0
    """Partial files that a kill had left and that were filled with garbage."""
    kept_lines: bytes = b""
    """The journal up to the newest checkpoint, as it was after the kill before."""

    def judge(self) -> None:
        """After a kill: every visible checkpoint is whole, none is lost, the journal up to it is untouched.

        Raises KillTestError otherwise. Then every partial file is filled with garbage, and half a line is appended to
        the journals, so that a start that reads any of it cannot end like a run that nobody killed.
        """
        store = CheckpointStore(self.run_dir / CHECKPOINTS_DIR, 1, 0)
        for path in sorted(store.folder.glob("step-*")):
            try:
                store.verify(path)
            except RunError as error:
                raise KillTestError(f"a checkpoint is visible but not whole: {error}") from error
        found = store.latest()
        replaced = [p.name for p in store.folder.glob(".old-step-*")]
        step = max((s for s in (found and found.step, *map(_step, replaced)) if s is not None), default=None)
        if self.latest is not None and (step is None or step < self.latest):
            raise KillTestError(f"the checkpoint of step {self.latest} is gone; the newest is of step {step}")
        journal = self.run_dir / METRICS_FILE
        lines = journal.read_bytes() if journal.exists() else b""
        if not lines.startswith(self.kept_lines):
            raise KillTestError(f"{journal} was rewritten before the checkpoint of step {self.latest}")
        self.latest = step
        self.kept_lines = _up_to(lines, step)
        self._poison()

    def _poison(self) -> None:
        for path in self.run_dir.rglob("*"):
            parts = path.relative_to(self.run_dir).parts
            if path.is_file() and any(_is_unfinished(part) for part in parts):
                path.write_bytes(GARBAGE)
                self.poisoned += 1
        for name in (METRICS_FILE, SAMPLES_FILE):
            path = self.run_dir / name
            if path.exists():
                with path.open("ab") as file:
                    file.write(TORN)


def _is_unfinished(part: str) -> bool:
    return part.startswith((".tmp-", ".trash-")) or part.endswith(".tmp")


def _step(replaced: str) -> int:
    return int(replaced.removeprefix(".old-step-"))


def _up_to(lines: bytes, step: int | None) -> bytes:
    """Whole lines of steps up to `step` but for an end line: what a resume from there keeps."""
    if step is None:
        return b""
    whole = [line for line in lines.splitlines(keepends=True) if line.endswith(b"\n")]
    records = [(json.loads(line), line) for line in whole]
    return b"".join(line for record, line in records if record["step"] <= step and record["event"] != "end")


def differences(run_dir: Path, whole: Path) -> list[str]:
    """How a run folder differs from one of a run nobody killed: names and bytes, JSON lines but for `time` objects."""
    ours, theirs = _files(run_dir), _files(whole)
    found = [f"{name} only in one of both" for name in sorted(ours ^ theirs)]
    for name in sorted(ours & theirs):
        if name not in NOT_COMPARED and (read := _reader(name))(run_dir / name) != read(whole / name):
            found.append(f"{name} differs" + ("" if read is Path.read_bytes else " in more than time"))
    if not (run_dir / FINAL_DIR / "model.safetensors").is_file():
        found.append("there is no final model")
    return found


def verdicts_from_a_deadline(run_dir: Path) -> int:
    """Unjudged completions in a journal: the only verdict that a clock can give."""
    return sum(
        value if isinstance(value, int) else sum(value.values())
        for record in read_metrics(run_dir)
        if (value := getattr(record, "unjudged", None)) is not None
    )


def replaced_rollouts(run_dir: Path) -> int:
    """Rollouts that rescue replaced in the whole run."""
    return sum(record.replaced for record in read_metrics(run_dir) if isinstance(record, StepRecord))


def threads_of(run_dir: Path) -> int:
    """Threads of the process that began the run, as its journal says."""
    return next(record.time.threads for record in read_metrics(run_dir) if isinstance(record, StartRecord))


def _files(folder: Path) -> set[str]:
    return {os.fspath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _reader(name: str) -> Callable[[Path], object]:
    if name.endswith(".jsonl"):
        return _timeless
    return _undated if Path(name).name == MARKER else Path.read_bytes


def _undated(path: Path) -> dict[str, object]:
    """A checkpoint's marker without the time at which it was saved."""
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "savedAt"}


def _timeless(path: Path) -> list[dict[str, object]]:
    """Whole lines without their times; what `Volume` tore after a kill that came behind the end line stays there."""
    lines = path.read_text().splitlines(keepends=True)
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{key: value for key, value in record.items() if key != "time"} for record in whole]
