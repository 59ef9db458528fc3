"""Rows to payments: exact amounts, times, accounts, and a code for each row that cannot be mapped."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.account import MAX_COUNTER
from payments.currencies import EXPONENTS, format_minor
from payments.imports import UNLIMITED, accounts_of, map_row, minor_units, opening
from payments.mapping import parse_mapping
from schemas.payments import AccountOpened, Money, PaymentInitiated
from transforms.errors import BadRecord
from transforms.topic_settings import DAY_MS

BANK: dict[str, Any] = {
    "payment_id": "b-{id}",
    "kind": {"from": "{way}", "values": {"in": "DEPOSIT", "out": "WITHDRAWAL"}},
    "account": "{account}",
    "amount": "{amount}",
    "currency": "{currency}",
    "time": {"from": "{date}", "format": "%Y-%m-%d", "order": "line"},
    "reference": "{text} {more}",
    "source": "bank",
}
ROW = {
    "id": "7",
    "way": "out",
    "account": "a1",
    "amount": "12.50",
    "currency": "EUR",
    "date": "1970-01-03",
    "text": "rent",
    "more": "",
}


def row(**changes: str) -> dict[str, str]:
    return {**ROW, **changes}


def test_a_row_becomes_a_payment() -> None:
    mapping = parse_mapping(BANK)
    assert map_row(mapping, 5, ROW) == PaymentInitiated(
        *("b-7", "WITHDRAWAL", "a1", None, Money(1250, "EUR"), None, None, None, "rent", "bank", 2 * DAY_MS + 5)
    )
    paid = map_row(mapping, 6, row(way=" in ", more=" and  more", text=""))
    assert paid[1:4] == ("DEPOSIT", None, "a1") and paid.reference == "and more" and paid.requested_at == 2 * DAY_MS + 6
    assert map_row(mapping, 6, row(text="", more="")).reference is None


def test_kinds_with_two_accounts_holds_and_originals() -> None:
    mapping = parse_mapping(
        BANK
        | {
            "kind": {"from": "{way}", "values": {x: x for x in ("TRANSFER", "HOLD", "CAPTURE", "VOID", "REVERSAL")}},
            "debtor_account": "{account}",
            "creditor_account": "{to}",
            "pending_id": "{hold}",
            "original_payment_id": "{hold}",
            "hold_timeout_ms": "{wait}",
            "time": {"from": "{date}", "format": "epoch_s"},
        }
    )
    fields = {"date": "3", "to": "a2", "hold": "b-1", "wait": "60000"}
    assert map_row(mapping, 1, row(way="TRANSFER", **fields))[2:8] == ("a1", "a2", Money(1250, "EUR"), None, None, None)
    assert map_row(mapping, 1, row(way="HOLD", **fields))[2:8] == ("a1", None, Money(1250, "EUR"), None, 60_000, None)
    assert map_row(mapping, 1, row(way="HOLD", **(fields | {"wait": ""}))).hold_timeout_ms is None
    assert map_row(mapping, 1, row(way="CAPTURE", **fields))[2:8] == ("a1", "a2", Money(1250, "EUR"), "b-1", None, None)
    assert map_row(mapping, 1, row(way="VOID", **fields))[2:8] == ("a1", None, Money(1250, "EUR"), "b-1", None, None)
    reversal = map_row(mapping, 1, row(way="REVERSAL", **fields))
    assert reversal[2:8] == ("a1", "a2", Money(1250, "EUR"), None, None, "b-1") and reversal.requested_at == 3000
    with pytest.raises(BadRecord, match="BAD_TIMEOUT"):
        map_row(mapping, 1, row(way="HOLD", **(fields | {"wait": "soon"})))
    for way, name in (("VOID", "pending_id"), ("REVERSAL", "original_payment_id")):
        with pytest.raises(BadRecord, match=f"TOO_LONG.*{name}"):
            map_row(mapping, 1, row(way=way, **(fields | {"hold": "x" * 129})))
    with pytest.raises(BadRecord, match=r"EMPTY_FIELD.*pending_id"):
        map_row(mapping, 1, row(way="VOID", **(fields | {"hold": " "})))


def test_the_sign_may_say_the_kind() -> None:
    mapping = parse_mapping(BANK | {"kind": {"positive": "DEPOSIT", "negative": "WITHDRAWAL"}})
    assert map_row(mapping, 1, row(amount="-3.00"))[1:5] == ("WITHDRAWAL", "a1", None, Money(300, "EUR"))
    assert map_row(mapping, 1, row(amount="+3.00"))[1:5] == ("DEPOSIT", None, "a1", Money(300, "EUR"))
    only = parse_mapping(BANK | {"kind": {"positive": "DEPOSIT"}})
    with pytest.raises(BadRecord, match="UNMAPPED_KIND"):
        map_row(only, 1, row(amount="-3.00"))


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"way": "sideways"}, "UNMAPPED_KIND", "kind"),
        ({"way": ""}, "UNMAPPED_KIND", "kind"),
        ({"id": " "}, "EMPTY_FIELD", "payment_id"),
        ({"id": "x" * 127}, "BAD_ID", "payment_id is too long"),
        ({"text": "x" * 129}, "TOO_LONG", "reference"),
        ({"account": ""}, "EMPTY_FIELD", "debtor_account"),
        ({"account": "", "way": "in"}, "EMPTY_FIELD", "creditor_account"),
        ({"account": "~outside"}, "BAD_ID", "debtor_account"),
        ({"currency": "eur"}, "BAD_CURRENCY", "currency"),
        ({"amount": ""}, "BAD_AMOUNT", "amount"),
        ({"amount": "1e3"}, "BAD_AMOUNT", "amount"),
        ({"amount": "٣"}, "BAD_AMOUNT", "amount"),
        ({"amount": "1,000.00"}, "BAD_AMOUNT", "amount"),
        ({"amount": "1.000"}, "TOO_MANY_DECIMALS", "amount"),
        ({"amount": "9" * 18}, "AMOUNT_TOO_LARGE", "amount"),
        ({"amount": "92233720368547758.08"}, "AMOUNT_TOO_LARGE", "amount"),
        ({"date": "1970-02-30"}, "BAD_TIME", "time"),
        ({"date": "1969-12-31"}, "BAD_TIME", "outside the years 1970 to 9999"),
    ],
)
def test_rows_that_cannot_be_mapped(changes: dict[str, str], code: str, detail: str) -> None:
    with pytest.raises(BadRecord) as caught:
        map_row(parse_mapping(BANK), 1, row(**changes))
    assert (caught.value.code, caught.value.detail) == (code, detail)


def test_a_source_that_is_too_long() -> None:
    assert map_row(parse_mapping(BANK | {"source": "x" * 128}), 1, row()).source == "x" * 128
    with pytest.raises(BadRecord) as caught:
        map_row(parse_mapping(BANK | {"source": "x" * 129}), 1, row())
    assert (caught.value.code, caught.value.detail) == ("TOO_LONG", "source")


def test_what_admission_judges_passes() -> None:
    mapping = parse_mapping(BANK)
    assert map_row(mapping, 1, row(amount="0")).amount.minor == 0
    assert map_row(mapping, 1, row(amount="-1.00")).amount.minor == -100
    assert map_row(mapping, 1, row(amount="92233720368547758.07")).amount.minor == 2**63 - 1


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 4))
def test_amounts_are_exact(currency: str, minor: int, cut: int) -> None:
    """Against Decimal, with as many decimals as there are and with fewer where these are zeros."""
    text = format_minor(minor, currency)
    assert minor_units(text, currency) == minor
    shorter = text[: len(text) - cut] if "." in text and not text[len(text) - cut :].strip("0") else text
    shorter = shorter.rstrip(".")
    assert minor_units(shorter, currency) == int(Decimal(shorter).scaleb(EXPONENTS[currency]))


@pytest.mark.parametrize(
    ("text", "marks", "minor"),
    [
        ("1.234.567,89", (",", "."), 123456789),
        ("1234567,8", (",", "."), 123456780),
        ("1 234", (".", " "), 123400),
        ("-1'234.5", (".", "'"), -123450),
        ("007", (".", ""), 700),
    ],
)
def test_marks(text: str, marks: tuple[str, str], minor: int) -> None:
    assert minor_units(text, "EUR", *marks) == minor


@pytest.mark.parametrize("text", ["1.23", "12.34,00", ".100,00", "1..000", "1,000", "1234.567"])
def test_wrong_marks(text: str) -> None:
    with pytest.raises(BadRecord, match=r"BAD_AMOUNT|TOO_MANY_DECIMALS"):
        minor_units(text, "EUR", ",", ".")


@pytest.mark.parametrize(
    ("form", "text", "at"),
    [
        ("%Y-%m-%dT%H:%M:%S%z", "1970-01-01T01:00:00+0100", 0),
        ("%Y-%m-%d %H:%M:%S.%f", "1970-01-01 00:00:01.999999", 1999),
        ("%d.%m.%Y", "31.12.9999", 253_402_214_400_000),
        ("epoch_ms", "123456", 123456),
        ("epoch_s", "253402300799", 253_402_300_799_000),
    ],
)
def test_times(form: str, text: str, at: int) -> None:
    mapping = parse_mapping(BANK | {"time": {"from": "{date}", "format": form}})
    assert map_row(mapping, 99, row(date=text)).requested_at == at


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("epoch_ms", "-1"),
        ("epoch_ms", "1.5"),
        ("epoch_s", "253402300800"),
        ("%Y", "12345"),
        ("%Y-%m-%d%z", "0001-01-01+2359"),
    ],
)
def test_bad_times(form: str, text: str) -> None:
    mapping = parse_mapping(BANK | {"time": {"from": "{date}", "format": form}})
    with pytest.raises(BadRecord, match="BAD_TIME"):
        map_row(mapping, 1, row(date=text))


def test_lines_order_a_day_and_stay_within_it() -> None:
    mapping = parse_mapping(BANK)
    times = [map_row(mapping, line, ROW).requested_at for line in (1, 2, 3, DAY_MS - 1)]
    assert times == sorted(set(times)) and {time // DAY_MS for time in times} == {2}
    with pytest.raises(BadRecord, match="BAD_TIME"):
        map_row(mapping, DAY_MS, ROW)


def test_accounts_open_just_before_their_first_payment() -> None:
    mapping = parse_mapping(
        BANK | {"accounts": {"overdraft_limit": "100.5", "daily_limit": "7", "one_in_flight": True}}
    )
    payment = map_row(mapping, 2, ROW)
    ((account, first),) = accounts_of(payment)
    at, event = opening(mapping, account, first)
    assert at == payment.requested_at - 1 and at // DAY_MS == 2
    assert event == AccountOpened("import/a1", "a1", 0, "EUR", 10050, 700, True, at)
    assert opening(mapping, "j", (0, "JPY")) == (0, AccountOpened("import/j", "j", 0, "JPY", 100, 7, True, 0))
    both = payment._replace(creditor_account="a2")
    assert [name for name, _ in accounts_of(both)] == ["a1", "a2"]


def test_an_unlimited_overdraft_is_one_that_the_ledger_takes() -> None:
    mapping = parse_mapping(BANK | {"accounts": {"overdraft_limit": "unlimited"}})
    _, event = opening(mapping, "a", (5, "EUR"))
    assert event.overdraft_limit == UNLIMITED < MAX_COUNTER and event.daily_limit is None and not event.one_in_flight


def test_a_large_limit_in_any_currency_is_one_that_the_ledger_takes() -> None:
    mapping = parse_mapping(BANK | {"accounts": {"overdraft_limit": "9" * 14 + ".9999"}})
    for currency in EXPONENTS:
        assert 0 < opening(mapping, "a", (5, currency))[1].overdraft_limit <= MAX_COUNTER
