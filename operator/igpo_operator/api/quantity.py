"""Amounts as numbers, to compare them."""

import re
from decimal import Decimal
from typing import Final

_LETTERS: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES: Final = (
    {"": Decimal(1)}
    | {letter: Decimal(10) ** power for letter, power in _LETTERS.items()}
    | {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
)
_FORM: Final = re.compile(r"([0-9]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?)([KMGTPE]i|[numkMGTPE])?")


def value_of(quantity: int | str) -> Decimal:
    """Value of an amount such as 500m or 200Gi, in its base unit. Raises ValueError for what is no amount."""
    match = _FORM.fullmatch(str(quantity))
    if match is None:
        raise ValueError(f"{quantity} is not an amount; write a number with an optional unit")
    number, suffix = match.groups()
    return Decimal(number) * _SUFFIXES[suffix or ""]
