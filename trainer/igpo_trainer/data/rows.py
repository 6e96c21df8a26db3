"""From a row of a data set to a Problem: pure, and precise about what a row lacks."""

from collections.abc import Callable
from dataclasses import dataclass

from igpo_trainer.boxed import boxes, last_boxed
from igpo_trainer.data.columns import Parts, Row, UnusableRowError, is_filled, text_of
from igpo_trainer.data.problem import Problem, problem_key
from igpo_trainer.spec.dataset import AnswerRule, FieldNames


@dataclass(frozen=True, slots=True)
class RowRule:
    """How rows of one source become problems."""

    source: str
    read: Callable[[Row], Parts]
    """Parts of a row: those of a format, or parts_by_fields."""
    trace_format: str | None
    """As prompt.traceFormat."""
    traces: bool = True
    """False for a set that is only measured: a row may then lack the trace if it has the answer."""


def problem_of(row: Row, number: int, rule: RowRule) -> Problem:
    """Return the problem in row `number` (1-based, for the reader of an error).

    Raises:
        UnusableRowError: prompt, trace or answer is missing, empty or no text.
        MissingColumnError: the row has no such column, nor has any other.

    """
    parts = rule.read(row)
    if rule.traces and not parts.trace:
        raise UnusableRowError("no trace")
    return Problem(
        key=problem_key(parts.prompt, parts.answer),
        prompt=parts.prompt,
        trace=write_trace(parts.trace, parts.answer, rule.trace_format) if parts.trace else "",
        answer=parts.answer,
        difficulty=parts.difficulty,
        origin=f"{rule.source} row {number}",
    )


def write_trace(body: str, answer: str, trace_format: str | None) -> str:
    r"""Write a trace as prompt.traceFormat says; without one, add \boxed{answer} where the body has no filled box."""
    if trace_format is not None:
        return trace_format.format(body=body, answer=answer).strip()
    return body if any(box.content for box in boxes(body)) else f"{body} \\boxed{{{answer}}}".lstrip()


def parts_by_fields(row: Row, fields: FieldNames, rule: AnswerRule, *, traces: bool) -> Parts:
    """Parts of a row by dataset.fields and dataset.answer; see problem_of for what is raised."""
    prompt = text_of(row, fields.prompt)
    answer = None if fields.answer is None else text_of(row, fields.answer)
    difficulty = "" if fields.difficulty is None else text_of(row, fields.difficulty)
    if not traces and answer is not None and not is_filled(row, fields.trace):
        return Parts(prompt, answer, difficulty=difficulty)
    body, found = _split_trace(text_of(row, fields.trace), rule)
    answer = answer or found
    if answer is None:
        looked_for = f"text after {rule.after!r}" if rule.after else "filled \\boxed{}"
        raise UnusableRowError(f"no {looked_for} in {fields.trace!r}, so no answer")
    if not body and traces:
        raise UnusableRowError(f"nothing but the answer in {fields.trace!r}, so no trace")
    return Parts(prompt, answer, body, difficulty)


def _split_trace(trace: str, rule: AnswerRule) -> tuple[str, str | None]:
    """Return the trace without its answer mark, and the answer found in it (None if there is none)."""
    if rule.after is None:
        return trace, last_boxed(trace) or None
    body, mark, answer = trace.rpartition(rule.after)
    return (body.rstrip(), answer.strip() or None) if mark else (trace, None)
