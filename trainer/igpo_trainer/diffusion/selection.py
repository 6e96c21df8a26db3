"""One denoising step on logits: which token each masked position would take, and which positions keep theirs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.spec.errors import RunError

CHUNK_ELEMENTS = 1 << 25  # noise is drawn for whole rows, at most about this many elements at a time (128 MB in fp32)
RANDOM_SCORES = 1  # second salt: the scores of Random remasking are another stream than the step's Gumbel noise


@dataclass(frozen=True, slots=True)
class Draw:
    """The randomness of one row's step: its key, the denoising step on the canvas, its masked positions."""

    key: NoiseKey
    step: int
    masked: int


def choose_tokens(
    logits_MV: torch.Tensor, draws: Sequence[Draw], temperature: float, remasking: str, noise_dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens_M, confidence_M) of the masked positions, row after row as in `draws` (Σ masked = M).

    Tokens are argmax(logits + T·Gumbel), the Gumbel-max form of a draw from softmax(logits / T); T = 0 is argmax.
    Confidence is the log of the chosen token's softmax probability without noise and temperature (LLaDA), or a keyed
    random score. Both are computed in the wider of the logits' and the noise's dtype. RunError on non-finite logits.
    """
    tokens, confidences = [], []
    for start, part in _chunks(draws, logits_MV.shape[1]):
        count = sum(draw.masked for draw in part)
        logits_CV = logits_MV[start : start + count].to(torch.promote_types(logits_MV.dtype, noise_dtype))
        if temperature > 0:
            scores_CV = _gumbel(part, logits_CV, noise_dtype).mul_(temperature).add_(logits_CV)
            tokens_C = scores_CV.argmax(dim=-1)
        else:
            tokens_C = logits_CV.argmax(dim=-1)
        chosen_C = logits_CV.gather(1, tokens_C[:, None]).squeeze(1)
        if not bool(chosen_C.isfinite().all()):
            raise RunError(
                f"the model gave a non-finite logit at denoising step {part[0].step}; resume from the last complete "
                "checkpoint with a smaller learning rate or in fp32"
            )
        tokens.append(tokens_C)
        if remasking == "Random":
            confidences.append(_random_scores(part).to(logits_CV.device))
        else:
            confidences.append(chosen_C - logits_CV.logsumexp(dim=-1))
    return torch.cat(tokens), torch.cat(confidences)


def keep_best(confidence_BK: torch.Tensor, quota_B: torch.Tensor) -> torch.Tensor:
    """kept_BK: the quota highest confidences of each row; ties go to the lowest index. Positions at −inf come last."""
    order_BK = confidence_BK.sort(dim=1, descending=True, stable=True).indices
    within_BK = torch.arange(confidence_BK.shape[1], device=quota_B.device) < quota_B[:, None]
    return torch.zeros_like(within_BK).scatter_(1, order_BK, within_BK)


def _chunks(draws: Sequence[Draw], vocabulary: int) -> Iterator[tuple[int, Sequence[Draw]]]:
    """(first masked position, draws) of runs of whole rows with at most CHUNK_ELEMENTS logits, one row at least."""
    first, offset, count = 0, 0, 0
    for index, draw in enumerate(draws):
        if count and (count + draw.masked) * vocabulary > CHUNK_ELEMENTS:
            yield offset, draws[first:index]
            first, offset, count = index, offset + count, 0
        count += draw.masked
    yield offset, draws[first:]


def _gumbel(draws: Sequence[Draw], logits_CV: torch.Tensor, noise_dtype: torch.dtype) -> torch.Tensor:
    """Draw standard Gumbel noise −log(−log u), one stream per row; u = 0 gives −inf, u = 1 is never drawn."""
    noise_CV = torch.empty(logits_CV.shape, dtype=noise_dtype, device=logits_CV.device)
    start = 0
    for draw in draws:
        generator = draw.key.generator(draw.step, device=logits_CV.device)
        noise_CV[start : start + draw.masked].uniform_(generator=generator)
        start += draw.masked
    return noise_CV.log_().neg_().log_().neg_().to(logits_CV.dtype)


def _random_scores(draws: Sequence[Draw]) -> torch.Tensor:
    """Uniform fp64 scores, on the host whatever the device: they are few, and so equal on all devices."""
    scores = [
        torch.rand(draw.masked, generator=draw.key.generator(draw.step, RANDOM_SCORES), dtype=torch.float64)
        for draw in draws
    ]
    return torch.cat(scores)
