"""From a row of a data set to a Problem: pure, and precise about what a row lacks."""

from collections.abc import Mapping
from dataclasses import dataclass

from igpo_trainer.boxed import last_boxed
from igpo_trainer.data.problem import Problem, problem_key
from igpo_trainer.spec.dataset import AnswerRule, FieldNames
from igpo_trainer.spec.errors import InvalidDataError


@dataclass(frozen=True, slots=True)
class RowRule:
    """How rows of one source are read."""

    source: str
    fields: FieldNames
    answer: AnswerRule
    trace_format: str
    traces: bool = True
    """False for a set that is only measured: a row may then lack the trace if it has the answer."""


def _text(row: Mapping[str, object], column: str, field: str, number: int, source: str) -> str:
    """Text of a column; numbers become their decimal text, as answers often are numbers."""
    if column not in row:
        raise InvalidDataError(
            f"{source} row {number}: no column {column!r}; it has {', '.join(sorted(row)) or 'none'}; "
            f"set dataset.fields.{field}"
        )
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        what = "is empty" if value is None else f"is a {type(value).__name__}, not text"
        raise InvalidDataError(
            f"{source} row {number} field {column!r} {what}; correct or remove the row, or set dataset.fields.{field}"
        )
    text = str(value).strip()
    if not text:
        raise InvalidDataError(f"{source} row {number} field {column!r} is empty; correct or remove the row")
    return text


def _split_trace(trace: str, rule: AnswerRule) -> tuple[str, str | None]:
    """Return the trace without its answer mark, and the answer found in it (None if there is none)."""
    if rule.after is None:
        return trace, last_boxed(trace) or None
    body, mark, answer = trace.rpartition(rule.after)
    return (body.rstrip(), answer.strip() or None) if mark else (trace, None)


def problem_of(row: Mapping[str, object], number: int, rule: RowRule) -> Problem:
    """Return the problem in row `number` (1-based, for the reader of an error).

    Raises:
        InvalidDataError: prompt, trace or answer is missing or empty: names source, row, field and the next action.

    """
    fields, origin = rule.fields, f"{rule.source} row {number}"
    prompt = _text(row, fields.prompt, "prompt", number, rule.source)
    answer = None if fields.answer is None else _text(row, fields.answer, "answer", number, rule.source)
    if not rule.traces and answer is not None and row.get(fields.trace) in (None, ""):
        return Problem(problem_key(prompt, answer), prompt, "", answer, origin=origin)
    trace = _text(row, fields.trace, "trace", number, rule.source)
    body, found = _split_trace(trace, rule.answer)
    answer = answer or found
    if answer is None:
        looked_for = f"text after {rule.answer.after!r}" if rule.answer.after else "filled \\boxed{}"
        raise InvalidDataError(
            f"{rule.source} row {number} field {fields.trace!r}: no {looked_for}, so the row has no answer; "
            "correct or remove the row, or set dataset.answer.after or dataset.fields.answer"
        )
    written = rule.trace_format.format(body=body, answer=answer).strip()
    if not body or not written:
        raise InvalidDataError(
            f"{rule.source} row {number} field {fields.trace!r}: nothing but the answer, so there is no trace; "
            "correct or remove the row"
        )
    return Problem(problem_key(prompt, answer), prompt, written, answer, origin=origin)
