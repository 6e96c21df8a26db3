"""Which tokens of a reference trace would give the answer away.

The paper excludes the final answer from the hints; here that is a property of what can be *read* on the canvas:
no run of visible tokens holds a number equal to the answer, whole or as the rest of a number that was cut.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Literal, TypeAlias

from igpo_trainer.boxed import boxes
from igpo_trainer.data.problem import EncodedProblem

Span: TypeAlias = tuple[int, int]

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
_QUOTIENT = re.compile(r"(\d+)\s*/\s*(\d+)|\\[dt]?frac\{(\d+)\}\{(\d+)\}")


def guarded_tokens(encoded: EncodedProblem, rule: Literal["Anywhere", "Statement"]) -> frozenset[int]:
    r"""Indices of trace tokens that may never be a hint.

    `Statement`: the last `\boxed{…}` (or, without one, the last occurrence of the answer). `Anywhere`: in
    addition every number equal to the answer, and every verbatim occurrence of an answer that is no number.
    """
    text, answer = encoded.problem.trace, encoded.problem.answer.strip()
    spans = list(_statement(text, answer))
    if rule == "Anywhere":
        spans.extend(_occurrences(text, answer))
    return _tokens_over(encoded.trace_spans, spans)


def hide_readable_answer(
    encoded: EncodedProblem, shown: Iterable[int], rule: Literal["Anywhere", "Statement"]
) -> frozenset[int]:
    """The part of `shown` (trace token indices) that stays visible once nothing visible gives the answer away.

    A number that is shown only in part leaves the hint whole: its rest could read as the answer. Hiding a token can
    cut another number, so the rules are applied until nothing changes.
    """
    visible = set(shown) - guarded_tokens(encoded, rule)
    numbers = [_tokens_over(encoded.trace_spans, [span]) for span in _numbers(encoded.problem.trace)]
    while True:
        hidden = {token for number in numbers if not number <= visible for token in number} & visible
        if rule == "Anywhere":
            hidden |= _readable_answers(encoded, visible)
        if not hidden:
            return frozenset(visible)
        visible -= hidden


def numeric_value(text: str) -> Fraction | None:
    r"""The absolute value of a plain number, `1,000`, `3.50`, `7/8` or `\frac{7}{8}`; None for anything else."""
    cleaned = text.strip().strip("$%").replace("\\$", "").replace("\\%", "").lstrip("+-−").strip()
    if quotient := _QUOTIENT.fullmatch(cleaned):
        above, below = (int(part) for part in quotient.groups() if part is not None)
        return Fraction(above, below) if below else None
    return Fraction(cleaned.replace(",", "")) if _NUMBER.fullmatch(cleaned) else None


def visible_runs(tokens: Iterable[int]) -> Iterator[range]:
    """Maximal runs of consecutive indices: what a reader sees between masks."""
    start = previous = None
    for token in sorted(tokens):
        if start is None or previous is None:
            start = token
        elif token != previous + 1:
            yield range(start, previous + 1)
            start = token
        previous = token
    if start is not None and previous is not None:
        yield range(start, previous + 1)


def _readable_answers(encoded: EncodedProblem, visible: set[int]) -> set[int]:
    """Visible tokens of a run that, read on its own, holds the answer's value."""
    found: set[int] = set()
    for run in visible_runs(visible):
        begin, end = encoded.trace_spans[run.start][0], encoded.trace_spans[run.stop - 1][1]
        for left, right in _occurrences(encoded.problem.trace[begin:end], encoded.problem.answer.strip()):
            found |= _tokens_over(encoded.trace_spans, [(begin + left, begin + right)])
    return found & visible


def _statement(text: str, answer: str) -> Iterator[Span]:
    if boxed := boxes(text):
        yield boxed[-1].start, boxed[-1].end
    elif occurrences := list(_occurrences(text, answer)):
        yield max(occurrences)


def _occurrences(text: str, answer: str) -> Iterator[Span]:
    """Character spans where the answer stands in `text`: by value if it is a number, verbatim in any case."""
    if not answer:
        return
    value = numeric_value(answer)
    if value is None:
        yield from ((m.start(), m.end()) for m in re.finditer(re.escape(answer), text, re.IGNORECASE))
        return
    yield from (span for span in _numbers(text) if value in _readings(text[span[0] : span[1]]))
    if value.denominator != 1:
        quotients = ((m.span(), numeric_value(m.group())) for m in _QUOTIENT.finditer(text))
        yield from (span for span, quotient in quotients if quotient == value)


def _readings(number: str) -> set[Fraction | None]:
    """Values of one number; in `12.50.10` the last part is 0.1 to one reader and, behind a full stop, 10 to another."""
    return {numeric_value(number), numeric_value(number.removeprefix("."))}


def _numbers(text: str) -> Iterator[Span]:
    return (match.span() for match in _NUMBER.finditer(text))


def _tokens_over(token_spans: Sequence[Span], spans: Iterable[Span]) -> frozenset[int]:
    """Tokens that overlap any of the character spans."""
    wanted = list(spans)
    return frozenset(
        index
        for index, (begin, end) in enumerate(token_spans)
        if any(begin < right and left < end for left, right in wanted)
    )
