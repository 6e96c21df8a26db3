"""Hints from real traces: whether any shows the final answer, and how much of a trace can be a hint at all."""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gsm8k_parts.canvas_text import canvas_text, states, states_in_words, whole_numbers
from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.igpo.hints import build_hint
from igpo_trainer.spec.igpo import HintsSpec, InjectionRatio

Rule = Literal["Anywhere", "Statement"]


@dataclass(slots=True)
class HintFigures:
    """Counts over all traces under one setting of hints.excludeAnswer."""

    canvases: int = 0
    """Hints that were built: one with every chunk shown, the others with the default share of chunks."""
    leaks: int = 0
    """Canvases on which some number equals the answer."""
    in_words: int = 0
    """Canvases on which an answer up to twenty stands as a word; no bar: the guard reads numbers, not words."""
    cut_numbers: int = 0
    """Numbers of which a canvas shows a part only."""
    trace_tokens: int = 0
    """Tokens of the traces within the canvas."""
    hintable_tokens: int = 0
    """Of these, tokens that are shown when every chunk is."""
    hints_without_tokens: int = 0
    """Hints at the default share that show nothing."""
    default_hints: int = 0
    examples: list[str] = field(default_factory=list)
    """The first leaks."""

    def as_json(self) -> dict[str, Any]:
        """All counts, and the share of hintable tokens."""
        share = self.hintable_tokens / self.trace_tokens if self.trace_tokens else 0.0
        return asdict(self) | {"hintable_share": round(share, 4)}


def audit_hints(
    problems: Sequence[EncodedProblem],
    tokenizer: Any,
    rule: Rule,
    *,
    canvas: int,
    draws: int,
    advance: Callable[[int], None],
) -> HintFigures:
    """Build hints for every trace: once with every chunk, then `draws` times at the default share."""
    everything = HintsSpec(exclude_answer=rule, injection_ratio=InjectionRatio(min=1.0, max=1.0))
    usual = HintsSpec(exclude_answer=rule)
    figures = HintFigures()
    for encoded in problems:
        figures.trace_tokens += min(canvas, len(encoded.trace_ids))
        for draw in range(1 + draws):
            rng = random.Random(f"{encoded.problem.key}/{draw}")
            hint = build_hint(encoded, canvas, usual if draw else everything, rng)
            figures.canvases += 1
            figures.default_hints += draw > 0
            figures.hintable_tokens += 0 if draw else len(hint.tokens)
            figures.hints_without_tokens += draw > 0 and not hint.tokens
            figures.cut_numbers += cut_numbers(encoded, hint.tokens.keys())
            text = canvas_text(hint.tokens, tokenizer)
            figures.in_words += states_in_words(text, encoded.problem.answer)
            if states(text, encoded.problem.answer):
                figures.leaks += 1
                if len(figures.examples) < 3:
                    figures.examples.append(f"{encoded.problem.origin}: {encoded.problem.answer} in {text!r}"[:400])
        advance(1)
    return figures


def cut_numbers(encoded: EncodedProblem, shown: Collection[int]) -> int:
    """How many numbers of the trace are shown in part: a digit or separator visible beside one that is not."""
    trace = encoded.problem.trace
    seen = bytearray(len(trace))
    for index in shown:
        begin, end = encoded.trace_spans[index]
        seen[begin:end] = b"\1" * (end - begin)
    return sum(0 < sum(seen[begin:end]) < end - begin for begin, end in whole_numbers(trace))
