"""IGPO / SFT: rewriting, length alignment and fine-tuning."""

from typing import Final

from igpo_monitoring.board import Board, Row
from igpo_monitoring.panels import GREEN, RED, YELLOW, Looks, Query, lengths, lines, number, stack
from igpo_monitoring.promql import LEGEND, count, last, of_runs, rate, share

_BLUE: Final = ((None, "blue"),)


def _buckets(name: str, *matchers: str) -> str:
    series = of_runs(f"{name}_bucket", *matchers)
    return f"sum by (le) (increase({series}[$__rate_interval]))"


_NOW = Row(
    "Now",
    (
        number("Training loss", "Masked cross-entropy per answer token on the last batch.",
               Query(last("igpo_sft_loss", 'split="train"'), LEGEND),
               Looks(unit="none", width=6, height=6, steps=_BLUE, decimals=4)),
        number("Length minus target", "Mean trace length of the last batch minus length.target. Above 0 traces do not "
               "fit the canvas that RL will sample.", Query(last("igpo_sft_length_deviation_tokens"), LEGEND),
               Looks(unit="none", width=6, height=6, steps=((None, GREEN), (0, YELLOW)), decimals=1)),
        number("Done", "Steps finished out of those planned.",
               Query(share(last("igpo_trainer_step"), last("igpo_trainer_planned_steps")), LEGEND),
               Looks(unit="percentunit", width=4, height=6, steps=_BLUE)),
        number("Time left", "Steps left times the duration of the last one.",
               Query(f"({last('igpo_trainer_planned_steps')} - {last('igpo_trainer_step')}) * "
                     f"{last('igpo_trainer_step_duration_seconds')}", LEGEND),
               Looks(unit="s", width=4, height=6), spark=False),
        number("Since the last step", "How old the last finished step is.",
               Query(f"time() - {last('igpo_trainer_last_step_timestamp_seconds')}", LEGEND),
               Looks(unit="s", width=4, height=6, steps=((None, GREEN), (300, YELLOW), (900, RED))), spark=False),
    ),
)  # fmt: skip

_LEARNING = Row(
    "Learning",
    (
        lines("Loss", "Of training, and of the held-out traces at each evaluation.",
              [Query(last("igpo_sft_loss", by="split"), f"{LEGEND} {{{{split}}}}")], Looks(unit="none"), log=True),
        lines("Evaluation", "Accuracy by data set.",
              [Query(last("igpo_eval_accuracy_ratio", by="dataset, samples, temperature"),
                     f"{LEGEND} {{{{dataset}}}} ×{{{{samples}}}}")], Looks(unit="percentunit", low=0, high=1)),
        lines("Gradient norm", "Before clipping, logarithmic.", [Query(last("igpo_trainer_gradient_norm"), LEGEND)],
              Looks(unit="none"), log=True),
        lines("Learning rate", "Of the last update.", [Query(last("igpo_trainer_learning_rate"), LEGEND)],
              Looks(unit="sci", decimals=1)),
        lines("Tokens per second", "Prompt and target tokens.",
              [Query(rate("igpo_trainer_tokens_total", 'token=~"prompt|target"', by="token"),
                     f"{LEGEND} {{{{token}}}}")], Looks(unit="short")),
        stack("Where the time goes", "Share of each phase in the phases that have ended.",
              [Query(f'{rate("igpo_trainer_phase_duration_seconds_sum", by="phase")} > 0', f"{LEGEND} {{{{phase}}}}")],
              Looks(unit="s", steps=_BLUE), percent=True),
    ),
)  # fmt: skip

_LENGTHS = Row(
    "Length alignment",
    (
        lengths("Trace lengths", "Of the traces trained on, end token included.",
                _buckets("igpo_sft_example_length_tokens"), Looks(unit="short")),
        lines("Mean length and target", "The mean of the last batch, and length.target.",
              [Query(f"{last('igpo_sft_length_deviation_tokens')} + {last('igpo_sft_target_length_tokens')}",
                     f"{LEGEND} mean"),
               Query(last("igpo_sft_target_length_tokens"), f"{LEGEND} target")], Looks(unit="none", low=0)),
        lines("Traces", "By what length alignment did with them, since the process began.",
              [Query(last("igpo_sft_examples_total", by="result"), f"{LEGEND} {{{{result}}}}")],
              Looks(unit="short", low=0)),
    ),
)  # fmt: skip

_REWRITING = Row(
    "Rewriting by a teacher",
    (
        lines("Traces answered", "By the teacher in this process, or before; and all there are.",
              [Query(last("igpo_sft_rewrite_done_rows", by="source"), f"{LEGEND} {{{{source}}}}"),
               Query(last("igpo_sft_rewrite_rows"), f"{LEGEND} all")], Looks(unit="short", low=0)),
        lines("Kept", "Rewrites that verify and fit, as far as they were looked at.",
              [Query(last("igpo_sft_kept_rewrites"), LEGEND)], Looks(unit="short", low=0)),
        lines("Dropped", "Traces of a finished rewrite that are left out, by reason.",
              [Query(last("igpo_sft_dropped_rewrites_total", by="reason"), f"{LEGEND} {{{{reason}}}}")],
              Looks(unit="short", low=0)),
        lines("Requests", "To the teacher: first ones and repeated ones.",
              [Query(count("igpo_sft_teacher_requests_total", by="attempt"), f"{LEGEND} {{{{attempt}}}}")],
              Looks(unit="short", width=12, low=0)),
        lines("Teacher's tokens", "Spent over all attempts, and rewrite.tokenBudget where one is set.",
              [Query(last("igpo_sft_teacher_tokens"), f"{LEGEND} spent"),
               Query(last("igpo_sft_teacher_token_budget"), f"{LEGEND} budget")],
              Looks(unit="short", width=12, low=0)),
        lengths("Lengths before rewriting", "Tokens of the original traces.",
                _buckets("igpo_sft_rewrite_length_tokens", 'stage="original"'), Looks(unit="short", width=12)),
        lengths("Lengths of kept rewrites", "Tokens of the traces that are kept.",
                _buckets("igpo_sft_rewrite_length_tokens", 'stage="kept"'), Looks(unit="short", width=12)),
    ),
)  # fmt: skip

FINE_TUNING: Final = Board(
    uid="igpo-sft",
    title="SFT",
    text="Length-aligned fine-tuning: loss, lengths against the canvas, and the teacher that rewrites.",
    known_by="igpo_sft_examples_total",
    rows=(_NOW, _LEARNING, _LENGTHS, _REWRITING),
)
