"""What the head of a report says: the verdict, the tiles and the table of evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass

from igpo_trainer.observe.figures import ABSENT, duration, number, percent
from igpo_trainer.observe.plots import evaluation_curves
from igpo_trainer.observe.records import EvaluationRecord, JournalRecord, StepRecord
from igpo_trainer.observe.summary import Summary, selection_curve


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the head: what, value, and a line of context. `tone`: good, bad or neither."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


def verdict(records: Sequence[JournalRecord], summary: Summary) -> str:
    """Say in one sentence what came of the run."""
    curve = selection_curve(records)
    if not curve:
        return "No evaluation on held-out problems yet."
    last = curve[-1]
    if len(curve) == 1:
        return f"Accuracy on {last.problems} held-out problems is {percent(last.accuracy, 1)} at step {last.step}."
    gain = (last.accuracy or 0.0) - (curve[0].accuracy or 0.0)
    verb = "rose" if gain > 0 else "fell" if gain < 0 else "stayed"
    interval = ""
    if last.interval_low is not None and last.interval_high is not None:
        interval = f" (95 % interval {100 * last.interval_low:.1f}–{percent(last.interval_high, 1)})"
    return (
        f"Accuracy on {last.problems} held-out problems {verb} from {percent(summary.accuracy_start, 1)} "
        f"to {percent(summary.accuracy_end, 1)}{interval} in {last.step} steps."
    )


def _change(start: float | None, end: float | None, *, better_up: bool) -> tuple[str, str]:
    """Difference in percentage points and its tone."""
    if start is None or end is None:
        return "", ""
    points = 100 * (end - start)
    if abs(points) < 0.05:
        return "no change", ""
    return f"{points:+.1f} points", "good" if (points > 0) == better_up else "bad"


def tiles(records: Sequence[JournalRecord], summary: Summary) -> list[Tile]:
    """Make the figures of the head."""
    accuracy_note, accuracy_tone = _change(summary.accuracy_start, summary.accuracy_end, better_up=True)
    best = "" if summary.accuracy_best is None else f"best {percent(summary.accuracy_best, 1)} at {summary.best_step}"
    accuracy = Tile(
        "Held-out accuracy",
        f"{percent(summary.accuracy_start, 1)} → {percent(summary.accuracy_end, 1)}",
        " · ".join(filter(None, (accuracy_note, best))),
        accuracy_tone,
    )
    steps = Tile("Steps", f"{summary.steps} of {summary.planned_steps}", f"seed {summary.seed}")
    seconds = Tile("Duration", duration(summary.seconds), "all work in the journal")
    rl = [r for r in records if isinstance(r, StepRecord)]
    if not rl:
        loss = Tile("Training loss", f"{number(summary.loss_start)} → {number(summary.loss_end)}", "nats per token")
        return [accuracy, loss, steps, seconds]
    wrong_note, wrong_tone = _change(summary.all_wrong_start, summary.all_wrong_end, better_up=False)
    attempted = sum(r.rescue.attempted for r in rl)
    replaced = sum(r.replaced for r in rl)
    rollouts = sum(r.completions_initial.total for r in rl)
    return [
        accuracy,
        Tile(
            "Held-out all-wrong",
            f"{percent(summary.all_wrong_start, 1)} → {percent(summary.all_wrong_end, 1)}",
            wrong_note or "no set with several samples",
            wrong_tone,
        ),
        Tile("Rescued groups", f"{summary.rescued_groups}", f"of {attempted} all-wrong ones"),
        Tile("Replaced completions", f"{replaced}", f"{percent(replaced / rollouts, 1)} of all" if rollouts else ""),
        Tile("Steps", steps.value, f"{sum(r.updates for r in rl)} updates · {steps.note}"),
        seconds,
    ]


def evaluation_rows(records: Sequence[JournalRecord]) -> list[tuple[str, ...]]:
    """Make the table of evaluations: for every set the last one first, then the best and the first."""
    rows = []
    for name, curve in evaluation_curves(records).items():
        best = max(curve, key=lambda r: (r.accuracy or 0.0, -r.step))
        named = (("final", curve[-1]), ("best", best), ("start", curve[0]))
        rows += [(name, which, *_cells(record)) for which, record in named]
    return rows


def _cells(record: EvaluationRecord) -> tuple[str, ...]:
    interval = ABSENT
    if record.interval_low is not None and record.interval_high is not None:
        interval = f"{100 * record.interval_low:.1f}–{100 * record.interval_high:.1f}"
    return (
        str(record.step),
        str(record.problems),
        percent(record.accuracy, 1),
        interval,
        percent(record.all_wrong, 1),
        percent(record.pass_at_k, 1),
        f"{record.denoising_steps} / {record.block_length} / {record.completion_length}",
    )
