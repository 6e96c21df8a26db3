"""The masked diffusion SFT loss (paper Eq. 1; LLaDA's per-answer normalisation)."""

from torch import Tensor


def masked_cross_entropy(logp_M: Tensor, level_M: Tensor, canvas_length: int, batch_size: int) -> Tensor:
    """Σ over masked positions of −log p / p(t), over B times the canvas length (end-token tail included).

    `logp_M` is the log-probability of the true token at each masked position, `level_M` the noise level t of its row.
    `batch_size` is that of the whole update over all processes, so partial sums add up to the full loss.
    """
    return -(logp_M / level_M.to(logp_M.dtype)).sum() / (batch_size * canvas_length)
