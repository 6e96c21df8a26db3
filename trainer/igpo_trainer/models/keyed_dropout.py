"""Dropout with a stream for each row: the same in any batch, behind any padding, on any rank, and when recomputed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn


class Stream(Protocol):
    """Randomness of one row, as a NoiseKey has it."""

    def generator(self, *salt: int, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh generator for this row and the salt."""


class KeyedDropout(nn.Module):
    """Drops a share of its inputs in train mode, within `keyed_dropout` only; what is kept is scaled up."""

    def __init__(self, share: float, index: int) -> None:
        super().__init__()
        self.share = share
        self.index = index
        """Among the network's; tells their masks apart."""
        self.rows: Sequence[tuple[Stream, int]] = ()

    def forward(self, input_BSD: Tensor) -> Tensor:
        """Drop inputs of real tokens; the padding on their left is left alone.

        Raises RuntimeError when there are not as many streams as rows.
        """
        if not self.training:
            return input_BSD
        if len(self.rows) != len(input_BSD):
            raise RuntimeError(f"{len(self.rows)} streams for {len(input_BSD)} rows; enter keyed_dropout with the rows")
        width, device = input_BSD.shape[1], input_BSD.device
        scale_BSD = torch.ones_like(input_BSD)
        for b, (stream, length) in enumerate(self.rows):
            generator = stream.generator(self.index, device=device)
            draw_LD = torch.rand(length, input_BSD.shape[2], generator=generator, device=device)
            scale_BSD[b, width - length :] = (draw_LD >= self.share).to(input_BSD.dtype) / (1.0 - self.share)
        return input_BSD * scale_BSD


@contextmanager
def keyed_dropout(network: nn.Module, streams_B: Sequence[Stream], lengths_B: Sequence[int]) -> Iterator[None]:
    """Let the network drop what its next rows' streams say; `lengths_B` are their real tokens. Backward included."""
    modules = [module for module in network.modules() if isinstance(module, KeyedDropout)]
    rows = list(zip(streams_B, lengths_B, strict=True))
    for module in modules:
        module.rows = rows
    try:
        yield
    finally:
        for module in modules:
            module.rows = ()
