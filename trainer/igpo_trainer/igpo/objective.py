"""The clipped policy objective with a k3 KL (paper Eq. 3 and 5), as a sum that the caller normalises globally."""

from dataclasses import dataclass

import torch
from torch import Tensor

from igpo_trainer.spec.igpo import ObjectiveSpec


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """What the objective needs of N completions, all over the canvas length L and R mask samples."""

    old_RNL: Tensor
    """log π_old of every token, as the estimator gave it before the first update."""
    reference_RNL: Tensor | None
    """log π_ref; None when the KL coefficient is 0."""
    weight_RNL: Tensor
    """Estimator weights; their mean over R scales a token's log-probability. 1 under MeanField."""
    kept_NL: Tensor
    """True at positions below |o| that carry gradient: not filtered hints."""
    hint_NL: Tensor
    """True at hint positions below |o|; for the statistics only."""
    length_N: Tensor
    """|o|, as a float."""
    advantage_N: Tensor
    judged_N: Tensor
    """False where the rollout is unjudged: it leaves the loss."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Unnormalised sums over the batch."""

    loss: Tensor
    """To be divided by `normaliser` of the whole update."""
    kl_sum: Tensor
    kl_tokens: Tensor
    ratio_N: Tensor
    clipped_NL: Tensor
    """True where the clip binds, at kept positions."""


def objective(logp_RNL: Tensor, batch: GroupBatch, spec: ObjectiveSpec) -> Objective:
    """−Σ_i [surrogate_i − β KL_i], each completion weighed as `spec.normalization` says.

    SequenceMean weighs a token by 1/|o_i| (divide by the number of completions), TokenMean by 1 (divide by the number
    of tokens). The filter takes positions out of ratio and KL while the denominator stays |o_i|. With the Sequence
    ratio ρ_i = exp(1/|o_i| Σ_k Δ_ik) the surrogate counts once per completion, so that at ρ = 1 both ratios have the
    same gradient.
    """
    kept_NL = batch.kept_NL & batch.judged_N[:, None]
    # Filtered positions are selected away, not multiplied by 0: an infinite log-ratio there must not become NaN.
    delta_RNL = torch.where(kept_NL, logp_RNL - batch.old_RNL, 0.0) * batch.weight_RNL
    delta_NL = delta_RNL.mean(dim=0)
    per_token_N = 1.0 / batch.length_N if spec.normalization == "SequenceMean" else torch.ones_like(batch.length_N)
    advantage_N1 = torch.where(batch.judged_N, batch.advantage_N, 0.0)[:, None]

    if spec.ratio == "Sequence":
        ratio_N1 = torch.exp(delta_NL.sum(dim=1, keepdim=True) / batch.length_N[:, None])
        surrogate_N1, clipped_N1 = _clipped(ratio_N1, advantage_N1, spec)
        surrogate_N = surrogate_N1.squeeze(1) * batch.length_N
        ratio_N, clipped_NL = ratio_N1.squeeze(1), clipped_N1 & kept_NL
    else:
        ratio_NL = torch.exp(delta_NL)
        surrogate_NL, clipped_NL = _clipped(ratio_NL, advantage_N1, spec)
        surrogate_N = torch.where(kept_NL, surrogate_NL, 0.0).sum(dim=1)
        clipped_NL = clipped_NL & kept_NL
        ratio_N = torch.where(kept_NL, ratio_NL, 0.0).sum(1) / kept_NL.sum(1).clamp(min=1)

    kl_N = _k3(logp_RNL, batch, kept_NL)
    judged_N = batch.judged_N.to(per_token_N.dtype)
    loss = -(judged_N * per_token_N * (surrogate_N - spec.kl_coefficient * kl_N)).sum()
    kl_tokens = kept_NL.sum() if batch.reference_RNL is not None else torch.zeros((), device=kept_NL.device)
    return Objective(loss, kl_N.detach().sum(), kl_tokens, ratio_N.detach(), clipped_NL)


def normaliser(lengths: Tensor, judged: Tensor, spec: ObjectiveSpec) -> float:
    """P·G judged completions (SequenceMean) or their Σ|o| tokens (TokenMean), over the whole update; at least 1."""
    weights = judged.to(lengths.dtype) * (lengths if spec.normalization == "TokenMean" else 1.0)
    return max(1.0, float(weights.sum()))


def _clipped(ratio: Tensor, advantage: Tensor, spec: ObjectiveSpec) -> tuple[Tensor, Tensor]:
    """min(ρA, clip(ρ)A) and where the clip binds."""
    free = ratio * advantage
    bound = ratio.clamp(1.0 - spec.clip.low, 1.0 + spec.clip.high) * advantage
    return torch.minimum(free, bound), (bound < free).detach()


def _k3(logp_RNL: Tensor, batch: GroupBatch, kept_NL: Tensor) -> Tensor:
    """Σ_k of the k3 estimate exp(ref − θ) − (ref − θ) − 1 per completion; never negative."""
    if batch.reference_RNL is None:
        return torch.zeros_like(batch.length_N)
    gap_RNL = torch.where(kept_NL, batch.reference_RNL - logp_RNL, 0.0)
    return ((torch.expm1(gap_RNL) - gap_RNL) * batch.weight_RNL).mean(dim=0).sum(dim=1)
