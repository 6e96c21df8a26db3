"""How numbers read, in the terminal and in the report alike."""

import math
from collections.abc import Sequence

from igpo_trainer.observe.records import Measure, finite

ABSENT = "–"
_BARS = "▁▂▃▄▅▆▇█"


def number(value: Measure, digits: int = 3) -> str:
    """Write with fixed decimals, or scientific when that shows nothing; a dash for an absent or non-finite value."""
    kept = finite(value)
    if kept is None:
        return ABSENT
    if kept != 0 and (abs(kept) < 0.5 * 10**-digits or abs(kept) >= 1e6):
        return f"{kept:.{max(0, digits - 2)}e}"
    return f"{kept:.{digits}f}"


def percent(value: Measure, digits: int = 0) -> str:
    """Write a share from 0 to 1 as percent."""
    kept = finite(value)
    return ABSENT if kept is None else f"{100 * kept:.{digits}f} %"


def duration(seconds: Measure) -> str:
    """Write seconds as `4.2 s`, `3:05` (minutes) or `2:03:05` (hours)."""
    kept = finite(seconds)
    if kept is None:
        return ABSENT
    if kept < 60:
        return f"{kept:.1f} s" if kept < 10 else f"{kept:.0f} s"
    minutes, rest = divmod(round(kept), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def sparkline(values: Sequence[Measure], width: int) -> str:
    """Draw the last values as bars, scaled to their own range: more than `width` of them are averaged into bins."""
    known = [kept for value in values if (kept := finite(value)) is not None]
    if not known:
        return ""
    size = math.ceil(len(known) / width)
    bins = [known[i : i + size] for i in range(0, len(known), size)]
    means = [math.fsum(each) / len(each) for each in bins]
    low, high = min(means), max(means)
    if high == low:
        return _BARS[0] * len(means)
    return "".join(_BARS[min(7, int(8 * (mean - low) / (high - low)))] for mean in means)
