"""Estimators of log π(o | q) for masked diffusion models, as plans of what the network must score.

A plan is built once per cycle from fixed noise keys, so that old, reference and current policy score the same masks.
Scores have shape [R, N, L]: R mask samples, N = P·G completions (prompt-major), L canvas positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from igpo_trainer.diffusion.forward_process import SMALLEST_LEVEL
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.tokens import SpecialTokens

Estimator: TypeAlias = Literal["MeanField", "RandomMask", "ELBO"]


@dataclass(frozen=True, slots=True)
class GroupTokens:
    """One prompt and the completions to score under it."""

    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    """G canvases of L ids."""
    lengths: tuple[int, ...]
    """|o| of each."""
    key: NoiseKey
    """Keys the masks of RandomMask and ELBO; its sample is replaced by that of the completion."""


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """Network input for some groups, and where each score belongs."""

    ids_BS: Tensor
    attention_BS: Tensor
    rows_M: Tensor
    columns_M: Tensor
    tokens_MK: Tensor
    slots_MK: Tensor
    """Index into the flattened [R, N, L] of each score; −1 where a candidate needs none."""
    weight_RNL: Tensor
    """Weights whose product with the scores, averaged over R, estimates a completion's log-probability."""

    def to(self, device: torch.device) -> "ScoringPlan":
        """The same plan on another device."""
        return ScoringPlan(*(getattr(self, name).to(device) for name in self.__slots__))

    def place(self, score_MK: Tensor) -> Tensor:
        """Scatter scores into [R, N, L]; positions that were not scored are 0. Differentiable."""
        wanted_MK = self.slots_MK >= 0
        flat = score_MK.new_zeros(self.weight_RNL.numel())
        return flat.index_put((self.slots_MK[wanted_MK],), score_MK[wanted_MK]).view(self.weight_RNL.shape)


def plan_scoring(
    groups: Sequence[GroupTokens], estimator: Estimator, samples: int, tokens: SpecialTokens
) -> ScoringPlan:
    """What to score for `groups`, which must have equally many completions of one canvas length.

    MeanField (d1, paper §4.1): one fully masked canvas per *prompt*; its positions are scored for all G completions,
    so one forward and one backward serve the whole group exactly. RandomMask: `samples` masks per completion with a
    share t ~ U of the completion hidden; a token's weight is |o| / hidden. ELBO: the same masks with weight 1/t
    (paper Eq. 1). Only positions below |o| are ever scored.
    """
    if estimator == "MeanField":
        return _mean_field(groups, tokens)
    return _random_masks(groups, estimator, samples, tokens)


def _mean_field(groups: Sequence[GroupTokens], tokens: SpecialTokens) -> ScoringPlan:
    canvas_length, size = len(groups[0].completions[0]), len(groups[0].completions)
    rows: list[tuple[int, ...]] = []
    prompt_width = max(len(g.prompt_ids) for g in groups)
    row_M, column_M, token_MK, slot_MK = [], [], [], []
    weight = torch.zeros(1, len(groups) * size, canvas_length)
    for p, group in enumerate(groups):
        rows.append((*group.prompt_ids, *[tokens.mask_id] * canvas_length))
        for k in range(max(group.lengths)):
            row_M.append(p)
            column_M.append(prompt_width + k)
            token_MK.append([ids[k] for ids in group.completions])
            slot_MK.append([(p * size + g) * canvas_length + k if k < group.lengths[g] else -1 for g in range(size)])
        for g, length in enumerate(group.lengths):
            weight[0, p * size + g, :length] = 1.0
    return _assemble(rows, tokens, row_M, column_M, token_MK, slot_MK, weight)


def _random_masks(
    groups: Sequence[GroupTokens], estimator: Estimator, samples: int, tokens: SpecialTokens
) -> ScoringPlan:
    canvas_length, size = len(groups[0].completions[0]), len(groups[0].completions)
    rows: list[tuple[int, ...]] = []
    prompt_width = max(len(g.prompt_ids) for g in groups)
    row_M, column_M, token_MK, slot_MK = [], [], [], []
    weight = torch.zeros(samples, len(groups) * size, canvas_length)
    for r in range(samples):
        for p, group in enumerate(groups):
            for g, (ids, length) in enumerate(zip(group.completions, group.lengths, strict=True)):
                level, hidden = _hidden_positions(replace(group.key, sample=g), r, samples, canvas_length)
                row = len(rows)
                rows.append(
                    (*group.prompt_ids, *(tokens.mask_id if h else i for i, h in zip(ids, hidden, strict=True)))
                )
                scored = [k for k in range(length) if hidden[k]]
                n = p * size + g
                for k in scored:
                    row_M.append(row)
                    column_M.append(prompt_width + k)
                    token_MK.append([ids[k]])
                    slot_MK.append([(r * weight.shape[1] + n) * canvas_length + k])
                if scored:
                    weight[r, n, scored] = length / len(scored) if estimator == "RandomMask" else 1.0 / level
    return _assemble(rows, tokens, row_M, column_M, token_MK, slot_MK, weight)


def _hidden_positions(key: NoiseKey, sample: int, samples: int, canvas_length: int) -> tuple[float, list[bool]]:
    """Noise level t and which canvas positions are masked. t is stratified over the samples of one completion."""
    generator = key.generator(sample)
    uniform = torch.rand(canvas_length + 1, generator=generator, dtype=torch.float64).tolist()
    level = SMALLEST_LEVEL + (1.0 - SMALLEST_LEVEL) * (sample + uniform[0]) / samples
    return level, [u < level for u in uniform[1:]]


def _assemble(
    rows: list[tuple[int, ...]],
    tokens: SpecialTokens,
    row_M: list[int],
    column_M: list[int],
    token_MK: list[list[int]],
    slot_MK: list[list[int]],
    weight_RNL: Tensor,
) -> ScoringPlan:
    """Left-pad the rows to one width and turn the lists into tensors; K is kept when nothing is to be scored."""
    width = max(len(row) for row in rows)
    ids_BS = torch.full((len(rows), width), tokens.pad_id)
    attention_BS = torch.zeros(len(rows), width, dtype=torch.long)
    for b, row in enumerate(rows):
        ids_BS[b, width - len(row) :] = torch.tensor(row)
        attention_BS[b, width - len(row) :] = 1
    candidates = len(token_MK[0]) if token_MK else 1
    return ScoringPlan(
        ids_BS,
        attention_BS,
        torch.tensor(row_M, dtype=torch.long),
        torch.tensor(column_M, dtype=torch.long),
        torch.tensor(token_MK, dtype=torch.long).view(-1, candidates),
        torch.tensor(slot_MK, dtype=torch.long).view(-1, candidates),
        weight_RNL,
    )
