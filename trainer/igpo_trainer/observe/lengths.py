"""Sequence lengths as counts: exact, small, and merged over ranks by adding."""

from typing import Annotated

from pydantic import AfterValidator


def _sorted_lengths(counts: dict[int, int]) -> dict[int, int]:
    return dict(sorted(counts.items()))


LengthCounts = Annotated[dict[int, int], AfterValidator(_sorted_lengths)]
"""Length in tokens -> how many sequences had it. Adding two of them merges two ranks."""


def mean_length(lengths: dict[int, int]) -> float | None:
    """Mean of a length count in tokens; None when it is empty."""
    total = sum(lengths.values())
    return sum(length * count for length, count in lengths.items()) / total if total else None


def length_quantile(lengths: dict[int, int], share: float) -> int | None:
    """Smallest length (tokens) that at least `share` of the sequences do not exceed; None when there are none."""
    total = sum(lengths.values())
    seen = 0
    for length, count in sorted(lengths.items()):
        seen += count
        if seen >= share * total:
            return length
    return None
