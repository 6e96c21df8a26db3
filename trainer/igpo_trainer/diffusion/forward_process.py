"""The forward process of masked diffusion: stratified noise levels and independent masks, keyed by step."""

import torch
from torch import Tensor

from igpo_trainer.diffusion.noise import NoiseKey

SMALLEST_LEVEL = 1e-3
"""Lower end of the noise levels t; bounds the weight 1/t of a masked token."""


def mask_levels(key: NoiseKey, batch_size: int) -> Tensor:
    """t_B in [1e-3, 1], fp64: one level per row from its own stratum, strata in random order.

    Stratification (one uniform draw in each of B equal intervals) lowers the variance of the loss without bias.
    """
    generator = key.generator(0)
    order_B = torch.randperm(batch_size, generator=generator)
    uniform_B = (order_B + torch.rand(batch_size, generator=generator, dtype=torch.float64)) / batch_size
    return SMALLEST_LEVEL + (1.0 - SMALLEST_LEVEL) * uniform_B


def draw_masks(key: NoiseKey, level_B: Tensor, canvas_length: int) -> Tensor:
    """mask_BL: each canvas position is masked with its row's probability p(t) = t, independently."""
    generator = key.generator(1)
    uniform_BL = torch.rand(len(level_B), canvas_length, generator=generator, dtype=torch.float64)
    return uniform_BL < level_B[:, None]
