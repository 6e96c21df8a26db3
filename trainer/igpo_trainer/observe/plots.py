"""Which charts a report shows, made from journal records. Colours are 0-7; the template gives them shades."""

from collections import Counter
from collections.abc import Callable, Sequence

from igpo_trainer.observe.charts import Chart, Point, Series, Unit
from igpo_trainer.observe.lengths import length_quantile, mean_length
from igpo_trainer.observe.records import (
    DataRecord,
    EvaluationRecord,
    JournalRecord,
    Measure,
    Phase,
    RewriteRecord,
    SftStepRecord,
    StepRecord,
)
from igpo_trainer.observe.summary import all_wrong_curve, selection_curve

BLUE, ORANGE, GREEN, PURPLE, RED, TEAL, GOLD, GREY = range(8)
_PHASE_COLOURS = {
    Phase.DATA: GREY,
    Phase.REWRITE: GREY,
    Phase.ROLLOUT: BLUE,
    Phase.JUDGE: GOLD,
    Phase.RESCUE: ORANGE,
    Phase.LOGPROB: TEAL,
    Phase.UPDATE: PURPLE,
}
Section = tuple[str, list[Chart]]
REWRITING = "Rewriting"
_LENGTH_BINS = 60
_LENGTHS_SHOWN = 4


def sections(records: Sequence[JournalRecord]) -> list[Section]:
    """Charts of a run by section; charts and sections without a value are left out."""
    rl = [r for r in records if isinstance(r, StepRecord)]
    sft = [r for r in records if isinstance(r, SftStepRecord)]
    data = next((r for r in records if isinstance(r, DataRecord)), None)
    rewrite = next((r for r in records if isinstance(r, RewriteRecord)), None)
    planned = [
        (REWRITING, [] if rewrite is None else [_rewritten_lengths(rewrite)]),
        ("Learning", [*_mission(rl), *_sft_learning(sft, records)]),
        ("Held-out problems", _held_out(records)),
        ("Rescue", _rescue(rl)),
        ("Policy update" if rl else "Optimizer", [*_policy(rl), *_optimizer([*rl, *sft])]),
        ("Length and time", [_lengths(rl, data), _truncated(rl), _sft_lengths(sft, data), _phases([*rl, *sft])]),
    ]
    kept = [(title, [chart for chart in charts if not chart.is_empty]) for title, charts in planned]
    return [(title, charts) for title, charts in kept if charts]


def _points(steps: Sequence[StepRecord], value: Callable[[StepRecord], Measure]) -> list[Point]:
    return [(r.step, value(r)) for r in steps]


def _mission(steps: Sequence[StepRecord]) -> list[Chart]:
    total = _points(steps, lambda r: r.reward_mean.get("total"))
    parts = [Series(name, points, 3 + index % 5) for index, (name, points) in enumerate(_reward_parts(steps, total))]
    before = _points(steps, lambda r: r.groups_initial.all_wrong_ratio)
    after = _points(steps, lambda r: r.groups_final.all_wrong_ratio)
    return [
        Chart(
            "Reward",
            "Mean over the step's rollouts, before rescue.",
            [Series("total", total, BLUE, trend=True), *parts],
            axis="reward",
        ),
        Chart(
            "All-wrong groups",
            "Share of a step's groups in which no rollout is right: nothing to learn from until hints rescue some.",
            [
                Series("before rescue", before, RED, trend=True),
                Series("after rescue", after, GREEN, dashed=True, trend=True),
            ],
            Unit.SHARE,
        ),
        Chart(
            "Token entropy",
            "Uncertainty of the policy before each update, at hint positions and at generated ones.",
            [
                Series("hint tokens", _points(steps, lambda r: r.entropy.hint), ORANGE),
                Series("generated tokens", _points(steps, lambda r: r.entropy.generated), BLUE, dashed=True),
            ],
            axis="nats per token",
        ),
        Chart(
            "Spread of reward within a group",
            "Mean standard deviation; at 0 every rollout of a group earns the same and the advantage vanishes.",
            [Series("standard deviation", _points(steps, lambda r: r.reward_group_stddev), PURPLE, trend=True)],
            axis="reward",
        ),
    ]


def _reward_parts(steps: Sequence[StepRecord], total: list[Point]) -> list[tuple[str, list[Point]]]:
    """Pick the reward functions that add something to see: neither all zero nor equal to the total."""
    names = dict.fromkeys(name for r in steps for name in r.reward_mean if name != "total")
    parts = [(name, [(float(r.step), r.reward_mean.get(name)) for r in steps]) for name in names]
    return [(name, points) for name, points in parts if any(y for _, y in points) and points != total]


def _set_name(record: EvaluationRecord) -> str:
    how = "greedy" if record.temperature == 0 else f"T {record.temperature:g}"
    return f"{record.dataset} ({record.samples} × {how})"


def evaluation_curves(records: Sequence[JournalRecord]) -> dict[str, list[EvaluationRecord]]:
    """Sort evaluations by data set, samples and temperature, each in step order; the selecting set first."""
    curves: dict[str, list[EvaluationRecord]] = {}
    for record in [*selection_curve(records), *(r for r in records if isinstance(r, EvaluationRecord))]:
        curve = curves.setdefault(_set_name(record), [])
        if record not in curve:
            curve.append(record)
    return curves


def _held_out(records: Sequence[JournalRecord]) -> list[Chart]:
    curves = evaluation_curves(records)
    accuracy = [
        Series(
            name,
            [(r.step, r.accuracy) for r in curve],
            (GREEN, BLUE, ORANGE, PURPLE, RED, TEAL, GOLD, GREY)[index % 8],
            band=[
                (r.step, r.interval_low, r.interval_high)
                for r in curve
                if r.interval_low is not None and r.interval_high is not None
            ],
        )
        for index, (name, curve) in enumerate(curves.items())
    ]
    selected = selection_curve(records)
    difficulties = sorted({name for r in selected for name in r.accuracy_by_difficulty})
    by_difficulty = [
        Series(name, [(r.step, r.accuracy_by_difficulty.get(name)) for r in selected], (index + 1) % 8)
        for index, name in enumerate(difficulties)
    ]
    wrong = all_wrong_curve(records)
    samples = wrong[0].samples if wrong else 0
    return [
        Chart("Accuracy", "Share of right completions; the band is a 95 % bootstrap interval over problems.", accuracy,
              Unit.SHARE),
        Chart("Accuracy by difficulty", "The selecting hold-out set, split by the problems' difficulty.", by_difficulty,
              Unit.SHARE),
        Chart(
            "All-wrong problems",
            f"Share of hold-out problems with no right answer in {samples} samples, without hints.",
            [Series("all wrong", [(r.step, r.all_wrong) for r in wrong], RED)],
            Unit.SHARE,
        ),
        Chart("Different answers per problem", f"Mean number among {samples} samples: what exploration is left.",
              [Series("different answers", [(r.step, r.distinct_answers) for r in wrong], PURPLE)]),
    ]  # fmt: skip


def _rescue(steps: Sequence[StepRecord]) -> list[Chart]:
    if not any(r.rescue.attempted for r in steps):
        return []
    return [
        Chart(
            "Rescued groups",
            "All-wrong groups of each step, by what their rescue came to.",
            [
                Series("rescued", _points(steps, lambda r: r.rescue.rescued), GREEN),
                Series("still wrong", _points(steps, lambda r: r.rescue.still_wrong), RED),
            ],
            Unit.COUNT,
            axis="groups",
            stacked=True,
        ),
        Chart(
            "Replaced completions",
            "Wrong rollouts of each step that gave way to verified ones.",
            [Series("replaced", _points(steps, lambda r: r.replaced), TEAL)],
            Unit.COUNT,
            axis="completions",
            stacked=True,
        ),
        Chart(
            "Hints",
            "η: share of a trace's chunks that was shown. Kept: share of hint positions that carry gradient (τ).",
            [
                Series("shown (η)", _points(steps, lambda r: r.hint_ratio), ORANGE),
                Series("kept by the entropy filter", _points(steps, _kept_share), BLUE, dashed=True),
            ],
            Unit.SHARE,
        ),
        Chart(
            "Groups without signal",
            "Share of groups whose rollouts all earn the same after rescue: no gradient but that of the KL.",
            [Series("no signal", _points(steps, _no_signal_share), GREY, trend=True)],
            Unit.SHARE,
        ),
    ]


def _kept_share(record: StepRecord) -> Measure:
    total = record.hint_tokens.kept + record.hint_tokens.filtered
    return record.hint_tokens.kept / total if total else None


def _no_signal_share(record: StepRecord) -> Measure:
    total = record.groups_final.total
    return record.no_signal / total if total else None


def _policy(steps: Sequence[StepRecord]) -> list[Chart]:
    return [
        Chart(
            "KL to the start policy",
            "k3 estimate per token.",
            [Series("KL", _points(steps, lambda r: r.kl), PURPLE, trend=True)],
            axis="nats per token",
        ),
        Chart(
            "Clipped positions",
            "Share of positions whose gradient the trust region removed.",
            [
                Series("hint", _points(steps, lambda r: r.clipped.hint), ORANGE),
                Series("generated", _points(steps, lambda r: r.clipped.generated), BLUE, dashed=True),
            ],
            Unit.SHARE,
        ),
        Chart(
            "Importance ratio",
            "Mean of new over old policy; 1 when they agree.",
            [
                Series("hint", _points(steps, lambda r: r.ratio.hint), ORANGE),
                Series("generated", _points(steps, lambda r: r.ratio.generated), BLUE, dashed=True),
            ],
            floor=None,
            limit=(1.0, "1"),
        ),
        Chart(
            "Loss",
            "Objective with KL, mean over the step's updates.",
            [Series("loss", _points(steps, lambda r: r.loss), RED, trend=True)],
            floor=None,
        ),
    ]


def _optimizer(steps: Sequence[StepRecord | SftStepRecord]) -> list[Chart]:
    norms: list[Point] = [(r.step, r.grad_norm) for r in steps]
    rates: list[Point] = [(r.step, r.learning_rate) for r in steps]
    return [
        Chart("Gradient norm", "Global L2 norm before clipping.", [Series("norm", norms, TEAL, trend=True)]),
        Chart("Learning rate", "Of the step's last update.", [Series("rate", rates, GREY)]),
    ]


def _sft_learning(steps: Sequence[SftStepRecord], records: Sequence[JournalRecord]) -> list[Chart]:
    if not steps:
        return []
    heldout: list[Point] = [(r.step, r.sft_loss) for r in selection_curve(records)]
    series = [Series("train", [(r.step, r.loss) for r in steps], BLUE, trend=True)]
    if any(y is not None for _, y in heldout):
        series.append(Series("held out", heldout, ORANGE, dashed=True))
    return [Chart("Loss", "Masked cross-entropy per answer token.", series, axis="nats per token")]


def _lengths(steps: Sequence[StepRecord], data: DataRecord | None) -> Chart:
    band = [
        (float(r.step), float(low), float(high))
        for r in steps
        if (low := length_quantile(r.completion_lengths, 0.1)) is not None
        and (high := length_quantile(r.completion_lengths, 0.9)) is not None
    ]
    mean = _points(steps, lambda r: mean_length(r.completion_lengths))
    return Chart(
        "Completion length",
        "Mean up to and including the end token; the band holds the middle 80 %.",
        [Series("mean", mean, BLUE, band=band)],
        Unit.TOKENS,
        axis="tokens",
        limit=None if data is None else (float(data.target_length), "canvas"),
    )


def _truncated(steps: Sequence[StepRecord]) -> Chart:
    def share(record: StepRecord) -> Measure:
        total = sum(record.completion_lengths.values())
        return record.truncated / total if total else None

    return Chart(
        "Truncated completions",
        "Share of rollouts that filled the canvas without an end token.",
        [Series("truncated", _points(steps, share), GOLD, trend=True)],
        Unit.SHARE,
    )


def _sft_lengths(steps: Sequence[SftStepRecord], data: DataRecord | None) -> Chart:
    note = "Mean of the batch's traces, end token included, against the canvas they are aligned to."
    if data is not None and data.context_traces:
        note += f" {data.context_traces} longer ones are trained on a canvas of {data.context_length} tokens."
    return Chart(
        "Trace length",
        note,
        [Series("mean", [(r.step, mean_length(r.example_lengths)) for r in steps], BLUE, trend=True)],
        Unit.TOKENS,
        axis="tokens",
        limit=(float(steps[-1].target_length), "canvas") if steps else None,
    )


def _phases(steps: Sequence[StepRecord | SftStepRecord]) -> Chart:
    used = [phase for phase in _PHASE_COLOURS if any(r.time.phases.get(phase) for r in steps)]
    return Chart(
        "Time of a step",
        "Seconds by phase, the slowest process's; evaluation and saving come on top.",
        [Series(phase, [(r.step, r.time.phases.get(phase)) for r in steps], _PHASE_COLOURS[phase]) for phase in used],
        Unit.SECONDS,
        axis="seconds",
        stacked=True,
    )


def _rewritten_lengths(record: RewriteRecord) -> Chart:
    """Two histograms over one axis. Traces beyond four canvases are gathered at its end: some are very long."""
    longest = max([*record.original_lengths, *record.kept_lengths], default=1)
    end = min(longest, _LENGTHS_SHOWN * record.target_length)
    width = max(1, -(-end // _LENGTH_BINS))

    def shares(lengths: Counter[int]) -> list[Point]:
        bins: Counter[int] = Counter()
        for length, count in lengths.items():
            bins[-(-min(length, end) // width) * width] += count
        return [(float(at), bins[at] / lengths.total()) for at in range(width, end + width, width)] if bins else []

    beyond = sum(count for length, count in record.original_lengths.items() if length > end)
    note = f" {beyond} longer originals are counted at the right end." if beyond else ""
    return Chart(
        "Trace length before and after",
        f"Share of traces by length in our tokens, end token included; the canvas has {record.target_length}.{note}",
        [
            Series("originals", shares(Counter(record.original_lengths)), GREY, dashed=True),
            Series("kept rewrites", shares(Counter(record.kept_lengths)), GREEN),
        ],
        Unit.SHARE,
        along="tokens",
    )
