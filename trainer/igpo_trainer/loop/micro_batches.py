"""An SFT update as micro-batches of one canvas length each, equally many on every rank."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from igpo_trainer.loop.ranks import Ranks


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one rank computes in one forward and backward pass."""

    rows: list[int]
    """Places in the update's batch."""
    canvas_length: int
    weight: float
    """1, or 0 where the rank has no rows left and computes one only because the others wait for it."""


def micro_batches(canvas_B: Sequence[int], ranks: Ranks, size: Callable[[int], int]) -> list[MicroBatch]:
    """Return this rank's part of a batch whose rows have the canvas lengths `canvas_B`, shorter canvases first.

    `size` says how many rows of a canvas length are computed at once. In the same place of the list every rank has
    the same canvas length, so that none waits long for the others.
    """
    work: list[MicroBatch] = []
    for canvas_length in sorted(set(canvas_B)):
        rows = [b for b, length in enumerate(canvas_B) if length == canvas_length]
        mine, most = ranks.share(rows), size(canvas_length)
        parts = [mine[i : i + most] for i in range(0, len(mine), most)]
        missing = math.ceil(math.ceil(len(rows) / ranks.world) / most) - len(parts)
        work += [MicroBatch(part, canvas_length, 1.0) for part in parts]
        work += [MicroBatch(rows[:1], canvas_length, 0.0)] * missing
    return work
