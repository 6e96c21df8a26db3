"""What one step, evaluation or checkpoint leaves behind: the journal's lines, and the source of every metric and plot.

All wall-clock and machine data lives under `time`, so that everything else is bit-identical after a resume.
A measured number is None where it does not exist (no hint tokens, β = 0): never a made-up 0.
"""

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from igpo_trainer.observe.lengths import LengthCounts

Measure = float | None
"""A measured number; None where it does not exist. Non-finite values are written to the journal as null."""

Measurement = tuple[str, int, float]
"""Data set, samples a problem, temperature: what two evaluations must have in common to be compared."""


class Phase(StrEnum):
    """Where the time of a step goes."""

    DATA = "data"
    REWRITE = "rewrite"
    ROLLOUT = "rollout"
    JUDGE = "judge"
    RESCUE = "rescue"
    LOGPROB = "logprob"
    UPDATE = "update"
    EVALUATE = "evaluate"
    CHECKPOINT = "checkpoint"


class State(StrEnum):
    """What the trainer is doing: each phase, and the ends of the run. `stage` of /status."""

    STARTING = "starting"
    DATA = "data"
    REWRITE = "rewrite"
    ROLLOUT = "rollout"
    JUDGE = "judge"
    RESCUE = "rescue"
    LOGPROB = "logprob"
    UPDATE = "update"
    EVALUATE = "evaluate"
    CHECKPOINT = "checkpoint"
    FINISHED = "finished"
    FAILED = "failed"


def finite(value: Measure) -> float | None:
    """Return the value, or None when it is absent, infinite or not a number."""
    return value if value is not None and math.isfinite(value) else None


class Record(BaseModel):
    """Base of everything here: immutable, unknown fields refused, non-finite numbers serialised as null."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Time(Record):
    """Wall-clock data of one journal line."""

    at: float = Field(description="When the event ended, Unix seconds.")
    seconds: float = Field(default=0.0, description="Duration of the event itself, in seconds; events do not overlap.")


class StepTime(Time):
    """Wall-clock and machine data of one step."""

    phases: dict[Phase, float] = Field(default_factory=dict, description="Seconds by phase, the slowest rank's.")
    rank_seconds: tuple[float, ...] = Field(default=(), description="Step duration of every rank, in seconds.")
    gpu_memory_peak_bytes: tuple[int, ...] = Field(
        default=(), description="Peak GPU memory of every rank; empty on CPU."
    )


class StartTime(Time):
    """Set-up time, and the job's shape at the first attempt."""

    world_size: int = Field(default=1, description="Processes of the job.")
    threads: int = Field(
        default=0, description="Threads of one process on a CPU, 0 when unknown: the order of sums depends on them."
    )


class EvaluationTime(Time):
    """Wall-clock data of an evaluation, and what computed it: other devices round otherwise."""

    world_size: int = Field(default=1, description="Processes that sampled.")
    device: str = Field(default="", description="cpu, or the GPU's name and the CUDA version.")


class GroupCounts(Record):
    """Groups of a step by outcome."""

    all_wrong: int = Field(default=0, description="Every rollout judged, none right.")
    all_correct: int = Field(default=0, description="Every rollout judged, all right.")
    mixed: int = Field(default=0, description="At least one right and one wrong.")
    undecided: int = Field(default=0, description="Judged rollouts agree, but some are unjudged; or none is judged.")

    @property
    def total(self) -> int:
        """Groups of the step."""
        return self.all_wrong + self.all_correct + self.mixed + self.undecided

    @property
    def all_wrong_ratio(self) -> float | None:
        """Share of all-wrong groups, 0 to 1; None without groups."""
        return self.all_wrong / self.total if self.total else None


class VerdictCounts(Record):
    """Completions of a step by verdict."""

    right: int = 0
    wrong: int = 0
    unjudged: int = 0

    @property
    def total(self) -> int:
        """Completions of the step."""
        return self.right + self.wrong + self.unjudged


class RescueCounts(Record):
    """All-wrong groups that were rescued, or not."""

    attempted: int = Field(default=0, description="Groups given hints (IGPO) or fresh samples (Resample).")
    rescued: int = Field(default=0, description="Groups with at least one verified replacement.")
    still_wrong: int = Field(default=0, description="Groups without any.")


class HintTokens(Record):
    """Hint positions of the replacing completions, by what the entropy filter did with them."""

    kept: int = Field(default=0, description="Carry gradient.")
    filtered: int = Field(default=0, description="Carry none.")


class TokenCounts(Record):
    """Tokens worked on in a step."""

    prompt: int = Field(default=0, description="Prompt tokens, each rollout's counted.")
    generated: int = Field(default=0, description="Sampled tokens up to and including the end token.")
    hint: int = Field(default=0, description="Tokens set as hints.")
    target: int = Field(default=0, description="SFT: trace tokens that are learnt, the end tail included.")


class Split(Record):
    """A mean over hint positions and one over generated positions."""

    hint: Measure = Field(default=None, description="None when the step had no hint position.")
    generated: Measure = None


class StartRecord(Record):
    """First line of a journal."""

    event: Literal["start"] = "start"
    step: int = 0
    kind: str = Field(description="IGPOTraining or LengthAlignedSFT.")
    name: str = Field(description="metadata.name of the manifest.")
    seed: int
    planned_steps: int = Field(description="Steps the run will take.")
    spec: dict[str, JsonValue] = Field(description="The resolved spec as in the manifest (camelCase).")
    time: StartTime


class RewriteRecord(Record):
    """What came of rewriting the training traces by a teacher, before SFT."""

    event: Literal["rewrite"] = "rewrite"
    step: int = 0
    teacher: str = Field(description="Model name.")
    base_url: str = Field(description="Endpoint of the teacher.")
    prompt_hash: str = Field(description="sha256 of the instruction, hex.")
    rows: int = Field(description="Traces to rewrite.")
    kept: int = Field(description="Rewrites that verify, fit the canvas and are no duplicates.")
    dropped: dict[str, int] = Field(default_factory=dict, description="Traces left out, by reason.")
    original_lengths: LengthCounts = Field(
        default_factory=dict, description="Trace lengths before, in our tokens, end token included."
    )
    kept_lengths: LengthCounts = Field(default_factory=dict, description="The same of the rewrites that were kept.")
    prompt_tokens: int = Field(default=0, description="Read by the teacher, in its tokens, over all attempts.")
    completion_tokens: int = Field(default=0, description="Written by the teacher, likewise.")
    target_length: int = Field(description="Canvas length L in tokens.")
    time: Time


class DataRecord(Record):
    """The training data as it came out of reading, rewriting and filtering."""

    event: Literal["data"] = "data"
    step: int = 0
    problems: int = Field(description="Training problems that are used.")
    heldout: int = Field(default=0, description="Problems cut off for evaluation.")
    rewritten: int = Field(default=0, description="Traces written by the teacher, out of problems.")
    dropped: dict[str, int] = Field(default_factory=dict, description="Rows left out, by reason.")
    unmeasured: dict[str, dict[str, int]] = Field(
        default_factory=dict, description="Rows left out of evaluation sets, by source and reason."
    )
    overlong_traces: int = Field(default=0, description="Traces beyond the canvas: only their head can be a hint.")
    trace_lengths: LengthCounts = Field(
        default_factory=dict, description="Trace lengths in tokens, end token included."
    )
    target_length: int = Field(description="Canvas length L in tokens.")
    context_length: int | None = Field(
        default=None, description="Canvas of longer traces in tokens; None but under length.originals: Context."
    )
    time: Time

    @property
    def context_traces(self) -> int:
        """SFT traces that are trained on the longer canvas."""
        if self.context_length is None:
            return 0
        return sum(count for length, count in self.trace_lengths.items() if length > self.target_length)


class StepRecord(Record):
    """One cycle of RL, reduced over all processes."""

    event: Literal["step"] = "step"
    step: int = Field(ge=1, description="Cycle, from 1.")
    epoch: Measure = Field(default=None, description="Passes over the training problems so far.")
    reward_mean: dict[str, Measure] = Field(
        description="Mean by reward name over judged rollouts before rescue; `total` is the weighted sum."
    )
    reward_group_stddev: Measure = Field(default=None, description="Mean standard deviation of total within a group.")
    groups_initial: GroupCounts = Field(description="Before rescue.")
    groups_final: GroupCounts = Field(description="After rescue: what the update sees.")
    completions_initial: VerdictCounts = Field(description="Rollouts before rescue.")
    completions_final: VerdictCounts = Field(description="Rollouts after replacement.")
    unjudged: dict[str, int] = Field(default_factory=dict, description="Unjudged rollouts by reason, rescue included.")
    reward_errors: dict[str, int] = Field(default_factory=dict, description="Failed reward calls by reward name.")
    no_signal: int = Field(default=0, description="Groups of equal reward after rescue: no gradient but KL.")
    rescue: RescueCounts = RescueCounts()
    replaced: int = Field(default=0, description="Wrong rollouts replaced by verified ones.")
    hint_ratio: Measure = Field(default=None, description="Mean share η of chunks injected; None without rescue.")
    empty_hints: int = Field(default=0, description="Rescue rollouts left with no hint token.")
    hint_tokens: HintTokens = HintTokens()
    entropy: Split = Field(description="Mean token entropy in nats, of the policy before the update.")
    ratio: Split = Field(default=Split(), description="Mean importance ratio over the step's updates.")
    clipped: Split = Field(default=Split(), description="Share of positions whose gradient the clip removed.")
    advantage: Split = Field(default=Split(), description="Mean advantage per position.")
    kl: Measure = Field(default=None, description="Mean k3 KL to the start policy, nats per token; None if β is 0.")
    loss: Measure = Field(default=None, description="Objective with KL, mean over the step's updates.")
    grad_norm: Measure = Field(default=None, description="Global L2 norm before clipping, mean over the updates.")
    learning_rate: Measure = Field(default=None, description="Rate of the step's last update.")
    updates: int = Field(default=0, description="Optimizer updates made in this step.")
    completion_lengths: LengthCounts = Field(default_factory=dict, description="Rollout lengths |o| before rescue.")
    truncated: int = Field(default=0, description="Rollouts before rescue without an end token.")
    tokens: TokenCounts = TokenCounts()
    time: StepTime


class SftStepRecord(Record):
    """One optimizer update of SFT, reduced over all processes."""

    event: Literal["sft_step"] = "sft_step"
    step: int = Field(ge=1, description="Update, from 1.")
    epoch: Measure = Field(default=None, description="Passes over the kept traces so far.")
    loss: Measure = Field(description="Masked cross-entropy over p(t), nats per answer token.")
    grad_norm: Measure = Field(default=None, description="Global L2 norm before clipping.")
    learning_rate: Measure = None
    updates: int = Field(default=1, description="Optimizer updates made in this step.")
    examples: int = Field(default=0, description="Traces in the batch.")
    target_length: int = Field(description="Canvas length in tokens, of the traces that fit it.")
    example_lengths: LengthCounts = Field(default_factory=dict, description="Trace lengths with end token, no tail.")
    tokens: TokenCounts = TokenCounts()
    time: StepTime


class EvaluationRecord(Record):
    """One measurement of the policy on one data set."""

    event: Literal["evaluation"] = "evaluation"
    step: int = Field(ge=0, description="Finished steps of the measured policy; 0 is the start.")
    dataset: str = Field(description="holdout, or the set's source with configuration and split.")
    samples: int = Field(default=1, description="Completions per problem, k.")
    temperature: float = Field(default=0.0, description="Sampling temperature; 0 is greedy.")
    problems: int
    accuracy: Measure = Field(description="Mean over problems of the share of right samples: pass@1 or avg@k.")
    interval_low: Measure = Field(default=None, description="95 % bootstrap interval over problems, lower end.")
    interval_high: Measure = Field(default=None, description="Upper end.")
    right: tuple[int, ...] = Field(
        default=(), description="Right samples of each problem, in the set's order: runs can be compared in pairs."
    )
    accuracy_by_difficulty: dict[str, Measure] = Field(default_factory=dict)
    interval_by_difficulty: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="95 % bootstrap interval of each accuracy over the problems of its kind."
    )
    problems_by_difficulty: dict[str, int] = Field(default_factory=dict)
    all_wrong: Measure = Field(default=None, description="Share of problems with no right sample; None when k is 1.")
    pass_at_k: Measure = Field(default=None, description="Share of problems with a right sample; None when k is 1.")
    pass_low: Measure = Field(default=None, description="95 % bootstrap interval of pass_at_k, lower end.")
    pass_high: Measure = Field(default=None, description="Upper end.")
    pass_curve: dict[int, float] = Field(
        default_factory=dict, description="Unbiased pass@j by j, 1 to k in powers of two; empty when k is 1."
    )
    pass_by_difficulty: dict[str, Measure] = Field(default_factory=dict, description="pass_at_k of each difficulty.")
    distinct_answers: Measure = Field(default=None, description="Mean number of different answers per problem.")
    unjudged: int = Field(default=0, description="Completions without a verdict; they count as not right.")
    completion_lengths: LengthCounts = Field(default_factory=dict, description="Lengths |o| in tokens.")
    truncated: int = Field(default=0, description="Completions without an end token.")
    sft_loss: Measure = Field(
        default=None,
        description="SFT: masked cross-entropy on the held-out traces as the data set has them, in nats per token.",
    )
    seed: int = Field(description="Seed of the samples.")
    denoising_steps: int
    block_length: int
    completion_length: int = Field(description="Canvas length L in tokens.")
    remasking: str = Field(default="LowConfidence", description="Which predictions a step keeps.")
    cfg_scale: float = Field(default=0.0, description="Classifier-free guidance weight; 0 is off.")
    cache: str = Field(default="None", description="None: sampled exactly. Prefix, Dual: approximately.")
    confidence_threshold: float | None = Field(
        default=None, description="Probability from which a prediction was kept beyond the quota; None: none was."
    )
    rows: int = Field(default=0, description="Canvases per forward; 0 when unknown. Never changes the result.")
    time: EvaluationTime

    @property
    def measurement(self) -> Measurement:
        """What was measured, and how."""
        return self.dataset, self.samples, self.temperature


class CheckpointRecord(Record):
    """A complete checkpoint was published."""

    event: Literal["checkpoint"] = "checkpoint"
    step: int
    name: str = Field(description="Folder name.")
    best: bool = Field(default=False, description="Best by held-out accuracy so far.")
    time: Time


class EndRecord(Record):
    """Last line of a finished run's journal."""

    event: Literal["end"] = "end"
    step: int
    time: Time


JournalRecord = Annotated[
    StartRecord
    | RewriteRecord
    | DataRecord
    | StepRecord
    | SftStepRecord
    | EvaluationRecord
    | CheckpointRecord
    | EndRecord,
    Field(discriminator="event"),
]
JOURNAL: TypeAdapter[JournalRecord] = TypeAdapter(JournalRecord)
