"""How fast the arithmetic alone could be: floating point operations of each phase over what the device achieves.

A forward of n columns that attend to S, with the head at h positions, costs n · (2 · layer weights + 4 · layers · S ·
width) + h · 2 · width · vocabulary. Adapters (4 % at rank 128) and recomputation are left out: they are overhead.
"""

import statistics

import torch

from speed.clock import seconds_of
from speed.shape import Shape


def forward_flops(shape: Shape, columns: int, attended: int, positions: float) -> float:
    """Operations of one forward of one sequence."""
    weights = shape.layers * (4 * shape.hidden**2 + 3 * shape.hidden * shape.intermediate)
    attention = 4 * shape.layers * attended * shape.hidden
    return columns * (2 * weights + attention) + positions * 2 * shape.hidden * shape.vocabulary


def rollout_flops(shape: Shape, cache: str = "None") -> float:
    """One completion: whole canvases in every step, or in each block's first and the block alone in the others."""
    whole = forward_flops(shape, shape.width, shape.width, shape.block)
    if cache == "None":
        return shape.steps * whole
    blocks = shape.canvas // shape.block
    window = forward_flops(shape, shape.block, shape.width, shape.block)
    return blocks * whole + (shape.steps - blocks) * window


def update_flops(shape: Shape) -> float:
    """Scores of one group under two policies and μ updates: a forward, and a backward of once or twice as much."""
    whole = forward_flops(shape, shape.width, shape.width, shape.canvas)
    return whole * (2 + shape.updates * (2 if shape.rank else 3))


def achieved_flops(device: torch.device, size: int, dtype: torch.dtype, repeats: int = 7) -> float:
    """Operations per second of a large square matrix product, the median of some."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(2):
        torch.mm(left, right)
    seconds = [seconds_of(lambda: torch.mm(left, right), device) for _ in range(repeats)]
    return 2 * size**3 / statistics.median(seconds)
