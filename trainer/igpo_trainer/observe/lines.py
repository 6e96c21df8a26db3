"""A record as one aligned line of a log, for terminals that are none and for pods."""

from igpo_trainer.observe.figures import duration, number, percent
from igpo_trainer.observe.lengths import mean_length
from igpo_trainer.observe.records import (
    CheckpointRecord,
    DataRecord,
    EndRecord,
    EvaluationRecord,
    JournalRecord,
    RewriteRecord,
    SftStepRecord,
    StartRecord,
    StepRecord,
)


def line(record: JournalRecord, planned_steps: int, eta_seconds: float | None = None) -> str:
    """One line without a newline; columns line up from step to step."""
    match record:
        case StepRecord():
            return _step(record, planned_steps, eta_seconds)
        case SftStepRecord():
            return _sft_step(record, planned_steps, eta_seconds)
        case EvaluationRecord():
            return _evaluation(record)
        case _:
            return _event(record)


def _event(record: StartRecord | RewriteRecord | DataRecord | CheckpointRecord | EndRecord) -> str:
    match record:
        case StartRecord():
            return f"start  {record.kind}/{record.name}, {record.planned_steps} steps, seed {record.seed}"
        case RewriteRecord():
            return rewrite_line(record)
        case DataRecord():
            return _data(record)
        case CheckpointRecord():
            best = ", best so far" if record.best else ""
            return f"saved  {record.name} in {duration(record.time.seconds)}{best}"
        case EndRecord():
            return f"end    after step {record.step}"


def _counter(step: int, planned_steps: int) -> str:
    width = len(str(planned_steps))
    return f"step {step:>{width}}/{planned_steps}"


def _left(seconds: float, eta_seconds: float | None) -> str:
    left = "" if eta_seconds is None else f", {duration(eta_seconds)} left"
    return f"{duration(seconds)}{left}"


def _step(record: StepRecord, planned_steps: int, eta_seconds: float | None) -> str:
    before, after = record.groups_initial.all_wrong_ratio, record.groups_final.all_wrong_ratio
    return " | ".join(
        (
            _counter(record.step, planned_steps),
            f"reward {number(record.reward_mean.get('total')):>6}",
            f"all wrong {percent(before):>5} -> {percent(after):>5}",
            f"entropy hint {number(record.entropy.hint, 2):>4} gen {number(record.entropy.generated, 2):>4}",
            _left(record.time.seconds, eta_seconds),
        )
    )


def _sft_step(record: SftStepRecord, planned_steps: int, eta_seconds: float | None) -> str:
    return " | ".join(
        (
            _counter(record.step, planned_steps),
            f"loss {number(record.loss, 4):>7}",
            f"grad {number(record.grad_norm):>6}",
            f"lr {number(record.learning_rate, 6):>9}",
            f"length {number(mean_length(record.example_lengths), 1):>5}/{record.target_length}",
            _left(record.time.seconds, eta_seconds),
        )
    )


def _evaluation(record: EvaluationRecord) -> str:
    accuracy = percent(record.accuracy, 1)
    if record.interval_low is not None and record.interval_high is not None:
        accuracy += f" [{100 * record.interval_low:.1f}, {100 * record.interval_high:.1f}]"
    parts = [f"eval   {record.dataset} at step {record.step}", f"accuracy {accuracy}"]
    if record.all_wrong is not None:
        parts.append(f"all wrong {percent(record.all_wrong, 1)}")
    parts.append(f"{record.problems} problems x {record.samples} at T {record.temperature:g}")
    if record.unjudged:
        parts.append(f"{record.unjudged} without a verdict")
    parts.append(duration(record.time.seconds))
    return " | ".join(parts)


def _data(record: DataRecord) -> str:
    parts = [f"data   {record.problems} problems, {record.heldout} held out, canvas {record.target_length} tokens"]
    if record.context_traces:
        parts.append(f"{record.context_traces} longer on a canvas of {record.context_length}")
    if record.rewritten:
        parts.append(f"{record.rewritten} rewritten")
    parts += [f"{count} dropped ({reason})" for reason, count in sorted(record.dropped.items())]
    for source, reasons in sorted(record.unmeasured.items()):
        parts += [f"{count} of {source} not measured ({reason})" for reason, count in sorted(reasons.items())]
    if record.overlong_traces:
        parts.append(f"{record.overlong_traces} traces longer than the canvas")
    return " | ".join(parts)


def rewrite_line(record: RewriteRecord) -> str:
    """What a finished rewrite came to."""
    before, after = mean_length(record.original_lengths), mean_length(record.kept_lengths)
    parts = [
        f"rewrite {record.kept} of {record.rows} traces kept, teacher {record.teacher}",
        f"mean length {number(before, 1)} -> {number(after, 1)} tokens, canvas {record.target_length}",
        f"{record.prompt_tokens + record.completion_tokens} teacher tokens",
    ]
    return " | ".join([*parts, *(f"{count} dropped ({reason})" for reason, count in sorted(record.dropped.items()))])
