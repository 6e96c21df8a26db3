"""What the report plots: series of numbers, and how they are to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from igpo_trainer.observe.figures import ABSENT, duration, number, percent
from igpo_trainer.observe.records import Measure, finite

Point = tuple[float, Measure]


class Unit(StrEnum):
    """How values of a chart are written."""

    SHARE = "share"
    NUMBER = "number"
    COUNT = "count"
    TOKENS = "tokens"
    SECONDS = "seconds"

    def write(self, value: Measure) -> str:
        """Write one value with its unit."""
        match self:
            case Unit.SHARE:
                return percent(value, 1)
            case Unit.SECONDS:
                return duration(value)
            case Unit.TOKENS:
                return number(value, 1)
            case Unit.COUNT:
                return number(value, 0 if value is not None and float(value).is_integer() else 1)
            case Unit.NUMBER:
                kept = finite(value)
                return ABSENT if kept is None else f"{kept:.4g}"


@dataclass(frozen=True, slots=True)
class Series:
    """One curve, or one layer of stacked bars. `band` is (x, low, high)."""

    name: str
    points: Sequence[Point]
    colour: int
    dashed: bool = False
    trend: bool = False
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """What is to be drawn. `floor` and `ceiling` are values that the y axis must show; `limit` is a marked line."""

    title: str
    note: str
    series: Sequence[Series]
    unit: Unit = Unit.NUMBER
    axis: str = ""
    stacked: bool = False
    floor: float | None = 0.0
    ceiling: float | None = None
    limit: tuple[float, str] | None = None
    along: str = "step"
    """What the x axis counts."""

    @property
    def is_empty(self) -> bool:
        """Whether no series has a finite value."""
        return not any(finite(y) is not None for series in self.series for _, y in series.points)
