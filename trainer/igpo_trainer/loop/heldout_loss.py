"""The SFT loss on held-out problems: whether what is learnt holds for traces that were not trained on."""

import math
from collections.abc import Callable, Sequence

import torch

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.sft.examples import corrupt, noise_of_long_rows, noise_of_step
from igpo_trainer.sft.loss import masked_cross_entropy
from igpo_trainer.spec.sft import LengthSpec


@torch.no_grad()
def heldout_loss(
    policy: Policy,
    ranks: Ranks,
    problems: Sequence[EncodedProblem],
    length: LengthSpec,
    *,
    seed: int,
    rows: int,
) -> float | None:
    """Masked cross-entropy in nats per answer token over the traces that fit a canvas of training; None if none does.

    The traces are those of the data set: a teacher rewrites training traces only. The noise is keyed by seed and
    place, not by step, so that the losses of a run are paired. `rows` are computed at once, fewer on a longer canvas.
    A collective; equal on every process.
    """
    fitting = [
        (problem, canvas) for problem in problems if (canvas := length.canvas(len(problem.trace_ids))) is not None
    ]
    if not fitting:
        return None
    key = NoiseKey(seed, "held-out loss", 0, 0, 0)
    level_B, mask_BL = noise_of_step(key, len(fitting), length.target)

    def part_of_loss(rows: Sequence[int]) -> float:
        canvas = fitting[rows[0]][1]
        noise = level_B[rows], mask_BL[rows]
        if canvas > length.target:
            noise = noise_of_long_rows(key, level_B, rows, canvas)
        batch = corrupt([fitting[b][0] for b in rows], noise, canvas, policy.denoiser.tokens)
        batch = batch.to(policy.accelerator.device)
        scores = policy.denoiser(batch.ids_BS, batch.attention_BS, batch.rows_M, batch.columns_M, batch.tokens_M1)
        return float(masked_cross_entropy(scores.logp_MK[:, 0].double(), batch.level_M, canvas, len(fitting)))

    policy.gather()
    parts = _parts([canvas for _, canvas in fitting], lambda canvas: max(1, rows * length.target // canvas))
    # Shared out whole and summed exactly: the rounding does not depend on how many processes there are.
    return math.fsum(ranks.pooled(parts, lambda share: [part_of_loss(rows) for rows in share]))


def _parts(canvas_B: Sequence[int], rows_at_once: Callable[[int], int]) -> list[list[int]]:
    """Places of the batch that are computed together, each part of one canvas length."""
    parts: list[list[int]] = []
    for canvas_length in sorted(set(canvas_B)):
        rows = [b for b, length in enumerate(canvas_B) if length == canvas_length]
        most = rows_at_once(canvas_length)
        parts += [rows[i : i + most] for i in range(0, len(rows), most)]
    return parts
