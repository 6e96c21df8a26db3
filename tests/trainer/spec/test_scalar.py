"""Scalars against kubectl's reader.

Every expected value below was printed by sigs.k8s.io/yaml v1.6.0 (YAMLToJSON of `a: <text>`).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.spec.scalar import resolve_scalar

FLOATS = {
    "5e-7": 5e-7,
    "5.0e-7": 5e-7,
    "5E-7": 5e-7,
    ".5": 0.5,
    "-.5": -0.5,
    "+.5": 0.5,
    "1_000.5": 1000.5,
    "09.5": 9.5,
    "2.50": 2.5,
    "0.1": 0.1,
    "1._5": 1.5,
    "1E-3": 1e-3,
    "9223372036854775808": 9223372036854775808.0,
    "-9223372036854775809": -9223372036854775808.0,
    "18446744073709551615": 18446744073709551615.0,
    "123456789012345678901234567890": 1.2345678901234568e29,
    "0x8000000000000000": 9223372036854775808.0,
    "0xFFFFFFFFFFFFFFFF": 18446744073709551615.0,
    "0o1777777777777777777777": 18446744073709551615.0,
    "1e21": 1e21,
}
INTEGERS = {
    "0": 0,
    "+0": 0,
    "-0": 0,
    "-0.0": 0,
    "0e0": 0,
    "00": 0,
    "0_0": 0,
    "+5": 5,
    "-5": -5,
    "5.": 5,
    "5._": 5,
    "1.0": 1,
    "256.0": 256,
    "1e2": 100,
    "5e7": 50000000,
    "5e+7": 50000000,
    ".5e3": 500,
    "5.e3": 5000,
    "1_000": 1000,
    "1__0": 10,
    "1_": 1,
    "-_5": -5,
    "1_000e3": 1000000,
    "1e1_0": 10000000000,
    "0x1F": 31,
    "0X1F": 31,
    "0x_1F": 31,
    "-0x1F": -31,
    "+0x1F": 31,
    "0o17": 15,
    "0O17": 15,
    "-0o17": -15,
    "0o_7": 7,
    "017": 15,
    "-017": -15,
    "007": 7,
    "0_7": 7,
    "0777": 511,
    "08": 8,
    "0b101": 5,
    "0B101": 5,
    "-0b101": -5,
    "0b_1": 1,
    "0b-101": -5,
    "0b+101": 5,
    "1e-400": 0,
    "9223372036854775807": 9223372036854775807,
    "-9223372036854775808": -9223372036854775808,
    "-0x8000000000000000": -9223372036854775808,
}
TEXTS = (
    *("1e400", "inf", "nan", "yEs", "tRue", "nULL", "190:20:30", "1:30", "2001-12-14", "2001-12-14t21:59:43.10-05:00"),
    *(
        "1e",
        "e5",
        "1.2.3",
        "_1",
        "+_",
        "0x",
        "0o",
        "0b",
        "0b102",
        "0o18",
        "0x1p4",
        ".",
        "+",
        "._5",
        "_.5",
        ".e3",
        "=",
        "<<",
    ),
    *("-0b", "-0o", "1,000", "0x10000000000000000", "-0x8000000000000001", "0o-7", "5e", "1e+", "٣", "5 e-7", "NaN"),
)
TRUE = ("yes", "Yes", "YES", "y", "Y", "on", "On", "ON", "true", "True", "TRUE")
FALSE = ("no", "No", "NO", "n", "N", "off", "Off", "OFF", "false", "False", "FALSE")
NULL = ("", "~", "null", "Null", "NULL")
NOT_FINITE = (".inf", "-.inf", "+.inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN")


@pytest.mark.parametrize(("text", "value"), FLOATS.items())
def test_a_float_is_read_as_kubectl_reads_it(text, value):
    assert resolve_scalar(text) == value
    assert type(resolve_scalar(text)) is float


@pytest.mark.parametrize(("text", "value"), INTEGERS.items())
def test_a_whole_number_is_an_int_however_it_is_written(text, value):
    assert resolve_scalar(text) == value
    assert type(resolve_scalar(text)) is int


@pytest.mark.parametrize("text", TEXTS)
def test_what_only_looks_like_a_number_is_text(text):
    assert resolve_scalar(text) == text


@pytest.mark.parametrize(("texts", "value"), [(TRUE, True), (FALSE, False), (NULL, None)])
def test_words_of_yaml_1_1_keep_their_meaning(texts, value):
    assert [resolve_scalar(text) for text in texts] == [value] * len(texts)


@pytest.mark.parametrize("text", NOT_FINITE)
def test_a_number_that_json_cannot_hold_is_refused(text):
    with pytest.raises(ValueError, match="not a finite number"):
        resolve_scalar(text)


digits = st.text("0123456789", min_size=1, max_size=6)


@st.composite
def decimal_spellings(draw):
    """A number written in one of YAML's ways, and the same digits as Python reads them."""
    whole, fraction, exponent = draw(digits), draw(digits), draw(st.integers(-20, 20))
    sign = draw(st.sampled_from(["", "+", "-"]))
    point = draw(st.sampled_from([f"{whole}.{fraction}", f".{fraction}", f"{whole}."]))
    power = draw(st.sampled_from(["", f"e{exponent}", f"E{exponent:+d}", f"e{exponent:+03d}"]))
    text = f"{sign}{point}{power}"
    return text, float(text)


@given(decimal_spellings())
def test_every_decimal_spelling_has_its_value(spelling):
    text, value = spelling
    assert resolve_scalar(text) == value


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["d", "#x", "#X", "#o", "#b", "_d"]))
def test_every_integer_has_its_value_in_every_base(value, spelling):
    assert resolve_scalar(format(value, spelling)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_python_float_survives(value):
    assert resolve_scalar(repr(value)) == value


@given(st.text(max_size=12))
def test_any_text_resolves_to_a_json_scalar_or_is_refused_as_not_finite(text):
    try:
        value = resolve_scalar(text)
    except ValueError:
        assert text in NOT_FINITE or text.lstrip("+-").lower() == ".inf"
    else:
        assert value is None or isinstance(value, str | int | float | bool)
        assert not isinstance(value, str) or value == text
