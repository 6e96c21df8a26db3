"""Which numbers a reader finds on a canvas: written without a look at the trainer's own guard, to judge it.

The canvas is decoded by the tokenizer, run by run of visible tokens, and a mask is a wall between two runs. What looks
like a number is read in every way that somebody might: `12,237` as one number and as two, `1.5.20` as 1.5 and 20.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

WALL = "\N{FULL BLOCK}"
_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_INSIDE = frozenset(",.")


def canvas_text(tokens: Mapping[int, int], tokenizer: Any) -> str:
    """The visible tokens (canvas index to token id) as text, with a wall wherever at least one token is masked."""
    runs: list[list[int]] = []
    previous = None
    for index in sorted(tokens):
        if previous is None or index != previous + 1:
            runs.append([])
        runs[-1].append(tokens[index])
        previous = index
    return WALL.join(tokenizer.decode(run, clean_up_tokenization_spaces=False) for run in runs)


def values_in(text: str) -> set[Decimal]:
    """Absolute values of all numbers in a text, in every reading."""
    values: set[Decimal] = set()
    for begin, end in _stretches(text):
        values |= _readings(text[begin:end])
    return values


def states(text: str, answer: str) -> bool:
    """Whether some number in the text equals the answer, signs aside: 1,000 equals 1000.0."""
    return abs(Decimal(answer.replace(",", ""))) in values_in(text)


def states_in_words(text: str, answer: str) -> bool:
    """Whether an answer from 0 to 20 stands in the text as a word."""
    word = dict(zip(map(str, range(21)), _WORDS, strict=True)).get(answer)
    return word is not None and re.search(rf"\b{word}\b", text, re.IGNORECASE) is not None


def whole_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Character spans of stretches that are one number: `1,250` and `3.50` are, `12,5` and `1.5.20` are not."""
    return (span for span in _stretches(text) if _value(text[span[0] : span[1]]) is not None)


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Character spans of the longest stretches of digits, commas and full stops, punctuation at their ends aside."""
    begin = 0
    for place, character in enumerate([*text, WALL]):
        if character in _INSIDE or "0" <= character <= "9":
            continue
        stretch = text[begin:place]
        if any("0" <= character <= "9" for character in stretch):
            yield begin + len(stretch) - len(stretch.lstrip(",")), begin + len(stretch.rstrip(",."))
        begin = place + 1


def _readings(stretch: str) -> set[Decimal]:
    """All values: the whole, if it is one number, else each part between commas and each pair around a full stop."""
    whole = _value(stretch)
    if whole is not None:
        tail = stretch.removeprefix(".")
        return {whole} | ({Decimal(tail)} if tail != stretch and tail.isdigit() else set())
    values: set[Decimal] = set()
    for part in stretch.split(","):
        pieces = [piece for piece in part.split(".") if piece]
        candidates = [part, *pieces, *(".".join(pair) for pair in pairwise(pieces))]
        values |= {value for value in map(_value, candidates) if value is not None}
    return values


def _value(text: str) -> Decimal | None:
    """Value of `12`, `1,250`, `3.50` or `.5`; None if the text is not one such number."""
    whole, _, fraction = text.partition(".")
    groups = whole.split(",")
    grouped = len(groups) == 1 or (1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:]))
    if not grouped or "," in fraction or "." in fraction:
        return None
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None
