"""The SFT loss on held-out problems: whether what is learnt holds for traces that were not trained on."""

import math
from collections.abc import Sequence

import torch

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.micro_batches import MicroBatch, micro_batches
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.sft.examples import corrupt, noise_of_rows, noise_of_step
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
    noise_of_batch = noise_of_step(key, len(fitting), length.target)

    def part_of_loss(part: MicroBatch) -> float:
        noise = noise_of_rows(key, noise_of_batch, part.rows, part.canvas_length)
        batch = corrupt([fitting[b][0] for b in part.rows], noise, part.canvas_length, policy.denoiser.tokens)
        batch = batch.to(policy.accelerator.device)
        scores = policy.denoiser(batch.ids_BS, batch.attention_BS, batch.rows_M, batch.columns_M, batch.tokens_M1)
        logp_M = scores.logp_MK[:, 0].double()
        return float(masked_cross_entropy(logp_M, batch.level_M, part.canvas_length, len(fitting)))

    policy.gather()
    # Parts as one process has them, shared out whole and summed exactly: the rounding is the same for any number.
    parts = micro_batches(
        [canvas for _, canvas in fitting], Ranks(), lambda canvas: max(1, rows * length.target // canvas)
    )
    return math.fsum(ranks.pooled(parts, lambda share: [part_of_loss(part) for part in share]))
