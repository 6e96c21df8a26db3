"""Carrying out jobs: `igpo run` as child processes, a few at a time, with progress and the time that is left."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from arm_runs.job import Job
from igpo_trainer.cli.run import is_finished
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import SftStepRecord, StepRecord
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.igpo import IGPOTrainingSpec
from igpo_trainer.spec.sft import LengthAlignedSFTSpec

LOOK_SECONDS = 2.0
STOP_SECONDS = 600.0
"""Time a run gets to save before it is killed."""
SPEED_OVER_SECONDS = 900.0
"""Span over which the speed is averaged for the time that is left; evaluations come in lumps."""


@dataclass(frozen=True)
class Child:
    """A running job."""

    job: Job
    process: subprocess.Popen[bytes]
    log: Path


def run_all(jobs: Sequence[Job], out: Path, at_once: int) -> None:
    """Run every job that is not finished, at most `at_once` at a time, each after the one it needs.

    Raises SystemExit with the last lines of a run that failed; what was running saves its state first.
    """
    waiting = list(jobs)
    done: set[str | None] = {None}
    running: list[Child] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(soft_wrap=True, markup=False, highlight=False)
    live = console.is_terminal  # elsewhere events alone are told
    with Progress(*columns, console=console, speed_estimate_period=SPEED_OVER_SECONDS, disable=not live) as bar:
        task = bar.add_task("", total=sum(_work(d) for job in jobs for d in job.documents))
        try:
            while waiting or running:
                for job in [job for job in waiting if job.after in done]:
                    if all(is_finished(document, out / document.kind / document.name) for document in job.documents):
                        waiting.remove(job)
                        done.add(job.title)
                        console.print(f"{job.title}: finished before, left alone")
                    elif len(running) < at_once:
                        waiting.remove(job)
                        running.append(_start(job, out))
                        console.print(f"{job.title}: started")
                if running:
                    if live:
                        _show(bar, task, jobs, running, done, out)
                    _wait(running[0].process)
                for child in [child for child in running if child.process.poll() is not None]:
                    running.remove(child)
                    _require_success(child)
                    done.add(child.job.title)
                    console.print(f"{child.job.title}: {_last_lines(child.log, 1)}")
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


def _show(
    bar: Progress, task: TaskID, jobs: Sequence[Job], running: Sequence[Child], done: set[str | None], out: Path
) -> None:
    """Move the bar."""
    finished = sum(_work(d) for job in jobs if job.title in done for d in job.documents)
    parts = []
    for child in running:
        courses = [(document, *_course(document, out)) for document in child.job.documents]
        finished += sum(_work(document) * step / planned for document, step, planned in courses)
        name, step, planned = next((c for c in courses if c[1] < c[2]), courses[-1])
        parts.append(f"{name.name} {step}/{planned}")
    bar.update(task, completed=finished, description=f"{len(done) - 1}/{len(jobs)} · {' · '.join(parts)}")


def _course(document: Document, out: Path) -> tuple[int, int]:
    """(finished steps, planned steps) of a run."""
    steps = [
        r.step for r in read_metrics(out / document.kind / document.name) if isinstance(r, StepRecord | SftStepRecord)
    ]
    return (steps[-1] if steps else 0), _steps(document)


def _steps(document: Document) -> int:
    spec = document.spec
    return (spec.steps if isinstance(spec, IGPOTrainingSpec) else spec.training.steps) or 1


def _work(document: Document) -> float:
    """Rows that go through the network, backward passes twice: by this documents weigh in the time that is left."""
    spec = document.spec
    measured = sum(s.samples for s in spec.evaluation.datasets) * spec.dataset.holdout.rows * spec.sampling.steps
    every = spec.evaluation.every_steps
    times = _steps(document) // every if every else 1
    if isinstance(spec, LengthAlignedSFTSpec):
        return times * measured + 3.0 * _steps(document) * spec.training.batch_size
    rollouts = spec.prompts_per_step * spec.group_size * spec.sampling.steps
    return (times + 1) * measured + float(_steps(document) * rollouts)


def _last_lines(log: Path, count: int) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
