"""ISO 4217 exponents, and money as text."""

import pytest

from payments.currencies import EXPONENTS, format_minor


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (1, "EUR", "0.01"),
        (-1, "EUR", "-0.01"),
        (1234, "EUR", "12.34"),
        (-1234, "USD", "-12.34"),
        (99, "USD", "0.99"),
        (100, "USD", "1.00"),
        (1234, "JPY", "1234"),
        (-5, "JPY", "-5"),
        (0, "JPY", "0"),
        (1234, "KWD", "1.234"),
        (7, "BHD", "0.007"),
        (12345, "CLF", "1.2345"),
        (2**63 - 1, "EUR", "92233720368547758.07"),
        (15, "???", "15"),
    ],
)
def test_format_minor(minor, currency, text):
    assert format_minor(minor, currency) == text


def test_exponents_are_those_of_iso_4217():
    by_exponent = {n: {code for code, e in EXPONENTS.items() if e == n} for n in (0, 2, 3, 4)}
    assert sum(map(len, by_exponent.values())) == len(EXPONENTS)
    assert by_exponent[3] == {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert by_exponent[4] == {"CLF", "UYW"}
    assert {"JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XAF", "XOF", "XPF"} <= by_exponent[0]
    assert {"EUR", "USD", "GBP", "CHF", "CZK", "CNY", "INR", "ZAR"} <= by_exponent[2]
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)
    assert 150 < len(EXPONENTS) < 190
    assert not {"XAU", "XXX", "XTS", "DEM"} & set(EXPONENTS)  # metals, no currency, tests, the past
