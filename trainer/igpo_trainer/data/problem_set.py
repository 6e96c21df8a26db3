"""The usable rows of a source as problems, and a count of all others by reason."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from igpo_trainer.data.columns import MissingColumnError, Row, UnusableRowError, UnwantedRowError
from igpo_trainer.data.formats import Format, fitting_format
from igpo_trainer.data.problem import Problem, same_problem_key
from igpo_trainer.data.rows import RowRule, problem_of
from igpo_trainer.spec.errors import InvalidDataError

REPEATED = "repeated question"


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems in the order of their rows."""

    problems: list[Problem]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows that are no problem, by reason; a fault's reason names the first row that has it."""


def collect(rows: Iterable[Row], rule: RowRule, layout: Format | None) -> ProblemSet:
    """Read all rows; `layout` is the format in use, None for dataset.fields.

    Raises:
        InvalidDataError: a column does not exist, or more than half of the rows that are wanted cannot be used; names
            counts by reason, the first rows and the next action.

    """
    problems: list[Problem] = []
    seen: set[str] = set()
    unwanted: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    first_row: dict[str, int] = {}
    sample: Row = {}
    for number, row in enumerate(rows, 1):
        sample = sample or row
        try:
            problem = problem_of(row, number, rule)
        except UnwantedRowError as error:
            unwanted[error.reason] += 1
        except UnusableRowError as error:
            faults[error.reason] += 1
            first_row.setdefault(error.reason, number)
        except MissingColumnError as error:
            raise InvalidDataError(f"{rule.source} row {number}: {error}; {_advice(row, layout)}") from None
        else:
            identity = same_problem_key(problem)
            if layout is not None and layout.distinct and identity in seen:
                unwanted[REPEATED] += 1
                continue
            seen.add(identity)
            problems.append(problem)
    faulty = {f"{reason}, first in row {first_row[reason]}": count for reason, count in faults.items()}
    if not problems and not faulty and layout is not None:
        raise InvalidDataError(
            f"{rule.source}: none of {unwanted.total()} rows is used ({_told(unwanted)}); {layout.advice}"
        )
    usable = len(problems) + unwanted[REPEATED]
    if faults.total() > usable:
        raise InvalidDataError(
            f"{rule.source}: {faults.total()} of {usable + faults.total()} rows cannot be used ({_told(faulty)}); "
            f"correct or remove them, or {_advice(sample, layout)}"
        )
    return ProblemSet(problems, dict(sorted({**+unwanted, **faulty}.items())))


def _told(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{count}: {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))


def _advice(row: Row, layout: Format | None) -> str:
    if layout is not None:
        return "leave out format and name the columns in fields and answer"
    fitting = fitting_format(row)
    named = "set fields and answer to the columns and the mark of this data set"
    return named if fitting is None else f"{named}; its rows look like format: {fitting}"
