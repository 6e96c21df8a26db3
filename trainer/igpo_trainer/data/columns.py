"""Text in the columns of a row, and what is said of a row that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Row: TypeAlias = Mapping[str, object]


class UnusableRowError(Exception):
    """A row that cannot become a problem; `reason` is short and the same for all rows with that fault."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnwantedRowError(UnusableRowError):
    """A row without fault that its format leaves out on purpose."""


class MissingColumnError(Exception):
    """No row has the column: the columns are named wrongly, whatever the rows hold."""

    def __init__(self, column: str, row: Row) -> None:
        super().__init__(f"no column {column!r}; it has {', '.join(sorted(row)) or 'none'}")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a row says, before the trace is written as the canvas wants it."""

    prompt: str
    answer: str
    trace: str = ""
    """Empty when the set has none."""
    difficulty: str = ""


def text_of(row: Row, column: str) -> str:
    """Text of a column without outer space; a number becomes its decimal text, as answers often are numbers.

    Raises:
        MissingColumnError: the row has no such column.
        UnusableRowError: the column is empty, or holds something else than text or a number.

    """
    if column not in row:
        raise MissingColumnError(column, row)
    value = row[column]
    if value is None:
        raise UnusableRowError(f"{column!r} is empty")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnusableRowError(f"{column!r} is a {type(value).__name__}, not text")
    text = str(value).strip()
    if not text:
        raise UnusableRowError(f"{column!r} is empty")
    return text


def is_filled(row: Row, column: str) -> bool:
    """Whether the row has the column and something in it."""
    return row.get(column) not in (None, "")


def one_of(row: Row, *columns: str) -> str:
    """The first of the columns that the row has; the first of all when it has none."""
    return next((column for column in columns if column in row), columns[0])
