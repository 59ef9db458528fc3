"""The import of foreign rows: what payment a row of a CSV becomes under a mapping, and how its accounts are opened.

Pure rules. Nothing passes through a float: amounts are decimal digits shifted by the exponent of ISO 4217.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from payments.admission import MAX_ID_CHARS, is_account_id
from payments.currencies import EXPONENTS
from payments.mapping import BY_SIGN, ImportMapping, Template, sides
from schemas.payments import AccountOpened, Money, PaymentInitiated
from transforms.errors import BadRecord
from transforms.topic_settings import DAY_MS

UNLIMITED = 10**18  # minor units: an overdraft that no account of this ledger can use up, and that leaves 64 bits room
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MAX_LONG = 2**63 - 1
_LAST = 253_402_300_799_999  # the end of the year 9999, ms


def map_row(mapping: ImportMapping, line: int, row: Mapping[str, str]) -> PaymentInitiated:
    """The payment of a row; `line` is its number in its file, from 1.

    Raises:
        BadRecord: the row cannot be mapped. Codes: EMPTY_FIELD, BAD_ID, UNMAPPED_KIND, BAD_CURRENCY, BAD_AMOUNT, TOO_MANY_DECIMALS,
            AMOUNT_TOO_LARGE, BAD_TIME, BAD_TIMEOUT, TOO_LONG. What admission judges (a zero amount, both accounts the same) passes: it
            gets a status there.
    """
    payment_id = _needed(mapping.payment_id, "payment_id", row)
    if len(payment_id) > MAX_ID_CHARS:
        raise BadRecord("BAD_ID", "payment_id is too long")
    currency = mapping.currency.fill(row)
    minor = minor_units(mapping.amount.fill(row), currency, mapping.decimal_mark, mapping.group_mark)
    if mapping.kind is not None:
        kind = mapping.kinds.get(mapping.kind.fill(row))
    else:
        kind, minor = mapping.kinds.get(BY_SIGN[minor < 0]), abs(minor)
    if kind is None:
        raise BadRecord("UNMAPPED_KIND", "kind")
    accounts = {side: _account(mapping, side, row) for side in sides(kind)}
    timeout = _optional(mapping.hold_timeout_ms, row) if kind == "HOLD" else None
    if timeout is not None and not re.fullmatch("[0-9]{1,15}", timeout):
        raise BadRecord("BAD_TIMEOUT", "hold_timeout_ms")
    pending = _needed(mapping.pending_id, "pending_id", row) if kind in ("CAPTURE", "VOID") else None
    original = _needed(mapping.original_payment_id, "original_payment_id", row) if kind == "REVERSAL" else None
    reference = " ".join((_optional(mapping.reference, row) or "").split()) or None  # empty columns leave no gaps
    source = _optional(mapping.source, row) or "import"
    texts = {"pending_id": pending, "original_payment_id": original, "reference": reference, "source": source}
    for name, text in texts.items():
        if text is not None and len(text) > MAX_ID_CHARS:
            raise BadRecord("TOO_LONG", name)
    return PaymentInitiated(
        payment_id,
        kind,
        accounts.get("debtor_account"),
        accounts.get("creditor_account"),
        Money(minor, currency),
        pending,
        None if timeout is None else int(timeout),
        original,
        reference,
        source,
        _time(mapping, line, row),
    )


def _needed(template: Template | None, name: str, row: Mapping[str, str]) -> str:
    text = _optional(template, row)
    if text is None:
        raise BadRecord("EMPTY_FIELD", name)
    return text


def _optional(template: Template | None, row: Mapping[str, str]) -> str | None:
    """None where the template gives nothing, or all its columns are empty: `ref {a}` without an `a` is no reference."""
    if template is None or (template.columns and not any(row[column].strip() for column in template.columns)):
        return None
    return template.fill(row).strip() or None


def _account(mapping: ImportMapping, side: str, row: Mapping[str, str]) -> str:
    account = _needed(getattr(mapping, side) or mapping.account, side, row)
    if not is_account_id(account):
        raise BadRecord("BAD_ID", side)
    return account


def minor_units(text: str, currency: str, decimal: str = ".", group: str = "") -> int:
    """A decimal number in minor units of its currency, exactly. More decimals than the currency has are an error even where they are zero:
    such a number was probably written with other marks. BadRecord as for `map_row`.
    """
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise BadRecord("BAD_CURRENCY", "currency")
    match = _number(decimal, group).fullmatch(text.strip())
    if match is None:
        raise BadRecord("BAD_AMOUNT", "amount")
    sign, whole, decimals = match[1], match[2], match[3] or ""
    if group:
        whole = whole.replace(group, "")
    if len(decimals) > exponent:
        raise BadRecord("TOO_MANY_DECIMALS", "amount")
    digits = (whole + decimals.ljust(exponent, "0")).lstrip("0") or "0"
    if len(digits) > 19 or (minor := int(digits)) > _MAX_LONG:
        raise BadRecord("AMOUNT_TOO_LARGE", "amount")
    return -minor if sign == "-" else minor


@lru_cache(64)
def _number(decimal: str, group: str) -> re.Pattern[str]:
    whole = "[0-9]+" if not group else f"[0-9]+|[0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+"
    return re.compile(f"([+-]?)({whole})(?:{re.escape(decimal)}([0-9]+))?")


def _time(mapping: ImportMapping, line: int, row: Mapping[str, str]) -> int:
    at = parse_ms(mapping.time.fill(row).strip(), mapping.time_format)
    if mapping.order_by_line:
        if line >= DAY_MS:
            raise BadRecord("BAD_TIME", "the file has more lines than a day has milliseconds")
        at += line
    return at


@lru_cache(1 << 12)
def parse_ms(text: str, form: str) -> int:
    """Milliseconds since 1970; UTC where the text does not name another zone."""
    if form in ("epoch_ms", "epoch_s"):
        if not re.fullmatch("[0-9]{1,14}", text):
            raise BadRecord("BAD_TIME", "time")
        at = int(text) * (1000 if form == "epoch_s" else 1)
    else:
        try:
            time = datetime.strptime(text, form)
            at = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MS
        except (ValueError, OverflowError):
            raise BadRecord("BAD_TIME", "time") from None
    if not 0 <= at <= _LAST:
        raise BadRecord("BAD_TIME", "outside the years 1970 to 9999")
    return at


def accounts_of(payment: PaymentInitiated) -> tuple[tuple[str, tuple[int, str]], ...]:
    """The accounts that a payment names, each with (time, currency): the smallest of an account decides how it is opened."""
    seen = (payment.requested_at, payment.amount.currency)
    return tuple(
        (account, seen) for account in (payment.debtor_account, payment.creditor_account) if account is not None
    )


def opening(mapping: ImportMapping, account: str, first: tuple[int, str]) -> tuple[int, AccountOpened]:
    """(append time, event) that opens an account just before its first payment, which is at first[0] in currency first[1]."""
    at, currency = max(0, first[0] - 1), first[1]
    return at, AccountOpened(
        f"import/{account}",
        account,
        0,
        currency,
        _limit(mapping.overdraft_limit, currency),
        None if mapping.daily_limit is None else _limit(mapping.daily_limit, currency),
        mapping.one_in_flight,
        at,
    )


def _limit(text: str, currency: str) -> int:
    """Decimals that the currency has not are left out: one mapping serves accounts of several currencies."""
    if text == "unlimited":
        return UNLIMITED
    whole, _, decimals = text.partition(".")
    exponent = EXPONENTS[currency]
    return int(whole + decimals[:exponent].ljust(exponent, "0"))
