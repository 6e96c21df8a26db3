"""Hints from a reference trace (paper Eq. 4 and Algorithm 1, lines on segmentation and injection)."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.igpo.answer_guard import hide_readable_answer
from igpo_trainer.spec.igpo import ChunkTokens, HintsSpec


@dataclass(frozen=True, slots=True)
class Hint:
    """Tokens of the reference trace that one rollout is given, at their reference index."""

    tokens: Mapping[int, int]
    """Canvas index to token id; empty when every chosen chunk held only the answer, or ⌊ηN⌋ is 0."""
    ratio: float
    """η as drawn."""
    chunks: int
    """N, chunks of the trace within the canvas."""


def cut_chunks(tokens: int, bounds: ChunkTokens, rng: random.Random) -> list[range]:
    """Cut `tokens` positions into chunks of U{s_min..s_max}; the last one is what remains."""
    chunks: list[range] = []
    start = 0
    while start < tokens:
        end = min(tokens, start + rng.randint(bounds.min, bounds.max))
        chunks.append(range(start, end))
        start = end
    return chunks


def build_hint(encoded: EncodedProblem, canvas_length: int, spec: HintsSpec, rng: random.Random) -> Hint:
    """Draw one rollout's hint: ⌊ηN⌋ random chunks of the first L reference tokens, without the answer.

    Every token keeps its index of the reference trace (z_hint[i] = y*_i, Eq. 4). The end token is not part of the
    trace and so never a hint. All randomness comes from `rng`.
    """
    chunks = cut_chunks(min(len(encoded.trace_ids), canvas_length), spec.chunk_tokens, rng)
    ratio = rng.uniform(spec.injection_ratio.min, spec.injection_ratio.max)
    # The small constant keeps ⌊0.29 · 100⌋ at 29: the product is 28.999… in binary.
    shown = rng.sample(chunks, min(len(chunks), int(ratio * len(chunks) + 1e-9)))
    positions = hide_readable_answer(encoded, (index for chunk in shown for index in chunk), spec.exclude_answer)
    return Hint({index: encoded.trace_ids[index] for index in sorted(positions)}, ratio, len(chunks))
