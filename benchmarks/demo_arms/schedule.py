"""Carrying out the runs: `igpo run` as child processes, a few at a time, with a line of progress."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo_arms.plan import Job, SeedPlan
from igpo_trainer.cli.run import is_finished
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import SftStepRecord, StartRecord, StepRecord

LOOK_SECONDS = 2.0
STOP_SECONDS = 600.0
"""Time a run gets to save before it is killed."""


@dataclass(frozen=True)
class Child:
    """A running job."""

    job: Job
    process: subprocess.Popen[bytes]
    log: Path


def run_all(plans: Sequence[SeedPlan], out: Path, jobs: int) -> None:
    """Run every job that is not finished, at most `jobs` at a time, each arm after its SFT.

    Raises SystemExit with the last lines of a run that failed; what was running saves its state first.
    """
    waiting = [job for plan in plans for job in plan.jobs]
    needs = {job.title: plan.sft.title for plan in plans for job in plan.arms.values()}
    done: set[str | None] = {None}
    running: list[Child] = []
    total = len(waiting)
    try:
        while waiting or running:
            for job in [job for job in waiting if needs.get(job.title) in done]:
                if all(is_finished(document, out / document.kind / document.name) for document in job.documents):
                    waiting.remove(job)
                    done.add(job.title)
                    _say(f"{job.title}: finished before, left alone")
                elif len(running) < jobs:
                    waiting.remove(job)
                    running.append(_start(job, out))
                    _say(f"{job.title}: started")
            _show(f"{len(done) - 1} of {total} done" + "".join(f" · {_progress(child, out)}" for child in running))
            if running:
                _wait(running[0].process)
            for child in [child for child in running if child.process.poll() is not None]:
                running.remove(child)
                _require_success(child)
                done.add(child.job.title)
                _say(f"{child.job.title}: {_last_lines(child.log, 1)}")
    finally:
        _stop(running)


def _start(job: Job, out: Path) -> Child:
    log = out / "logs" / f"{job.file.stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "igpo_trainer.cli.main", "run", "-f", str(job.file), "--runs", str(out)]
    with log.open("wb") as file:
        # A session of its own: Ctrl-C reaches this script alone, which then tells every run once.
        process = subprocess.Popen(
            [*command, "--quiet", "--metrics-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    return Child(job, process, log)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _stop(running: Sequence[Child]) -> None:
    """Tell runs to save and end; wait for them."""
    for child in running:
        child.process.terminate()
    for child in running:
        try:
            child.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def _require_success(child: Child) -> None:
    if child.process.returncode != 0:
        raise SystemExit(
            f"{child.job.title}: igpo run ended with {child.process.returncode}: {_last_lines(child.log, 5)}\n"
            f"Its whole log is {child.log}; after a change of the manifest give another folder with --out"
        )


def _progress(child: Child, out: Path) -> str:
    """How far a job is, from the newest journal of its runs."""
    for run_dir in reversed(child.job.run_dirs(out)):
        records = read_metrics(run_dir)
        if not records:
            continue
        steps = [r.step for r in records if isinstance(r, StepRecord | SftStepRecord)]
        planned = next((r.planned_steps for r in records if isinstance(r, StartRecord)), 0)
        return f"{child.job.title} step {steps[-1] if steps else 0}/{planned}"
    return f"{child.job.title} starting"


def _last_lines(log: Path, count: int) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _say(line: str) -> None:
    print(("\r\x1b[K" if sys.stdout.isatty() else "") + line, flush=True)


def _show(line: str) -> None:
    """Replace the live line; where there is no terminal, events alone are told."""
    if sys.stdout.isatty():
        width = os.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}", end="", flush=True)
