"""Log-probabilities and entropy from hidden states, without the whole logits matrix.

The head's product with a vocabulary of 126,464 is the largest tensor of a diffusion LM. It is made in chunks of rows,
reduced to K log-probabilities and one entropy a row, and made again in the backward pass.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES: Final = 192 * 2**20
"""Size of one chunk of logits; two such buffers live at a time."""

_HALF: Final = (torch.bfloat16, torch.float16)


class TokenScores(NamedTuple):
    """Scores at M positions: log-probabilities of K candidates each, and the entropy there in nats."""

    logp_MK: Tensor
    entropy_M: Tensor


def score_tokens(
    hidden_MD: Tensor,
    weight_VD: Tensor,
    tokens_MK: Tensor,
    *,
    banned_N: Tensor,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    compute_dtype: torch.dtype | None = None,
) -> TokenScores:
    """Score the K candidate tokens at each of M positions: log-softmax(logits / T), and the entropy of that softmax.

    Logits of `banned_N` are -inf. Products are made in `compute_dtype` (default: the wider of both operands), summed in
    fp32 at least; fp64 stays fp64. Gradients reach `hidden_MD`, `weight_VD` and `bias_V` through logp_MK alone: the
    entropy is not differentiable here.

    Raises:
        ValueError: temperature is not positive.

    """
    if not temperature > 0.0:
        raise ValueError(f"temperature {temperature} has no softmax; pass a positive one")
    dtype = compute_dtype or torch.promote_types(hidden_MD.dtype, weight_VD.dtype)
    logp_MK, entropy_M = _ChunkedScores.apply(hidden_MD, weight_VD, bias_V, tokens_MK, banned_N, temperature, dtype)
    return TokenScores(logp_MK, entropy_M)


@torch.no_grad()
def logits_of(
    hidden_MD: Tensor,
    weight_VD: Tensor,
    *,
    banned_N: Tensor,
    bias_V: Tensor | None = None,
    compute_dtype: torch.dtype | None = None,
) -> Tensor:
    """Logits [M, V] in fp32 or wider, banned ids at -inf. For the few positions a sampler looks at."""
    dtype = compute_dtype or torch.promote_types(hidden_MD.dtype, weight_VD.dtype)
    with torch.autocast(hidden_MD.device.type, enabled=False):
        logits_MV = _product(_operand(hidden_MD, dtype), _operand(weight_VD, dtype).t())
        if bias_V is not None:
            logits_MV += bias_V
        return logits_MV.index_fill_(1, banned_N, -torch.inf)


def _operand(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Round to the compute precision; where half products cannot be summed in fp32 (CPU), widen the rounded values."""
    rounded = tensor.to(dtype)
    return rounded.float() if dtype in _HALF and not rounded.is_cuda else rounded


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product with fp32 sums: a bf16 sum over the width would bias the entropy."""
    return torch.mm(left, right, out_dtype=torch.float32) if left.dtype in _HALF else left @ right


def _chunks(rows: int, vocabulary: int, itemsize: int) -> Iterator[slice]:
    size = max(1, CHUNK_BYTES // (vocabulary * itemsize))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def _scaled_logits(
    hidden_CD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, banned_N: Tensor, temperature: float
) -> Tensor:
    logits_CV = _product(hidden_CD, weight_VD.t())
    if bias_V is not None:
        logits_CV += bias_V
    return logits_CV.div_(temperature).index_fill_(1, banned_N, -torch.inf)


class _ChunkedScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types no context attribute
        hidden_MD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        tokens_MK: Tensor,
        banned_N: Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(dtype, torch.float32)
        rows, vocabulary = hidden_MD.shape[0], weight_VD.shape[0]
        logp_MK = hidden_MD.new_empty(tokens_MK.shape, dtype=wide)
        entropy_M = hidden_MD.new_empty((rows,), dtype=wide)
        logsumexp_M = hidden_MD.new_empty((rows,), dtype=wide)
        with torch.autocast(hidden_MD.device.type, enabled=False):
            hidden, weight = _operand(hidden_MD, dtype), _operand(weight_VD, dtype)
            for chunk in _chunks(rows, vocabulary, wide.itemsize):
                scores_CV = _scaled_logits(hidden[chunk], weight, bias_V, banned_N, temperature)
                logsumexp_M[chunk] = torch.logsumexp(scores_CV, dim=-1)
                scores_CV -= logsumexp_M[chunk, None]
                logp_MK[chunk] = scores_CV.gather(1, tokens_MK[chunk])
                probabilities_CV = scores_CV.exp()
                scores_CV.index_fill_(1, banned_N, 0.0)  # 0 · log 0 is 0
                entropy_M[chunk] = -probabilities_CV.mul_(scores_CV).sum(-1)
        ctx.save_for_backward(hidden_MD, weight_VD, bias_V, tokens_MK, banned_N, logsumexp_M)
        ctx.temperature, ctx.dtype = temperature, dtype
        ctx.mark_non_differentiable(entropy_M)
        return logp_MK, entropy_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MK: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        hidden_MD, weight_VD, bias_V, tokens_MK, banned_N, logsumexp_M = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias, *_rest = ctx.needs_input_grad
        wide = logsumexp_M.dtype
        rows, vocabulary = hidden_MD.shape[0], weight_VD.shape[0]
        grad_hidden = torch.zeros_like(hidden_MD) if wants_hidden else None
        grad_weight = torch.zeros_like(weight_VD, dtype=wide) if wants_weight else None
        grad_bias = torch.zeros_like(bias_V, dtype=wide) if wants_bias else None
        with torch.autocast(hidden_MD.device.type, enabled=False):
            hidden, weight = _operand(hidden_MD, ctx.dtype), _operand(weight_VD, ctx.dtype)
            for chunk in _chunks(rows, vocabulary, wide.itemsize):
                scores_CV = _scaled_logits(hidden[chunk], weight, bias_V, banned_N, ctx.temperature)
                # d logp[k] / d logits = (onehot(token k) - softmax) / T, summed over the candidates.
                slope_CV = scores_CV.sub_(logsumexp_M[chunk, None]).exp_()
                slope_CV.mul_(-grad_MK[chunk].sum(-1, keepdim=True))
                slope_CV.scatter_add_(1, tokens_MK[chunk], grad_MK[chunk])
                slope_CV.index_fill_(1, banned_N, 0.0).div_(ctx.temperature)
                if grad_bias is not None:
                    grad_bias += slope_CV.sum(0)
                slope = _operand(slope_CV, ctx.dtype)
                if grad_hidden is not None:
                    grad_hidden[chunk] = _product(slope, weight).to(grad_hidden.dtype)
                if grad_weight is not None:
                    grad_weight += _product(slope.t(), hidden[chunk])
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_VD.dtype),
            None if grad_bias is None else grad_bias.to(bias_V.dtype),
            None,
            None,
            None,
            None,
        )
