"""summary.json: what a run achieved, computed from its journal alone."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from igpo_trainer.folder import write_atomically
from igpo_trainer.observe.journal import read_metrics
from igpo_trainer.observe.records import EvaluationRecord, JournalRecord, Record, SftStepRecord, StartRecord, StepRecord
from igpo_trainer.spec.contract import SUMMARY_FILE
from igpo_trainer.spec.run import HOLDOUT


class Summary(Record):
    """Shares are 0 to 1. A value that was not measured is null."""

    kind: str = ""
    name: str = ""
    steps: int = Field(default=0, description="Finished steps.")
    planned_steps: int = 0
    seconds: float = Field(default=0.0, description="Time of all work in the journal, over all attempts.")
    seed: int | None = None
    heldout_problems: int | None = None
    accuracy_start: float | None = Field(default=None, description="On the hold-out, at its first evaluation.")
    accuracy_end: float | None = Field(default=None, description="On the hold-out, at its last evaluation.")
    accuracy_best: float | None = None
    best_step: int | None = Field(default=None, description="Step of accuracy_best; the earliest of equals.")
    all_wrong_start: float | None = Field(
        default=None, description="Share of hold-out problems with no right sample, without hints, at the start."
    )
    all_wrong_end: float | None = None
    rescued_groups: int | None = Field(default=None, description="RL only, as is replaced_completions.")
    replaced_completions: int | None = None
    loss_start: float | None = Field(default=None, description="Loss of the first step.")
    loss_end: float | None = None


def selection_curve(records: Sequence[JournalRecord]) -> list[EvaluationRecord]:
    """Pick the evaluations that choose the best checkpoint: the hold-out set measured first, in step order."""
    heldout = [r for r in records if isinstance(r, EvaluationRecord) and r.dataset == HOLDOUT]
    return [r for r in heldout if r.measurement == heldout[0].measurement]


def all_wrong_curve(records: Sequence[JournalRecord]) -> list[EvaluationRecord]:
    """Pick the evaluations of the hold-out set with the most samples a problem; none when all have one."""
    heldout = [
        r for r in records if isinstance(r, EvaluationRecord) and r.dataset == HOLDOUT and r.all_wrong is not None
    ]
    if not heldout:
        return []
    widest = max(heldout, key=lambda r: r.samples)
    return [r for r in heldout if r.measurement == widest.measurement]


def summarise(records: Sequence[JournalRecord]) -> Summary:
    """Reduce a journal, finished or not."""
    start = next((r for r in records if isinstance(r, StartRecord)), None)
    steps = [r for r in records if isinstance(r, StepRecord | SftStepRecord)]
    rl = [r for r in steps if isinstance(r, StepRecord)]
    curve = selection_curve(records)
    wrong = all_wrong_curve(records)
    measured = [(r.accuracy, -r.step) for r in curve if r.accuracy is not None]
    best = max(measured, default=None)
    return Summary(
        kind=start.kind if start else "",
        name=start.name if start else "",
        steps=steps[-1].step if steps else 0,
        planned_steps=start.planned_steps if start else 0,
        seconds=sum(r.time.seconds for r in records),
        seed=start.seed if start else None,
        heldout_problems=curve[0].problems if curve else None,
        accuracy_start=curve[0].accuracy if curve else None,
        accuracy_end=curve[-1].accuracy if curve else None,
        accuracy_best=best[0] if best else None,
        best_step=-best[1] if best else None,
        all_wrong_start=wrong[0].all_wrong if wrong else None,
        all_wrong_end=wrong[-1].all_wrong if wrong else None,
        rescued_groups=sum(r.rescue.rescued for r in rl) if rl else None,
        replaced_completions=sum(r.replaced for r in rl) if rl else None,
        loss_start=steps[0].loss if steps else None,
        loss_end=steps[-1].loss if steps else None,
    )


def write_summary(run_dir: Path) -> Summary:
    """Write summary.json of a run folder from its journal, atomically."""
    summary = summarise(read_metrics(run_dir))
    write_atomically(run_dir / SUMMARY_FILE, (summary.model_dump_json(indent=2) + "\n").encode())
    return summary
