"""What the head of a report says: the verdict, the tiles and the table of evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass

from igpo_trainer.observe.figures import ABSENT, duration, number, percent
from igpo_trainer.observe.plots import evaluation_curves
from igpo_trainer.observe.records import EvaluationRecord, JournalRecord, RewriteRecord, StepRecord
from igpo_trainer.observe.summary import Summary, all_wrong_curve, selection_curve


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the head: what, value, and a line of context; `change` is good, bad or neither."""

    label: str
    value: str
    note: str = ""
    change: str = ""
    tone: str = ""


def verdict(records: Sequence[JournalRecord]) -> str:
    """Say in one sentence what came of the run."""
    curve = selection_curve(records)
    if not curve:
        return "No evaluation on held-out problems yet."
    last = curve[-1]
    if len(curve) == 1:
        return f"Accuracy on {last.problems} held-out problems is {percent(last.accuracy, 1)} at step {last.step}."
    start, end = percent(curve[0].accuracy, 1), percent(last.accuracy, 1)
    gain = (last.accuracy or 0.0) - (curve[0].accuracy or 0.0)
    course = f"{'rose' if gain > 0 else 'fell'} from {start} to {end}" if start != end else f"stayed at {end}"
    interval = ""
    if last.interval_low is not None and last.interval_high is not None:
        interval = f" (95 % interval {100 * last.interval_low:.1f}–{percent(last.interval_high, 1)})"
    text = f"Accuracy on {last.problems} held-out problems {course}{interval} in {last.step} steps."
    return text.replace(" %", "\u00a0%")


def _course(label: str, values: Sequence[float | None], note: str, *, up: bool) -> Tile:
    """Make the tile of a share from its first to its last value: `31.0 → 58.0 %` and the difference in points."""
    start, end = (values[0], values[-1]) if values else (None, None)
    if start is None or end is None or len(values) == 1:
        return Tile(label, percent(end, 1), note)
    points = 100 * (end - start)
    value = f"{100 * start:.1f} → {percent(end, 1)}"
    if abs(points) < 0.05:
        return Tile(label, value, note, "no change")
    return Tile(label, value, note, f"{points:+.1f} points", "good" if (points > 0) == up else "bad")


def tiles(records: Sequence[JournalRecord], summary: Summary) -> list[Tile]:
    """Make the figures of the head."""
    curve = selection_curve(records)
    best = ""
    if len(curve) == 1:
        best = f"at step {curve[0].step}"
    elif curve and summary.best_step not in (None, curve[-1].step):
        best = f"best {percent(summary.accuracy_best, 1)} at step {summary.best_step}"
    accuracy = _course("Held-out accuracy", [r.accuracy for r in curve], best if curve else "not measured yet", up=True)
    steps = Tile("Steps", f"{summary.steps} of {summary.planned_steps}", f"seed {summary.seed}")
    seconds = Tile("Duration", duration(summary.seconds), "all work in the journal")
    rl = [r for r in records if isinstance(r, StepRecord)]
    if not rl:
        loss = Tile("Training loss", f"{number(summary.loss_start)} → {number(summary.loss_end)}", "nats per token")
        return [accuracy, loss, steps, seconds]
    wrong = all_wrong_curve(records)
    missing = "" if wrong else "needs a set with several samples"
    attempted = sum(r.rescue.attempted for r in rl)
    replaced = sum(r.replaced for r in rl)
    rollouts = sum(r.completions_initial.total for r in rl)
    return [
        accuracy,
        _course("Held-out all-wrong", [r.all_wrong for r in wrong], missing, up=False),
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
        roles: dict[int, list[str]] = {}
        for role, record in (("final", curve[-1]), ("best", best), ("start", curve[0])):
            roles.setdefault(record.step, []).append(role)
        by_step = {record.step: record for record in curve}
        rows += [(name, ", ".join(names), *_cells(by_step[step])) for step, names in roles.items()]
    return rows


def _cells(record: EvaluationRecord) -> tuple[str, ...]:
    return (
        str(record.step),
        str(record.problems),
        percent(record.accuracy, 1),
        _interval(record.interval_low, record.interval_high),
        percent(record.all_wrong, 1),
        percent(record.pass_at_k, 1),
        _interval(record.pass_low, record.pass_high),
        ABSENT if record.distinct_answers is None else f"{record.distinct_answers:.2f}",
        f"{record.denoising_steps} / {record.block_length} / {record.completion_length}",
    )


def _interval(low: float | None, high: float | None) -> str:
    return ABSENT if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"


def rewrite_rows(records: Sequence[JournalRecord]) -> list[tuple[str, int, float]]:
    """Make the table of what became of the traces that a teacher rewrote: what, how many, and their share."""
    record = next((r for r in records if isinstance(r, RewriteRecord)), None)
    if record is None or not record.rows:
        return []
    counts = [("kept", record.kept), *sorted(record.dropped.items(), key=lambda item: -item[1])]
    return [(name, count, count / record.rows) for name, count in counts]
