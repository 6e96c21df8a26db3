"""From a journal record to metric readings: pure, so that /metrics and metrics.jsonl cannot disagree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from igpo_trainer.observe.lengths import LengthCounts, mean_length
from igpo_trainer.observe.records import (
    CheckpointRecord,
    DataRecord,
    EvaluationRecord,
    GroupCounts,
    JournalRecord,
    Measure,
    Measurement,
    Phase,
    Record,
    RewriteRecord,
    SftStepRecord,
    Split,
    StartRecord,
    StepRecord,
    StepTime,
    finite,
)
from igpo_trainer.spec.contract import RewriteStatus
from igpo_trainer.spec.run import HOLDOUT


@dataclass(frozen=True, slots=True)
class Reading:
    """One value for a gauge (None: the series goes), or one amount for a counter."""

    name: str
    value: float | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """`count` equal observations for a histogram."""

    name: str
    value: float
    count: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)


def readings(record: JournalRecord) -> Iterator[Reading | Observation]:
    """Everything that a record says about the metrics of the catalogue."""
    match record:
        case StartRecord():
            yield Reading("igpo_trainer_planned_steps", record.planned_steps)
            yield Reading("igpo_trainer_world_size", record.time.world_size)
        case RewriteRecord():
            yield from _rewrite(record)
        case DataRecord():
            yield from _data(record)
        case StepRecord():
            yield from _common(record)
            yield from _rewards(record)
            yield from _groups(record)
            yield from _policy(record)
        case SftStepRecord():
            yield from _common(record)
            yield from _fine_tuning(record)
        case EvaluationRecord():
            yield from _evaluation(record)
        case CheckpointRecord():
            yield Reading("igpo_trainer_checkpoints_total", 1)
            yield Reading("igpo_trainer_last_checkpoint_step", record.step)
            yield Reading("igpo_trainer_last_checkpoint_timestamp_seconds", record.time.at)
            yield _phase(Phase.CHECKPOINT, record.time.seconds)


def _phase(phase: Phase, seconds: float) -> Observation:
    return Observation("igpo_trainer_phase_duration_seconds", seconds, labels={"phase": phase})


def _lengths(name: str, lengths: LengthCounts) -> Iterator[Observation]:
    for length, count in lengths.items():
        yield Observation(name, length, count)


def _by_label(name: str, label: str, values: Mapping[str, Measure]) -> Iterator[Reading]:
    for key, value in values.items():
        yield Reading(name, value, {label: key})


def _fields(counts: Record) -> dict[str, float]:
    return {name: float(getattr(counts, name)) for name in type(counts).model_fields}


def _common(record: StepRecord | SftStepRecord) -> Iterator[Reading | Observation]:
    time: StepTime = record.time
    yield Reading("igpo_trainer_step", record.step)
    yield Reading("igpo_trainer_epoch", record.epoch)
    yield Reading("igpo_trainer_updates_total", record.updates)
    yield Reading("igpo_trainer_last_step_timestamp_seconds", time.at)
    yield Reading("igpo_trainer_step_duration_seconds", time.seconds)
    yield Reading("igpo_trainer_loss", record.loss)
    yield Reading("igpo_trainer_gradient_norm", record.grad_norm)
    yield Reading("igpo_trainer_learning_rate", record.learning_rate)
    yield from _by_label("igpo_trainer_tokens_total", "token", _fields(record.tokens))
    for phase, seconds in time.phases.items():
        yield _phase(phase, seconds)
    for rank, seconds in enumerate(time.rank_seconds):
        yield Reading("igpo_trainer_rank_step_duration_seconds", seconds, {"rank": str(rank)})
    for rank, peak in enumerate(time.gpu_memory_peak_bytes):
        yield Reading("igpo_trainer_gpu_memory_peak_bytes", peak, {"rank": str(rank)})


def _rewards(record: StepRecord) -> Iterator[Reading | Observation]:
    yield from _by_label("igpo_reward_mean", "reward", record.reward_mean)
    yield Reading("igpo_reward_group_stddev", record.reward_group_stddev)
    yield from _by_label("igpo_reward_errors_total", "reward", dict(record.reward_errors))
    yield from _by_label("igpo_unjudged_completions_total", "reason", dict(record.unjudged))
    yield Reading("igpo_completions_truncated_total", record.truncated)
    yield from _lengths("igpo_completion_length_tokens", record.completion_lengths)
    for stage, counts in (("initial", record.completions_initial), ("final", record.completions_final)):
        for verdict, value in _fields(counts).items():
            yield Reading("igpo_completions_total", value, {"stage": stage, "verdict": verdict})


def _groups(record: StepRecord) -> Iterator[Reading]:
    for stage, groups in (("initial", record.groups_initial), ("final", record.groups_final)):
        yield from _outcomes(stage, groups)
    yield Reading("igpo_no_signal_groups_total", record.no_signal)
    yield Reading("igpo_rescue_attempts_total", record.rescue.rescued, {"result": "rescued"})
    yield Reading("igpo_rescue_attempts_total", record.rescue.still_wrong, {"result": "still_wrong"})
    yield Reading("igpo_replaced_completions_total", record.replaced)
    yield Reading("igpo_empty_hints_total", record.empty_hints)
    yield Reading("igpo_hint_length_ratio", record.hint_ratio)
    yield from _by_label("igpo_hint_tokens_total", "state", _fields(record.hint_tokens))


def _outcomes(stage: str, groups: GroupCounts) -> Iterator[Reading]:
    for outcome, count in _fields(groups).items():
        labels = {"stage": stage, "outcome": outcome}
        yield Reading("igpo_groups_total", count, labels)
        yield Reading("igpo_step_groups_ratio", count / groups.total if groups.total else None, labels)


def _policy(record: StepRecord) -> Iterator[Reading]:
    splits: tuple[tuple[str, Split], ...] = (
        ("igpo_token_entropy_nats", record.entropy),
        ("igpo_clipped_tokens_ratio", record.clipped),
        ("igpo_importance_weight_mean", record.ratio),
        ("igpo_advantage_mean", record.advantage),
    )
    for name, split in splits:
        yield Reading(name, split.hint, {"token": "hint"})
        yield Reading(name, split.generated, {"token": "generated"})
    yield Reading("igpo_kl_divergence_nats", record.kl)


def _fine_tuning(record: SftStepRecord) -> Iterator[Reading | Observation]:
    mean = mean_length(record.example_lengths)
    yield Reading("igpo_sft_loss", record.loss, {"split": "train"})
    yield Reading("igpo_sft_target_length_tokens", record.target_length)
    yield Reading("igpo_sft_length_deviation_tokens", None if mean is None else mean - record.target_length)
    yield from _lengths("igpo_sft_example_length_tokens", record.example_lengths)


def _data(record: DataRecord) -> Iterator[Reading]:
    results = {
        "kept": record.problems - record.rewritten,
        "rewritten": record.rewritten,
        "dropped": sum(record.dropped.values()),
    }
    yield from _by_label("igpo_sft_examples_total", "result", results)


def _rewrite(record: RewriteRecord) -> Iterator[Reading | Observation]:
    yield Reading("igpo_sft_kept_rewrites", record.kept)
    yield from _by_label("igpo_sft_dropped_rewrites_total", "reason", dict(record.dropped))
    for stage, lengths in (("original", record.original_lengths), ("kept", record.kept_lengths)):
        for length, count in lengths.items():
            yield Observation("igpo_sft_rewrite_length_tokens", length, count, {"stage": stage})
    yield Reading("igpo_sft_teacher_tokens", record.prompt_tokens + record.completion_tokens)


def rewriting(status: RewriteStatus) -> Iterator[Reading]:
    """Gauges of a rewrite that is going on."""
    yield Reading("igpo_sft_rewrite_rows", status.rows)
    yield Reading("igpo_sft_rewrite_done_rows", status.done - status.cached, {"source": "teacher"})
    yield Reading("igpo_sft_rewrite_done_rows", status.cached, {"source": "cache"})
    yield Reading("igpo_sft_kept_rewrites", status.kept)
    yield Reading("igpo_sft_teacher_tokens", status.tokens)
    yield Reading("igpo_sft_teacher_token_budget", status.token_budget)


def _evaluation(record: EvaluationRecord) -> Iterator[Reading | Observation]:
    labels = {
        "dataset": record.dataset,
        "samples": str(record.samples),
        "temperature": f"{record.temperature:g}",
    }
    yield Reading("igpo_eval_accuracy_ratio", record.accuracy, labels)
    yield Reading("igpo_eval_all_wrong_ratio", record.all_wrong, labels)
    yield Reading("igpo_eval_pass_ratio", record.pass_at_k, labels)
    yield Reading("igpo_eval_last_step", record.step, labels)
    if record.sft_loss is not None:
        yield Reading("igpo_sft_loss", record.sft_loss, {"split": "eval"})
    yield _phase(Phase.EVALUATE, record.time.seconds)


class Headline:
    """The few finite numbers that /status and trackers show of a run, by short name.

    A hold-out may be measured in several ways. Accuracy is that of the first, which chooses the best checkpoint, too
    (`summary.selection_curve`).
    """

    def __init__(self) -> None:
        self._selecting: Measurement | None = None

    def of(self, record: JournalRecord) -> dict[str, float]:
        """Pick the numbers of the run's next record."""
        values = {name: kept for name, value in _headline(record).items() if (kept := finite(value)) is not None}
        if isinstance(record, EvaluationRecord) and record.dataset == HOLDOUT:
            self._selecting = self._selecting or record.measurement
            if record.measurement != self._selecting:
                values.pop("accuracy", None)
        return values


def non_finite(record: JournalRecord) -> list[str]:
    """Names of headline numbers that were measured but are infinite or not a number."""
    return [name for name, value in _headline(record).items() if value is not None and finite(value) is None]


def _headline(record: JournalRecord) -> dict[str, Measure]:
    match record:
        case StepRecord():
            return {
                "reward": record.reward_mean.get("total"),
                "all_wrong_initial": record.groups_initial.all_wrong_ratio,
                "all_wrong_final": record.groups_final.all_wrong_ratio,
                "entropy_hint": record.entropy.hint,
                "entropy_generated": record.entropy.generated,
                "kl": record.kl,
                "loss": record.loss,
            }
        case SftStepRecord():
            return {"loss": record.loss}
        case EvaluationRecord() if record.dataset == HOLDOUT:
            return {"accuracy": record.accuracy, "heldout_all_wrong": record.all_wrong}
        case _:
            return {}
