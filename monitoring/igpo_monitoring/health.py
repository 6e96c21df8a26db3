"""IGPO / Training health: is this run learning, and if not, why not."""

from typing import Final

from igpo_monitoring.board import Board, Row
from igpo_monitoring.gpus import GPU_PANELS
from igpo_monitoring.panels import GREEN, RED, YELLOW, Looks, Query, lengths, lines, number, stack, timeline
from igpo_monitoring.promql import LEGEND, SELECTED, count, last, of_runs, rate, share

_ALL_WRONG: Final = "namespace_kind_training_stage:igpo_groups_all_wrong_per_groups:ratio_increase1h"
_NO_SIGNAL: Final = "namespace_kind_training:igpo_no_signal_groups_per_groups:ratio_increase1h"
_RESCUED: Final = "namespace_kind_training:igpo_rescue_attempts_rescued_per_attempts:ratio_increase2h"
_SMOOTH: Final = "namespace_kind_training:igpo_reward_mean:avg_over_time1h"
_RL: Final = 'kind="IGPOTraining"'
"""For metrics that SFT has too: this dashboard is not about it."""
_WRONG: Final = ((None, GREEN), (0.4, YELLOW), (0.6, RED))
_OUTCOMES: Final = (("all_wrong", RED), ("mixed", GREEN), ("all_correct", "blue"), ("undecided", "text"))
_PERCENT: Final = Looks(unit="percentunit", low=0, high=1)


def _big(unit: str, *steps: tuple[float | None, str]) -> Looks:
    return Looks(
        unit=unit, width=6, height=6, steps=steps or ((None, "blue"),), decimals=1 if unit == "percentunit" else 3
    )


_VERDICT = Row(
    "Is it learning?",
    (
        number("Reward", "Mean reward of the last step's rollouts, before rescue.",
               Query(last("igpo_reward_mean", 'reward="total"'), LEGEND), _big("none")),
        number("All-wrong groups before rescue", "Share of groups in which every rollout was wrong: no gradient "
               "without rescue.",
               Query(last("igpo_step_groups_ratio", 'stage="initial"', 'outcome="all_wrong"'), LEGEND),
               _big("percentunit", *_WRONG)),
        number("All-wrong groups after rescue", "The same after verified hinted completions have replaced wrong ones: "
               "what rescue left without a gradient.",
               Query(last("igpo_step_groups_ratio", 'stage="final"', 'outcome="all_wrong"'), LEGEND),
               _big("percentunit", *_WRONG)),
        number("Hint-token entropy", "Mean entropy of the policy at hint positions. Near 0 the policy already knows "
               "the hints, and they teach nothing. Absent while no step has hints.",
               Query(last("igpo_token_entropy_nats", 'token="hint"'), LEGEND),
               _big("none", (None, RED), (0.05, YELLOW), (0.1, GREEN))),
    ),
)  # fmt: skip

_STRIP = Row(
    "Now",
    (
        number("Step", "Last finished step: a cycle of rollouts and its updates.",
               Query(last("igpo_trainer_step", _RL), LEGEND), Looks(unit="none", width=3, height=4), spark=False),
        number("Time left", "Steps left times the duration of the last one; evaluation and saving not counted.",
               Query(f"({last('igpo_trainer_planned_steps', _RL)} - {last('igpo_trainer_step', _RL)}) * "
                     f"{last('igpo_trainer_step_duration_seconds', _RL)}", LEGEND),
               Looks(unit="s", width=3, height=4), spark=False),
        number("Since the last step", "How old the last finished step is.",
               Query(f"time() - {last('igpo_trainer_last_step_timestamp_seconds', _RL)}", LEGEND),
               Looks(unit="s", width=3, height=4, steps=((None, GREEN), (300, YELLOW), (900, RED))), spark=False),
        number("No signal, 1 h", "Share of groups of equal reward after rescue: they move nothing but the KL term.",
               Query(of_runs(_NO_SIGNAL), LEGEND),
               Looks(unit="percentunit", width=3, height=4, steps=((None, GREEN), (0.7, YELLOW), (0.9, RED)))),
        number("Rescued, 2 h", "Share of all-wrong groups that hints have rescued.", Query(of_runs(_RESCUED), LEGEND),
               Looks(unit="percentunit", width=3, height=4, steps=((None, RED), (0.1, YELLOW), (0.3, GREEN)))),
        number("Generated entropy", "Mean entropy of the policy at generated positions. Near 0 all rollouts are alike.",
               Query(last("igpo_token_entropy_nats", 'token="generated"'), LEGEND),
               Looks(unit="none", width=3, height=4, decimals=3, steps=((None, RED), (0.02, YELLOW), (0.1, GREEN)))),
        number("Held-out accuracy", "Accuracy on the held-out rows at the last evaluation.",
               Query(last("igpo_eval_accuracy_ratio", _RL, 'dataset="holdout"'), LEGEND),
               Looks(unit="percentunit", width=3, height=4, steps=((None, "blue"),))),
        number("Firing alerts", "Alerts of the chosen runs; each has a runbook.",
               Query(f'count(ALERTS{{alertname=~"IGPO.+", alertstate="firing", {SELECTED}}}) or vector(0)'),
               Looks(unit="none", width=3, height=4, steps=((None, GREEN), (1, RED))), spark=False),
    ),
)  # fmt: skip

_REWARD = Row(
    "Reward",
    (
        lines("Reward by function", "Mean reward of the last step by reward function; total is their weighted sum.",
              [Query(last("igpo_reward_mean", by="reward"), f"{LEGEND} {{{{reward}}}}")], Looks(unit="none")),
        lines("Reward, hourly mean, and spread in a group", "Mean over an hour, and the mean standard deviation within "
              "a group: without spread there is nothing to learn from.",
              [Query(of_runs(_SMOOTH), f"{LEGEND} mean 1 h"),
               Query(last("igpo_reward_group_stddev"), f"{LEGEND} spread")], Looks(unit="none")),
        lines("Evaluation", "Accuracy by data set: pass@1, or avg@k with more than one sample.",
              [Query(last("igpo_eval_accuracy_ratio", _RL, by="dataset, samples, temperature"),
                     f"{LEGEND} {{{{dataset}}}} ×{{{{samples}}}}")], _PERCENT),
    ),
)  # fmt: skip

_GROUPS = Row(
    "Groups and hints",
    (
        stack("Groups before rescue", "Outcomes of the sampled groups.",
              [Query(count("igpo_groups_total", 'stage="initial"', by="outcome"), f"{LEGEND} {{{{outcome}}}}")],
              Looks(unit="short", width=8, steps=((None, "blue"),), colors=_OUTCOMES), percent=True),
        stack("Groups after rescue", "The same after rescue. All-wrong groups that have become mixed are what IGPO "
              "adds.",
              [Query(count("igpo_groups_total", 'stage="final"', by="outcome"), f"{LEGEND} {{{{outcome}}}}")],
              Looks(unit="short", width=8, steps=((None, "blue"),), colors=_OUTCOMES), percent=True),
        lines("All-wrong groups, 1 h", "Before (initial) and after (final) rescue, over an hour; alerts look at this.",
              [Query(of_runs(_ALL_WRONG), f"{LEGEND} {{{{stage}}}}")],
              Looks(unit="percentunit", width=8, low=0, high=1, steps=_WRONG,
                    colors=(("initial", "orange"), ("final", GREEN))), marks=True),
        lines("Rescue", "All-wrong groups by what hints did for them.",
              [Query(count("igpo_rescue_attempts_total", by="result"), f"{LEGEND} {{{{result}}}}")],
              Looks(unit="short", width=8, colors=(("rescued", GREEN), ("still_wrong", RED)))),
        lines("Injected share η", "Mean share of the trace's chunks that were injected.",
              [Query(last("igpo_hint_length_ratio"), LEGEND)], Looks(unit="percentunit", width=8, low=0, high=1)),
        lines("Hint positions that carry gradient", "Share that the entropy filter keeps; near hints.entropyKeepRatio.",
              [Query(share(count("igpo_hint_tokens_total", 'state="kept"'), count("igpo_hint_tokens_total")), LEGEND)],
              Looks(unit="percentunit", width=8, low=0, high=1)),
        lines("Replaced completions", "Wrong rollouts replaced by verified hinted ones.",
              [Query(count("igpo_replaced_completions_total"), LEGEND)], Looks(unit="short", width=12)),
        lines("Empty hints", "Rescue rollouts left without a hint token: the trace is too short for hints.chunkTokens.",
              [Query(count("igpo_empty_hints_total"), LEGEND)], Looks(unit="short", width=12)),
    ),
)  # fmt: skip

_POLICY = Row(
    "Policy",
    (
        lines("Token entropy", "Of the policy before the update, at hint and at generated positions.",
              [Query(last("igpo_token_entropy_nats", by="token"), f"{LEGEND} {{{{token}}}}")],
              Looks(unit="none", width=6)),
        lines("Clipped positions", "Share of positions whose gradient the clip removed.",
              [Query(last("igpo_clipped_tokens_ratio", by="token"), f"{LEGEND} {{{{token}}}}")],
              Looks(unit="percentunit", width=6, low=0)),
        lines("Importance ratio", "Mean over the step's updates; 1 where the policy has not moved.",
              [Query(last("igpo_importance_weight_mean", by="token"), f"{LEGEND} {{{{token}}}}")],
              Looks(unit="none", width=6)),
        lines("Advantage", "Mean per position; positive at hints, since only right completions carry them.",
              [Query(last("igpo_advantage_mean", by="token"), f"{LEGEND} {{{{token}}}}")], Looks(unit="none", width=6)),
        lines("KL to the start", "Nats per token; absent when objective.klCoefficient is 0.",
              [Query(last("igpo_kl_divergence_nats"), LEGEND)], Looks(unit="none", width=6)),
        lines("Gradient norm", "Before clipping, logarithmic.",
              [Query(last("igpo_trainer_gradient_norm", _RL), LEGEND)], Looks(unit="none", width=6), log=True),
        lines("Loss", "Objective with KL.", [Query(last("igpo_trainer_loss", _RL), LEGEND)],
              Looks(unit="none", width=6)),
        lines("Learning rate", "Of the last update.", [Query(last("igpo_trainer_learning_rate", _RL), LEGEND)],
              Looks(unit="sci", width=6, decimals=1)),
    ),
)  # fmt: skip

_THROUGHPUT = Row(
    "Throughput",
    (
        lines("Tokens per second", "Prompt, generated and hint tokens.",
              [Query(rate("igpo_trainer_tokens_total", _RL, by="token"), f"{LEGEND} {{{{token}}}}")],
              Looks(unit="short", height=9)),
        lines("Step time", "Duration of the last step, without evaluation and saving.",
              [Query(last("igpo_trainer_step_duration_seconds", _RL), LEGEND)], Looks(unit="s", height=9, low=0)),
        stack("Where the time goes", "Share of each phase in the phases that have ended.",
              [Query(f'{rate("igpo_trainer_phase_duration_seconds_sum", _RL, by="phase")} > 0',
                     f"{LEGEND} {{{{phase}}}}")],
              Looks(unit="s", height=9, steps=((None, "blue"),)), percent=True),
    ),
)  # fmt: skip

_COMPLETIONS = Row(
    "Completions",
    (
        lengths("Rollout lengths", "Tokens up to and including the end token, of the chosen runs together.",
                f"sum by (le) (increase({of_runs('igpo_completion_length_tokens_bucket')}"
                "[$__rate_interval]))", Looks(unit="short", width=12)),
        lines("Truncated rollouts", "Share without an end token; alerts above 30 %.",
              [Query(share(count("igpo_completions_truncated_total"),
                           count("igpo_completions_total", 'stage="initial"')), LEGEND)],
              Looks(unit="percentunit", width=12, low=0, high=1, steps=((None, GREEN), (0.3, RED))), marks=True),
        stack("Verdicts", "Rollouts before rescue by verdict.",
              [Query(count("igpo_completions_total", 'stage="initial"', by="verdict"), f"{LEGEND} {{{{verdict}}}}")],
              Looks(unit="short", width=12, colors=(("right", GREEN), ("wrong", RED), ("unjudged", "text"))),
              percent=True),
        lines("Judging trouble", "Completions without a verdict by reason, and failed reward calls by reward.",
              [Query(count("igpo_unjudged_completions_total", by="reason"), f"{LEGEND} unjudged: {{{{reason}}}}"),
               Query(count("igpo_reward_errors_total", by="reward"), f"{LEGEND} failed: {{{{reward}}}}")],
              Looks(unit="short", width=12, low=0, roof=1, decimals=0)),
    ),
)  # fmt: skip

_DURABILITY = Row(
    "Durability",
    (
        timeline("State", "What the trainer is doing.",
                 Query(f"{last('igpo_trainer_state', _RL, by='state')} == 1", f"{LEGEND} {{{{state}}}}"),
                 Looks(unit="none", width=12, height=9)),
        lines("Since the last checkpoint", "Work that a failure would cost.",
              [Query(f"time() - {last('igpo_trainer_last_checkpoint_timestamp_seconds', _RL)}", LEGEND)],
              Looks(unit="s", width=6, height=9, steps=((None, GREEN), (7200, RED))), marks=True),
        lines("Checkpoints", "Published, and failed to be.",
              [Query(count("igpo_trainer_checkpoints_total", _RL), f"{LEGEND} published"),
               Query(count("igpo_trainer_checkpoint_failures_total", _RL), f"{LEGEND} failed")],
              Looks(unit="short", width=6, height=9, low=0, roof=1, decimals=0)),
        lines("Restarts", "By cause, since the beginning.",
              [Query(last("igpo_operator_run_restarts_total", _RL, by="reason"), f"{LEGEND} {{{{reason}}}}")],
              Looks(unit="short", height=9, low=0, roof=1, decimals=0)),
        lines("Skipped updates", "Optimizer updates that were not made, by reason.",
              [Query(count("igpo_trainer_skipped_updates_total", _RL, by="reason"), f"{LEGEND} {{{{reason}}}}")],
              Looks(unit="short", height=9, low=0, roof=1, decimals=0)),
        lines("Out of memory", "Errors that a smaller batch has cured, by phase.",
              [Query(count("igpo_trainer_out_of_memory_total", _RL, by="phase"), f"{LEGEND} {{{{phase}}}}")],
              Looks(unit="short", height=9, low=0, roof=1, decimals=0)),
    ),
)  # fmt: skip

HEALTH: Final = Board(
    uid="igpo-training-health",
    title="Training health",
    text="One run, or a few: reward, all-wrong groups before and after rescue, entropy, and what they depend on.",
    known_by="igpo_groups_total",
    ranks="igpo_trainer_rank_step_duration_seconds",
    rows=(
        _VERDICT,
        _STRIP,
        _REWARD,
        _GROUPS,
        _POLICY,
        _THROUGHPUT,
        _COMPLETIONS,
        Row("Ranks and GPUs", GPU_PANELS, collapsed=True),
        _DURABILITY,
    ),
)
