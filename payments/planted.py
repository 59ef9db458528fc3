"""Planted faults: what the generator does wrong on purpose, and what must become of each.

A recipe gives the steps of one fault: records that are fine (a hold, say) and the bad one that follows (a capture of more than was held).
Every bad payment carries the reference `planted/NAME`, which its statuses echo, so the outcome can be counted by name beside ordinary
traffic.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from payments import codes
from payments.admission import CLOCK_TOLERANCE_MS, MAX_HOLD_MS, MAX_ID_CHARS, MAX_MINOR
from payments.settings import VELOCITY
from schemas.payments import AccountFrozen, AccountOpened, Kind, Money, PaymentInitiated, PaymentOverdue
from schemas.rails import Rule
from transforms.topic_settings import DAY_MS

PREFIX = "planted/"
SOON = 500  # ms between the steps of a recipe: longer than the hops of a payment take
VELOCITY_LIMIT = 10**12  # minor units an hour: only planted debits come near it
FRAUD_MINOR = 2 * VELOCITY_LIMIT
DAILY_LIMIT = 100  # of the accounts that have one
GATE_BURST, GATE_OVERFLOW = 68, 3  # debits at once on a gated account: one goes, 64 wait, the rest are refused
ROLES = ("rich", "payee", "poor", "limited", "frozen", "closed", "gated", "spare")


class Expected(NamedTuple):
    """The outcome of a bad record: a status with its reason, or a dead letter with its code (`letters` of them)."""

    status: str | None = None
    reason: str | None = None
    dead_letter: str | None = None
    letters: int = 1


class Step(NamedTuple):
    """One record of a recipe, `delay_ms` after its beginning.

    event: what it says; key: None for the event's own, else the record's key (empty: no key); corrupt: what is done to the encoded value;
    bad: counts as planted; claim_ms: claimed time minus append time, None for an ordinary claim; again_ms: the same bytes once more, so
    much later.
    """

    delay_ms: int
    event: Any
    bad: bool = True
    key: bytes | None = None
    corrupt: Callable[[bytes], bytes | None] | None = None
    claim_ms: int | None = None
    again_ms: int | None = None


class World(NamedTuple):
    """What a recipe may use: a currency, the accounts of its roles, an account of another currency, a payment that was accepted lately."""

    currency: str
    roles: dict[str, str]
    foreign: str
    recent: PaymentInitiated
    new_id: Callable[[], str]

    def pay(
        self,
        kind: Kind,
        debtor: str | None,
        creditor: str | None,
        minor: int = 100,
        *,
        currency: str | None = None,
        pending: str | None = None,
        timeout: int | None = None,
        original: str | None = None,
        payment_id: str | None = None,
    ) -> PaymentInitiated:
        """A payment by the names of roles; other names are account ids. The generator sets reference and claimed time."""
        return PaymentInitiated(
            self.new_id() if payment_id is None else payment_id,
            kind,
            self.roles.get(debtor, debtor) if debtor is not None else None,
            self.roles.get(creditor, creditor) if creditor is not None else None,
            Money(minor, currency or self.currency),
            pending,
            timeout,
            original,
            None,
            "planted",
            0,
        )


Recipe = Callable[[World], Sequence[Step]]


def _one(*arguments: Any, **options: Any) -> Recipe:
    """A single bad payment."""
    return lambda world: [Step(0, world.pay(*arguments, **options))]


def _claimed(claim_ms: int) -> Recipe:
    return lambda world: [Step(0, world.pay("TRANSFER", "rich", "payee"), claim_ms=claim_ms)]


def _hold_then(*later: tuple[Kind, int, bool], minor: int = 1000, timeout: int | None = 600_000) -> Recipe:
    """A hold, then steps of (kind, amount, bad) on it, each 500 ms after the one before, but not before a timeout of less has passed."""

    def steps(world: World) -> list[Step]:
        hold = world.pay("HOLD", "rich", None, minor, timeout=timeout)
        found = [Step(0, hold, bad=False)]
        for number, (kind, amount, bad) in enumerate(later, 1):
            creditor = "payee" if kind == "CAPTURE" else None
            payment = world.pay(kind, "rich", creditor, amount, pending=hold.payment_id)
            found.append(Step(number * SOON, payment, bad))
        return found

    return steps


def _reversal(minor: int, creditor: str = "rich") -> Recipe:
    """A transfer of 1,000 from rich to payee, then the reversal."""

    def steps(world: World) -> list[Step]:
        first = world.pay("TRANSFER", "rich", "payee", 1000)
        back = world.pay("REVERSAL", "payee", creditor, minor, original=first.payment_id)
        return [Step(0, first, bad=False), Step(SOON, back)]

    return steps


def _other_body(world: World) -> list[Step]:
    amount = world.recent.amount
    return [Step(SOON, world.recent._replace(amount=Money(amount.minor + 1, amount.currency)))]


def _failed_again(world: World) -> list[Step]:
    return [Step(0, world.pay("TRANSFER", "poor", "payee"), again_ms=SOON)]


def _gate_queue(world: World) -> list[Step]:
    """Which of them are refused is decided by the order of the log; in that of (time, id) it is the last."""
    fine = GATE_BURST - GATE_OVERFLOW
    return [Step(0, world.pay("TRANSFER", "gated", "payee", 1), bad=number >= fine) for number in range(GATE_BURST)]


def _corrupt(change: Callable[[bytes], bytes | None]) -> Recipe:
    return lambda world: [Step(0, world.pay("TRANSFER", "rich", "payee"), corrupt=change)]


def _keyed(key: bytes) -> Recipe:
    return lambda world: [Step(0, world.pay("TRANSFER", "rich", "payee"), key=key)]


def _with_id(payment_id: str) -> Recipe:
    return lambda world: [Step(0, world.pay("TRANSFER", "rich", "payee", payment_id=payment_id))]


def _says(event: Callable[[World], Any]) -> Recipe:
    return lambda world: [Step(0, event(world))]


def _opened(world: World, account: str, currency: str, overdraft: int) -> AccountOpened:
    return AccountOpened(world.new_id(), account, 0, currency, overdraft, None, False, 0)


def _overdue(world: World) -> PaymentOverdue:
    """What no client may say."""
    return PaymentOverdue(world.new_id(), "PDNG", 0, 1, 1)


# In an encoded payment the frame takes 5 bytes, the length of the id one, then follow the id (under 64 bytes) and the kind.
def _put(value: bytes, at: int, data: bytes, instead: int = 1) -> bytes:
    return value[:at] + data + value[at + instead :]


def _kind_at(value: bytes) -> int:
    return 6 + (value[5] >> 1)


def _refused(reason: str, recipe: Recipe) -> tuple[Expected, Recipe]:
    return Expected("RJCT", reason), recipe


def _dead(code: str, recipe: Recipe, letters: int = 1) -> tuple[Expected, Recipe]:
    return Expected(dead_letter=code, letters=letters), recipe


def recipes(partitions: int) -> dict[str, tuple[Expected, Recipe]]:
    """All faults by name; `partitions` of payments.inflight, on each of which a broadcast stands."""
    transfer: Kind = "TRANSFER"
    nobody = "nobody"
    return {
        # what admission refuses
        "zero_amount": _refused(codes.ZERO_AMOUNT, _one(transfer, "rich", "payee", 0)),
        "negative_amount": _refused(codes.AMOUNT_NOT_ALLOWED, _one("DEPOSIT", None, "payee", -100)),
        "huge_amount": _refused(codes.AMOUNT_NOT_ALLOWED, _one("WITHDRAWAL", "rich", None, MAX_MINOR + 1)),
        "largest_long": _refused(codes.AMOUNT_NOT_ALLOWED, _one(transfer, "rich", "payee", 2**63 - 1)),
        "unknown_currency": _refused(codes.CURRENCY_NOT_ALLOWED, _one(transfer, "rich", "payee", currency="XXX")),
        "no_debtor": _refused(codes.UNKNOWN_DEBTOR, _one("WITHDRAWAL", None, None)),
        "no_creditor": _refused(codes.UNKNOWN_CREDITOR, _one("DEPOSIT", None, None)),
        "ledger_account": _refused(codes.UNKNOWN_DEBTOR, _one(transfer, "~outside/0/EUR", "payee")),
        "same_account": _refused(codes.FORBIDDEN, _one(transfer, "rich", "rich")),
        "too_old": _refused(codes.TOO_OLD, _claimed(-DAY_MS - 3_600_000)),
        "ahead_of_the_log": _refused(codes.FUTURE_DATE, _claimed(CLOCK_TOLERANCE_MS + 60_000)),
        "capture_of_nothing": _refused(codes.FIELD_MISSING, _one("CAPTURE", "rich", "payee")),
        "void_of_nothing": _refused(codes.FIELD_MISSING, _one("VOID", "rich", None)),
        "reversal_of_nothing": _refused(codes.FIELD_MISSING, _one("REVERSAL", "payee", "rich")),
        "deposit_with_debtor": _refused(codes.FIELD_NOT_ALLOWED, _one("DEPOSIT", "rich", "payee")),
        "hold_without_time": _refused(codes.INCORRECT_FIELD, _one("HOLD", "rich", None, timeout=0)),
        "hold_for_ever": _refused(codes.INCORRECT_FIELD, _one("HOLD", "rich", None, timeout=MAX_HOLD_MS + 1)),
        "timeout_without_hold": _refused(codes.FIELD_NOT_ALLOWED, _one(transfer, "rich", "payee", timeout=1000)),
        "same_id_other_body": _refused(codes.DUPLICATE, _other_body),
        # what the debtor's account refuses
        "unknown_debtor": _refused(codes.UNKNOWN_DEBTOR, _one(transfer, nobody, "payee")),
        "closed_debtor": _refused(codes.ACCOUNT_CLOSED, _one(transfer, "closed", "payee")),
        "frozen_debtor": _refused(codes.ACCOUNT_BLOCKED, _one("WITHDRAWAL", "frozen", None)),
        "frozen_hold": _refused(codes.ACCOUNT_BLOCKED, _one("HOLD", "frozen", None)),
        "other_currency": _refused(
            codes.CURRENCY_NOT_ALLOWED, lambda w: [Step(0, w.pay("WITHDRAWAL", w.foreign, None))]
        ),
        "insufficient_funds": _refused(codes.INSUFFICIENT_FUNDS, _one(transfer, "poor", "payee")),
        "hold_without_funds": _refused(codes.INSUFFICIENT_FUNDS, _one("HOLD", "poor", None, timeout=60_000)),
        "failed_id_again": _refused(codes.INSUFFICIENT_FUNDS, _failed_again),
        "over_daily_limit": _refused(codes.LIMIT_EXCEEDED, _one("WITHDRAWAL", "limited", None, DAILY_LIMIT + 1)),
        "too_much_money": _refused(codes.FRAUD, _one(transfer, "rich", "payee", FRAUD_MINOR)),
        "gate_queue": _refused(codes.NARRATIVE, _gate_queue),
        # what the creditor's account refuses: the debit is unwound
        "unknown_creditor": _refused(codes.UNKNOWN_CREDITOR, _one(transfer, "rich", nobody)),
        "unknown_depositor": _refused(codes.UNKNOWN_CREDITOR, _one("DEPOSIT", None, nobody)),
        "closed_creditor": _refused(codes.ACCOUNT_CLOSED, _one(transfer, "rich", "closed")),
        "creditor_currency": _refused(
            codes.CURRENCY_NOT_ALLOWED, lambda w: [Step(0, w.pay(transfer, "rich", w.foreign))]
        ),
        # holds
        "unknown_hold": _refused(codes.NARRATIVE, _one("CAPTURE", "rich", "payee", pending="no-such-hold")),
        "capture_too_much": _refused(codes.AMOUNT_NOT_ALLOWED, _hold_then(("CAPTURE", 1001, True))),
        "captured_twice": _refused(codes.NARRATIVE, _hold_then(("CAPTURE", 400, False), ("CAPTURE", 400, True))),
        "voided_twice": _refused(codes.NARRATIVE, _hold_then(("VOID", 1000, False), ("VOID", 1000, True))),
        "void_after_capture": _refused(codes.NARRATIVE, _hold_then(("CAPTURE", 1000, False), ("VOID", 1000, True))),
        "capture_after_expiry": _refused(codes.HOLD_EXPIRED, _hold_then(("CAPTURE", 1000, True), timeout=SOON // 2)),
        # reversals
        "unknown_original": _refused(codes.NARRATIVE, _one("REVERSAL", "payee", "rich", original="no-such-payment")),
        "reversal_too_much": _refused(codes.AMOUNT_NOT_ALLOWED, _reversal(1001)),
        "reversal_to_another": _refused(codes.UNKNOWN_CREDITOR, _reversal(1000, "spare")),
        # what is no payment at all
        "tombstone": _dead("EMPTY_VALUE", _corrupt(lambda value: None)),
        "empty": _dead("EMPTY_VALUE", _corrupt(lambda value: b"")),
        "json": _dead("BAD_MAGIC", _corrupt(lambda value: b'{"payment_id": "1", "kind": "DEPOSIT"}')),
        "unknown_schema": _dead("UNKNOWN_SCHEMA", _corrupt(lambda value: _put(value, 1, b"\0\0\x7f\xff", 4))),
        "frame_only": _dead("TRUNCATED", _corrupt(lambda value: value[:5])),
        "truncated": _dead("TRUNCATED", _corrupt(lambda value: value[:-3])),
        "trailing": _dead("TRAILING_BYTES", _corrupt(lambda value: value + b"\0")),
        "unknown_kind": _dead("BAD_INDEX", _corrupt(lambda value: _put(value, _kind_at(value), b"\x7e"))),
        "negative_kind": _dead("BAD_INDEX", _corrupt(lambda value: _put(value, _kind_at(value), b"\x01"))),
        "not_utf8": _dead("BAD_UTF8", _corrupt(lambda value: _put(value, 6, b"\xff"))),
        "negative_length": _dead("BAD_LENGTH", _corrupt(lambda value: _put(value, 5, b"\x01"))),
        "huge_length": _dead("TRUNCATED", _corrupt(lambda value: _put(value, 5, b"\xfe\xff\xff\xff\x0f"))),
        "long_varint": _dead("BAD_VARINT", _corrupt(lambda value: _put(value, 5, bytes((value[5] | 0x80, 0))))),
        "no_key": _dead("WRONG_KEY", _keyed(b"")),
        "wrong_key": _dead("WRONG_KEY", _keyed(b"another")),
        "no_id": _dead("BAD_ID", _with_id("")),
        "long_id": _dead("BAD_ID", _with_id("x" * (MAX_ID_CHARS + 1))),
        "long_currency": _dead("BAD_CURRENCY", _one(transfer, "rich", "payee", currency="EURO")),
        "long_pending_id": _dead("TOO_LONG", _one("VOID", "rich", None, pending="x" * (MAX_ID_CHARS + 1))),
        "another_type": _dead("UNEXPECTED_TYPE", _says(_overdue)),
        # account changes and rules
        "opened_again": _dead("STALE_SETTINGS", _says(lambda w: _opened(w, w.roles["rich"], w.currency, 0))),
        "open_already": _dead(
            "ALREADY_OPEN", _says(lambda w: _opened(w, w.roles["rich"], w.currency, 0)._replace(expected=1))
        ),
        "opened_in_no_currency": _dead("BAD_ACCOUNT", _says(lambda w: _opened(w, w.new_id(), "XXX", 0))),
        "negative_overdraft": _dead("BAD_LIMIT", _says(lambda w: _opened(w, w.new_id(), w.currency, -1))),
        "unknown_account": _dead("UNKNOWN_ACCOUNT", _says(lambda w: AccountFrozen(w.new_id(), nobody, 0, True, 0))),
        "bad_rule": _dead(
            "BAD_RULE", _says(lambda w: Rule(w.new_id(), f"{VELOCITY}:bad", 1, True, {"interval_ms": 0})), partitions
        ),
    }
