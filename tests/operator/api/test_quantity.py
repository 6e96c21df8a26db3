from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.quantity import value_of


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        (4, "4"),
        ("4", "4"),
        ("500m", "0.5"),
        (".5", "0.5"),
        ("2.", "2"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        ("1E2", "100"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("3n", "0.000000003"),
    ],
)
def test_an_amount_has_the_value_that_kubernetes_gives_it(quantity, value):
    assert value_of(quantity) == Decimal(value)


@pytest.mark.parametrize("quantity", ["lots", "1gb", "-1", "1 Gi", "0x10"])
def test_what_is_no_amount_is_an_error_that_shows_one(quantity):
    with pytest.raises(ValueError, match="is not an amount; write a number with an optional unit"):
        value_of(quantity)


@given(st.integers(0, 10**6))
def test_a_unit_scales(number):
    assert value_of(f"{number}Ti") == 1024 * value_of(f"{number}Gi") == 1024**4 * value_of(number)
