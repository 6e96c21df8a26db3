"""Recorded runs of the built-in task on two CPU cores: SFT on traces that a teacher has rewritten, and three RL runs.

Those three, IGPO, Resample and GRPO, are of `make ablations`. A second is shown as half a minute, so that they last
as long as runs do that people watch. The recorded machine had no GPU: the peak memory that they tell of is made up.
"""

import gzip
import json
from pathlib import Path
from typing import Any

from igpo_trainer.observe.records import (
    JOURNAL,
    DataRecord,
    EndRecord,
    EvaluationRecord,
    JournalRecord,
    RewriteRecord,
    SftStepRecord,
    StartRecord,
    State,
    StepRecord,
)

_FOLDER = Path(__file__).parents[2] / "data" / "demo"
_STRETCH = 30
_PEAK = 21 * 1024**3
_STATES: dict[type, State] = {
    RewriteRecord: State.REWRITE,
    DataRecord: State.DATA,
    EvaluationRecord: State.EVALUATE,
}


def journal(name: str, begin: float) -> list[JournalRecord]:
    """The records of a recorded run as if it had begun at the Unix time `begin`, in the order of their times.

    The line `start` is written once rewriting and reading are over.
    """
    with gzip.open(_FOLDER / f"{name}.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    lines.sort(key=lambda line: float(line["time"]["at"]))
    first = min(line["time"]["at"] - line["time"].get("seconds", 0.0) for line in lines)
    return [JOURNAL.validate_python(_shown(line, first, begin)) for line in lines]


def _shown(line: dict[str, Any], first: float, begin: float) -> dict[str, Any]:
    time = dict(line["time"])
    time["at"] = begin + (time["at"] - first) * _STRETCH
    time["seconds"] = time.get("seconds", 0.0) * _STRETCH
    if line["event"] in {"step", "sft_step"}:
        time["phases"] = {phase: seconds * _STRETCH for phase, seconds in time["phases"].items()}
        time["rank_seconds"] = [seconds * _STRETCH for seconds in time["rank_seconds"]]
        time["gpu_memory_peak_bytes"] = [_PEAK]
    return {**line, "time": time}


def start_of(records: list[JournalRecord]) -> StartRecord:
    """The line that says what the run is."""
    return next(record for record in records if isinstance(record, StartRecord))


def state_at(upcoming: JournalRecord | None, at: float) -> State:
    """What a trainer is doing at a moment, from the record that comes next."""
    match upcoming:
        case None | EndRecord():
            return State.FINISHED
        case StepRecord() | SftStepRecord():
            left = at - (upcoming.time.at - upcoming.time.seconds)
            for phase, seconds in upcoming.time.phases.items():
                left -= seconds
                if left < 0:
                    return State(phase)
            return State.UPDATE
        case _:
            return _STATES.get(type(upcoming), State.CHECKPOINT)
