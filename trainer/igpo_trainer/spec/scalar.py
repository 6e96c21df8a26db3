"""One YAML scalar read as kubectl reads it, so that a manifest means the same at a desk and on a cluster.

kubectl's reader (sigs.k8s.io/yaml) is neither YAML 1.1 nor 1.2: `5e-7` is a number as in 1.2, `yes` is true and
`017` is octal as in 1.1, `1:30` is text. Its JSON output also turns `256.0` into the whole number 256.
"""

import math
import re
from typing import Final

Scalar = str | int | float | bool | None

_TRUE: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE: Final = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NON_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_BASES: Final = (
    (re.compile(r"([-+]?)0[bB]([01]+)"), 2),
    (re.compile(r"([-+]?)0[oO]?([0-7]+)"), 8),
    (re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)"), 16),
    (re.compile(r"([-+]?)(0|[1-9][0-9]*)"), 10),
    (re.compile(r"0b([-+])([01]+)"), 2),  # kubectl reads the sign after the prefix as well
)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT64: Final = range(-(2**63), 2**63)


def resolve_scalar(text: str) -> Scalar:
    """Value of a plain (unquoted) scalar; whole numbers come back as int, however they were written.

    Raises ValueError for .inf and .nan, which JSON, and so the cluster, cannot hold.
    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _NULL:
        return None
    if _NON_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; write one")
    # Underscores group digits, except where the number starts with its point.
    number = _number(text if text.startswith(".") else text.replace("_", "")) if text[0] in "+-.0123456789" else None
    return text if number is None else number


def _number(text: str) -> int | float | None:
    whole = _whole(text)
    if whole is not None:
        # Beyond 64 bits signed the cluster keeps a double.
        return whole if whole in _INT64 else float(whole)
    if not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    if math.isinf(value):
        return None  # kubectl: out of range is text
    return int(value) if value.is_integer() and abs(value) < 2.0**63 else value


def _whole(text: str) -> int | None:
    for pattern, base in _BASES:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        sign, digits = match.groups()
        value = int(digits, base) * (-1 if sign == "-" else 1)
        # Signed numbers must fit 64 bits signed, others 64 bits unsigned; longer ones may still be a float.
        return value if value in _INT64 or (not sign and value < 2**64) else None
    return None
