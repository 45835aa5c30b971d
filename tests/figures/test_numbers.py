import math

import pytest

from cnnviz.figures import numbers


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-0.314, 2, "−0.31"),
        (0.0, 2, "0.00"),
        (-0.001, 2, "0.00"),
        (1234.5, 1, "1,234.5"),
        (math.nan, 2, "not a number"),
    ],
)
def test_a_fixed_number_has_a_true_minus_and_no_minus_before_zero(value, digits, text):
    assert numbers.fixed(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(6.3577, "6.36"), (0.004216, "0.00422"), (12.345, "12.3"), (123456.0, "123,456"), (-3.1e-7, "−3.1e−7"), (0, "0"),
     (9.999, "10.0")],
)  # fmt: skip
def test_a_short_number_keeps_three_digits(value, text):
    assert numbers.short(value) == text


def test_a_tiny_probability_is_not_called_zero():
    assert numbers.percent(0.0004, unit=False) == "<\N{NO-BREAK SPACE}0.1"
    assert numbers.percent(0.7443) == "74.4\N{NO-BREAK SPACE}%"
    assert numbers.percent(0.0) == "0.0\N{NO-BREAK SPACE}%"


def test_rows_are_named_by_first_and_last():
    assert numbers.span(17, 25) == "17–24"
    assert numbers.span(3, 4) == "3"
    assert numbers.lines("row", 17, 25) == "rows 17–24"
    assert numbers.lines("column", 3, 4) == "column 3"


def test_a_list_ends_with_and():
    assert numbers.listing(["21", "28", "30"]) == "21, 28 and 30"
    assert numbers.listing(["21"]) == "21"
