"""What the sampler asks of a model."""

from typing import Protocol

import torch


class CanvasTokens(Protocol):
    """The special ids that the sampler writes and reads."""

    @property
    def mask_id(self) -> int:
        """The token of a position that is not denoised yet."""

    @property
    def eos_id(self) -> int:
        """The end token: it closes a completion and fills the canvas behind it."""

    @property
    def pad_id(self) -> int:
        """The token left of a short prompt; never attended to."""


class Predictor(Protocol):
    """p(token | canvas) of a masked diffusion model; `models.denoiser.Denoiser` is one."""

    @property
    def tokens(self) -> CanvasTokens:
        """The special ids."""

    @property
    def device(self) -> torch.device:
        """Where inputs are expected and logits appear."""

    def logits_at(
        self, ids_BS: torch.Tensor, attention_BS: torch.Tensor, rows_M: torch.Tensor, columns_M: torch.Tensor
    ) -> torch.Tensor:
        """logits_MV at the M positions (rows_M, columns_M) of a left-padded batch; ids never to be emitted are −inf."""
