"""What the sampler asks of a model."""

from collections.abc import Sequence
from typing import Protocol

import torch

from igpo_trainer.models.key_values import KeyValues


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


class CachingPredictor(Predictor, Protocol):
    """A predictor that can keep keys and values between forwards, for approximate sampling."""

    def key_values(self, rows: int, width: int) -> KeyValues:
        """An empty store for `rows` canvases of at most `width` columns, padding included."""

    def logits_keeping(
        self,
        stored: KeyValues,
        slots: Sequence[int],
        lanes: Sequence[int],
        ids_BS: torch.Tensor,
        attention_BS: torch.Tensor,
        rows_M: torch.Tensor,
        columns_M: torch.Tensor,
    ) -> torch.Tensor:
        """As logits_at; the keys and values of lane `lanes[i]` are stored in slot `slots[i]`."""

    def logits_reading(
        self,
        stored: KeyValues,
        slots: Sequence[int],
        starts_B: torch.Tensor,
        length: int,
        ids_BS: torch.Tensor,
        attention_BS: torch.Tensor,
        rows_M: torch.Tensor,
        columns_M: torch.Tensor,
    ) -> torch.Tensor:
        """logits_MV from the columns starts_B … starts_B + `length` alone; all others are read from the store."""
