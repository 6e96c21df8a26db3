"""Every metric of the trainer, declared once: exporter, docs/metrics.md, dashboards and alerts read this.

Labels `namespace`, `pod`, `training` and `kind` are added by the scrape from the pod's own labels. The trainer never
exports them: with `honorLabels: false` an exported `kind` would come out as `exported_kind`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from igpo_trainer.observe.records import Phase, State

RL: Final = "IGPOTraining"
SFT: Final = "LengthAlignedSFT"
SCRAPE_LABELS: Final = frozenset({"namespace", "pod", "training", "kind", "job", "instance", "container", "endpoint"})


class Type(StrEnum):
    """Prometheus metric types."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Label:
    """A label; `values` are all it can have, or those known beforehand when `open`."""

    name: str
    values: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family. `kinds`: the runs that have it. `when`: when a series exists; empty: always."""

    name: str
    type: Type
    unit: str
    help: str
    labels: tuple[Label, ...] = ()
    kinds: tuple[str, ...] = (RL, SFT)
    when: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels in declaration order."""
        return tuple(label.name for label in self.labels)


_G, _C, _H, _I = Type.GAUGE, Type.COUNTER, Type.HISTOGRAM, Type.INFO
_STAGE = Label("stage", ("initial", "final"))
_OUTCOME = Label("outcome", ("all_wrong", "all_correct", "mixed", "undecided"))
_SPLIT = Label("token", ("hint", "generated"))
_RANK = Label("rank", open=True)
_REWARD = Label("reward", ("total", "correctness", "format"), open=True)
_SET = (Label("dataset", ("holdout",), open=True), Label("samples", open=True), Label("temperature", open=True))
_STEP = "from the first finished step"
_HINTS = "hint: only after a step with hint positions; absent, not 0, otherwise"
_EVALUATED = "from the first evaluation of the set"
_REWRITING = "while traces are rewritten"
_REWRITES = "with spec.rewrite"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
_TOKENS = (8.0, 16.0, 32.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0, 1024.0, 2048.0, 4096.0)

IDENTITY = (
    Metric(
        "igpo_run_info", _I, "", "The run; join with group_left.",
        tuple(Label(n, open=True) for n in ("run", "run_kind", "algorithm", "model", "dataset", "seed", "spec_hash")),
    ),
    Metric("igpo_build_info", _I, "", "The code.", tuple(Label(n, open=True) for n in ("version", "python", "torch"))),
)  # fmt: skip

PROGRESS = (
    Metric("igpo_trainer_state", _G, "", "What the trainer is doing: 1 for one state, 0 for the others.",
           (Label("state", tuple(State)),)),
    Metric("igpo_trainer_step", _G, "steps", "Last finished step: a cycle of RL, an update of SFT."),
    Metric("igpo_trainer_planned_steps", _G, "steps", "Steps the run will take."),
    Metric("igpo_trainer_epoch", _G, "epochs", "Passes over the training problems.", when=_STEP),
    Metric("igpo_trainer_world_size", _G, "processes", "Processes of the job."),
    Metric("igpo_trainer_progress_total", _C, "units",
           "Work done: denoised blocks, micro-batches, evaluation batches, checkpoint files, rewritten rows. "
           "A run that does not move it hangs."),
    Metric("igpo_trainer_updates_total", _C, "updates", "Optimizer updates since this process started."),
    Metric("igpo_trainer_skipped_updates_total", _C, "updates", "Optimizer updates that were not made.",
           (Label("reason", ("nonfinite", "no_signal", "oom")),)),
    Metric("igpo_trainer_out_of_memory_total", _C, "events", "Out-of-memory errors that were caught; the batch shrank.",
           (Label("phase", tuple(Phase)),)),
    Metric("igpo_trainer_last_step_timestamp_seconds", _G, "Unix s", "When the last step ended.", when=_STEP),
    Metric("igpo_trainer_step_duration_seconds", _G, "s", "Duration of the last step, without evaluation and saving.",
           when=_STEP),
    Metric("igpo_trainer_phase_duration_seconds", _H, "s", "Seconds of a step by phase, the slowest rank's.",
           (Label("phase", tuple(Phase)),), buckets=_SECONDS),
    Metric("igpo_trainer_rank_step_duration_seconds", _G, "s", "Duration of the last step by rank.", (_RANK,),
           when=_STEP),
    Metric("igpo_trainer_gpu_memory_peak_bytes", _G, "bytes", "Peak GPU memory of the last step by rank.", (_RANK,),
           when="on GPUs"),
    Metric("igpo_trainer_tokens_total", _C, "tokens", "Tokens worked on.",
           (Label("token", ("prompt", "generated", "hint", "target")),)),
    Metric("igpo_trainer_checkpoints_total", _C, "checkpoints", "Complete checkpoints published."),
    Metric("igpo_trainer_checkpoint_failures_total", _C, "checkpoints", "Checkpoints that could not be published."),
    Metric("igpo_trainer_last_checkpoint_timestamp_seconds", _G, "Unix s", "When the newest complete checkpoint was "
           "published.", when="from the first checkpoint"),
    Metric("igpo_trainer_last_checkpoint_step", _G, "steps", "Step of the newest complete checkpoint.",
           when="from the first checkpoint"),
)  # fmt: skip

POLICY = (
    Metric("igpo_trainer_loss", _G, "", "Loss of the last step: RL objective with KL, or SFT's masked cross-entropy.",
           when=_STEP),
    Metric("igpo_trainer_gradient_norm", _G, "", "Global L2 norm before clipping, last step.", when=_STEP),
    Metric("igpo_trainer_learning_rate", _G, "", "Learning rate of the last update.", when=_STEP),
    Metric("igpo_token_entropy_nats", _G, "nats", "Mean token entropy of the last step, of the policy before its "
           "update.", (_SPLIT,), (RL,), _HINTS),
    Metric("igpo_clipped_tokens_ratio", _G, "0-1", "Share of positions whose gradient the clip removed.", (_SPLIT,),
           (RL,), _HINTS),
    Metric("igpo_importance_weight_mean", _G, "", "Mean importance ratio.", (_SPLIT,), (RL,), _HINTS),
    Metric("igpo_advantage_mean", _G, "reward", "Mean advantage per position.", (_SPLIT,), (RL,), _HINTS),
    Metric("igpo_kl_divergence_nats", _G, "nats", "Mean k3 KL per token to the policy at step 0.", (), (RL,),
           "objective.klCoefficient above 0"),
)  # fmt: skip

REWARDS = (
    Metric("igpo_reward_mean", _G, "reward", "Mean reward of the last step's rollouts before rescue; total is the "
           "weighted sum.", (_REWARD,), (RL,), _STEP),
    Metric("igpo_reward_group_stddev", _G, "reward", "Mean standard deviation of the total reward within a group; "
           "0: nothing to learn from.", (), (RL,), _STEP),
    Metric("igpo_reward_errors_total", _C, "calls", "Reward calls that failed.",
           (Label("reward", ("correctness", "format"), open=True),), (RL,)),
    Metric("igpo_completions_total", _C, "completions", "Completions by verdict before and after rescue.",
           (_STAGE, Label("verdict", ("right", "wrong", "unjudged"))), (RL,)),
    Metric("igpo_unjudged_completions_total", _C, "completions", "Completions that got no verdict; they leave mean "
           "and loss.", (Label("reason", ("deadline", "crash"), open=True),), (RL,)),
    Metric("igpo_completions_truncated_total", _C, "completions", "Rollouts without an end token.", (), (RL,)),
    Metric("igpo_completion_length_tokens", _H, "tokens", "Rollout lengths up to and including the end token.", (),
           (RL,), buckets=_TOKENS),
)  # fmt: skip

RESCUE = (
    Metric("igpo_groups_total", _C, "groups", "Groups before (initial) and after (final) rescue.", (_STAGE, _OUTCOME),
           (RL,)),
    Metric("igpo_step_groups_ratio", _G, "0-1", "The same for the last step alone, as shares.", (_STAGE, _OUTCOME),
           (RL,), _STEP),
    Metric("igpo_no_signal_groups_total", _C, "groups", "Groups of equal reward after rescue: no gradient but KL.", (),
           (RL,)),
    Metric("igpo_rescue_attempts_total", _C, "groups", "All-wrong groups that were given hints (Resample: fresh "
           "samples).", (Label("result", ("rescued", "still_wrong")),), (RL,)),
    Metric("igpo_replaced_completions_total", _C, "completions", "Wrong rollouts replaced by right ones.", (), (RL,)),
    Metric("igpo_empty_hints_total", _C, "completions", "Rescue rollouts left with no hint token.", (), (RL,)),
    Metric("igpo_hint_length_ratio", _G, "0-1", "Mean share η of chunks injected in the last step.", (), (RL,),
           "after a step with rescue by hints"),
    Metric("igpo_hint_tokens_total", _C, "tokens", "Hint positions of replacing completions, by entropy filter.",
           (Label("state", ("kept", "filtered")),), (RL,)),
)  # fmt: skip

EVALUATION = (
    Metric("igpo_eval_accuracy_ratio", _G, "0-1", "pass@1, or avg@k when samples is above 1.", _SET, when=_EVALUATED),
    Metric("igpo_eval_all_wrong_ratio", _G, "0-1", "Share of problems with no right sample.", _SET,
           when=f"{_EVALUATED}, samples above 1"),
    Metric("igpo_eval_pass_ratio", _G, "0-1", "pass@k: share of problems with a right sample.", _SET,
           when=f"{_EVALUATED}, samples above 1"),
    Metric("igpo_eval_last_step", _G, "steps", "Finished steps of the policy that was measured last.", _SET,
           when=_EVALUATED),
)  # fmt: skip

FINE_TUNING = (
    Metric("igpo_sft_loss", _G, "nats", "Masked cross-entropy per answer token.", (Label("split", ("train", "eval")),),
           (SFT,), "train: from the first step; eval: from the first evaluation, on held-out traces that fit a canvas"),
    Metric("igpo_sft_target_length_tokens", _G, "tokens", "Canvas length that traces are aligned to.", (), (SFT,),
           "from the first step"),
    Metric("igpo_sft_length_deviation_tokens", _G, "tokens", "Mean trace length of the last batch minus the target.",
           (), (SFT,), _STEP),
    Metric("igpo_sft_example_length_tokens", _H, "tokens", "Lengths of the traces trained on.", (), (SFT,),
           buckets=_TOKENS),
    Metric("igpo_sft_rewrite_rows", _G, "rows", "Traces to rewrite, equal ones once.", (), (SFT,), _REWRITING),
    Metric("igpo_sft_rewrite_done_rows", _G, "rows", "Traces that the teacher has answered or refused: in this "
           "process, or before it.", (Label("source", ("teacher", "cache")),), (SFT,), _REWRITING),
    Metric("igpo_sft_kept_rewrites", _G, "rows", "Rewrites that verify and fit, as far as they were looked at.", (),
           (SFT,), _REWRITES),
    Metric("igpo_sft_dropped_rewrites_total", _C, "rows", "Traces of a finished rewrite that are left out.",
           (Label("reason", open=True),), (SFT,)),
    Metric("igpo_sft_rewrite_length_tokens", _H, "tokens", "Lengths of traces before rewriting, and of the rewrites "
           "that are kept.", (Label("stage", ("original", "kept")),), (SFT,), buckets=_TOKENS),
    Metric("igpo_sft_teacher_requests_total", _C, "requests", "Requests to the teacher.",
           (Label("attempt", ("first", "repeated")),), (SFT,)),
    Metric("igpo_sft_teacher_tokens", _G, "tokens", "The teacher's tokens spent over all attempts, read and written.",
           (), (SFT,), _REWRITES),
    Metric("igpo_sft_teacher_token_budget", _G, "tokens", "rewrite.tokenBudget.", (), (SFT,),
           "while traces are rewritten, with a budget"),
    Metric("igpo_sft_examples_total", _C, "examples", "Traces by what length alignment did with them.",
           (Label("result", ("kept", "rewritten", "dropped")),), (SFT,)),
)  # fmt: skip

SECTIONS: Final[dict[str, tuple[Metric, ...]]] = {
    "Identity": IDENTITY,
    "Progress and time": PROGRESS,
    "Reward": REWARDS,
    "Groups and rescue": RESCUE,
    "Policy": POLICY,
    "Evaluation": EVALUATION,
    "Fine-tuning": FINE_TUNING,
}
METRICS: Final[dict[str, Metric]] = {m.name: m for section in SECTIONS.values() for m in section}


def metrics_of(kind: str) -> tuple[Metric, ...]:
    """Pick the metrics that a run of this kind has."""
    return tuple(metric for metric in METRICS.values() if kind in metric.kinds)
