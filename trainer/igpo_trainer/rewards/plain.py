r"""Verdicts that need no algebra: numbers and words, decided in the trainer's own process.

Everything here is exact: two plain numbers are equal or they are not. What is neither a plain number nor a word
(`\frac12`, `2\sqrt3`, `(1, 2)`) is left to the verifier in a worker process, see `correctness`.
"""

import re
from decimal import Decimal

from igpo_trainer.rewards.verdict import Outcome

_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d{1,3}(?:(?:\{,\}|,)\d{3})+|\d+)?(?P<fraction>\.\d*)?")
_CURRENCY = re.compile(r"\\?[$€£¥]|\\text\{\\?[$€£¥]\}")
_UNIT = re.compile(
    r"\s*\\(?:text|mathrm|mbox|textrm)\{\s*(?P<latex>[A-Za-z][A-Za-z .]*)\}"
    r"|\s+(?P<words>[A-Za-z]{3,}(?: [A-Za-z]+)*)\.?"
)
_PERCENT = re.compile(r"\s*(?:\\?%|\\?\s*percent)")
_WORD = re.compile(r"(?P<text>\\(?:text|mathrm|mbox|textrm)\{)?\s*(?P<word>[A-Za-z][A-Za-z' -]*?)\s*(?(text)\})")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NO_UNITS = frozenset(
    {"and", "or", "plus", "minus", "times", "over", "half", "squared", "cubed", "factorial", "dozen", "mod"}
    | {"sin", "cos", "tan", "log", "sqrt", "exp", "alpha", "beta", "theta"}
)
_LONGEST = 200


def number_of(text: str) -> Decimal | None:
    """Value of a plain whole or decimal number: `1,000`, `1{,}000`, `-3.50`, `$42`, `42.`; None for anything else."""
    stripped = text.strip().strip("$€£¥").strip()
    sign = ""
    if stripped[:1] in "+-":
        sign, stripped = stripped[:1], stripped[1:]
    currency = _CURRENCY.match(stripped)
    if currency:
        stripped = stripped[currency.end() :].lstrip()
    match = _NUMBER.fullmatch(stripped)
    if match is None or (sign and match["sign"]) or not (match["whole"] or (match["fraction"] or "").strip(".")):
        return None
    digits = (match["whole"] or "0").replace("{,}", "").replace(",", "")
    return Decimal(f"{sign or match['sign']}{digits}{match['fraction'] or ''}")


def _quantity_of(text: str) -> Decimal | None:
    r"""Value of a number with a unit (`18,000 dollars`, `5\text{ cm}`, `70\%`, `2 million`); None if it is none."""
    stripped = text.strip().strip("$€£¥").strip()
    match = re.match(r"[^A-Za-z%\\]*(?:\\[$][^A-Za-z%\\]*)?", stripped)
    head, tail = (stripped[: match.end()], stripped[match.end() :]) if match else ("", stripped)
    spaces = head[len(head.rstrip()) :]
    value = number_of(head)
    if value is None:
        return None
    if _PERCENT.fullmatch(tail):
        return value
    unit = _UNIT.fullmatch(spaces + tail)
    if unit is None:
        return None
    words = (unit["latex"] or unit["words"]).lower().split()
    while words and words[0] in _SCALES:
        value = Decimal(f"{value}e{_SCALES[words.pop(0)]}")
    return None if _NO_UNITS & set(words) else value


def _same_number(content: str, answer: str) -> bool | None:
    """Whether two numbers are equal; None if one is none, or if they differ and a unit may explain it."""
    value, reference = number_of(content), number_of(answer)
    if value is not None and reference is not None:
        return value == reference
    value = value if value is not None else _quantity_of(content)
    reference = reference if reference is not None else _quantity_of(answer)
    return True if value is not None and value == reference else None


def _same_word(content: str, answer: str) -> bool | None:
    r"""Whether two words or phrases are the same, case aside; None if one is none.

    Letters without \text{} may be a product of variables (ab = ba), so short ones count as words only beside a \text{}.
    """
    first, second = _WORD.fullmatch(content), _WORD.fullmatch(answer)
    if first is None or second is None:
        return None
    words = [" ".join(match["word"].casefold().split()) for match in (first, second)]
    if first["text"] is None and second["text"] is None and min(map(len, words)) < 4:
        return None
    return words[0] == words[1]


def plain_outcome(content: str, answer: str) -> Outcome | None:
    """Right or wrong when that is plain to see; None when it needs a verifier.

    `content` is what stands in the box, `answer` the reference. Equal text is right; two plain numbers are compared
    by value (1,000 = 1000.0); a unit, currency or percent sign beside an equal number does not matter, beside another
    number it is left to the verifier (70% may equal 0.7); two words are compared without regard to case.
    """
    content, answer = content.strip(), answer.strip()
    if not content or content == answer:
        return Outcome.RIGHT if content else Outcome.WRONG
    if max(len(content), len(answer)) > _LONGEST:
        return None
    same = _same_number(content, answer)
    if same is None:
        same = _same_word(content, answer)
    return None if same is None else Outcome.RIGHT if same else Outcome.WRONG
