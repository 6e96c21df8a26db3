"""Hooks in the process that is to be killed: its phase, and every rename, removal and fsync before it happens."""

import os
import re
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from igpo_trainer.loop.igpo import IGPOLoop
from igpo_trainer.loop.telemetry import Telemetry
from igpo_trainer.observe.records import State
from igpo_trainer.rewards import pool
from igpo_trainer.rewards.judge import Judge

_AUDITED = {"os.rename": "rename", "os.remove": "remove", "os.rmdir": "remove"}
_OWN_NUMBER = re.compile(r"\.\d+\.tmp$")


def report_phases(say: Callable[[str], None]) -> None:
    """Send `phase <name>` when a phase begins or goes on after judging, and `step <n>` when a cycle begins."""
    state, score, cycle = Telemetry.state, Judge.score, IGPOLoop.cycle
    now = "start"

    def told_state(telemetry: Telemetry, new: State) -> None:
        nonlocal now
        now = str(new)
        say(f"phase {now}")
        state(telemetry, new)

    def told_score(judge: Judge, tasks: Any) -> Any:
        say("phase judge")
        scores = score(judge, tasks)
        say(f"phase {now}")
        return scores

    def told_cycle(loop: IGPOLoop, number: int) -> None:
        say(f"step {number}")
        cycle(loop, number)

    Telemetry.state, Judge.score, IGPOLoop.cycle = told_state, told_score, told_cycle


def wait_for_verifiers(seconds: float) -> None:
    """Let verifier processes take long to start: a busy machine must not look like a broken one."""
    pool._STARTUP_SECONDS = seconds


def report_calls(say: Callable[[str], None], run_dir: Path, deadly: Callable[[str], bool]) -> None:
    """Send `call <name> <paths>` before every rename, removal and fsync below run_dir; die there if it is `deadly`."""

    def before(name: str, paths: Collection[Path]) -> None:
        if not any(path.is_relative_to(run_dir) for path in paths):
            return
        call = " ".join([name, *(_plain(path, run_dir) for path in paths)])
        say(f"call {call}")
        if deadly(call):
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _AUDITED:
            count = 2 if event == "os.rename" else 1
            # What is removed by an open directory (rmtree) has a bare name.
            folder = arguments[-1] if event != "os.rename" and arguments[-1] not in (-1, None) else None
            root = Path() if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
            before(_AUDITED[event], [root / os.fsdecode(path) for path in arguments[:count]])

    fsync = os.fsync

    def told_fsync(descriptor: int) -> None:
        before("fsync", [Path(f"/proc/self/fd/{descriptor}").readlink()])
        fsync(descriptor)

    os.fsync = told_fsync
    sys.addaudithook(audit)


def _plain(path: Path, run_dir: Path) -> str:
    return _OWN_NUMBER.sub(".tmp", path.relative_to(run_dir).as_posix() if path.is_relative_to(run_dir) else str(path))
