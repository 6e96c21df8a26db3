"""The entropy filter: only the most uncertain hint positions carry gradient (paper §3.3, τ)."""

from collections.abc import Sequence


def kept_hints(entropy_L: Sequence[float], hint_positions: Sequence[int], keep_ratio: float) -> frozenset[int]:
    """The max(1, ⌊τn⌋) of the n hint positions with the highest entropy; ties go to the lower index.

    `entropy_L` is the old policy's entropy in nats at the fully masked canvas. Without hints the result is empty.
    """
    if not hint_positions:
        return frozenset()
    count = max(1, int(keep_ratio * len(hint_positions) + 1e-9))
    ranked = sorted(hint_positions, key=lambda index: (-entropy_L[index], index))
    return frozenset(ranked[:count])
