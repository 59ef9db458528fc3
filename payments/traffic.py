"""Ordinary traffic of the generator: payments that should go well, and those that follow from them (captures, voids, reversals)."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from schemas.payments import Kind, Money, PaymentInitiated

CURRENCIES = ("EUR", "JPY", "KWD")  # with 2, 0 and 3 decimals
_SOURCES = ("app", "branch", "card", "web")
_SCALES = (100, 1_000, 10_000, 100_000)
_TIMEOUTS = (5_000, 30_000, 120_000, 900_000, None)
_new = tuple.__new__  # builds the records of the hot path without a call of their own constructors


class Traffic:
    """Draws payments between accounts; account number i is in currency i % 3, the first of a currency are drawn most often.

    draw: numbers in [0, 1); later: is told of payments that are to follow, as (ms after now, payment).
    """

    def __init__(
        self,
        accounts: list[str],
        skew: float,
        draw: Callable[[], float],
        new_id: Callable[[], str],
        later: Callable[[int, PaymentInitiated], None],
    ) -> None:
        self.accounts = accounts
        self._draw, self._new_id, self._later = draw, new_id, later
        self._funds = [0] * len(
            accounts
        )  # at least this is there: holds are taken off for good, credits of transfers left out
        self._pools = [range(currency, len(accounts), len(CURRENCIES)) for currency in range(len(CURRENCIES))]
        self._weights = [
            list(accumulate(max(1, round(10**9 / (rank + 1) ** skew)) for rank in range(len(pool))))
            for pool in self._pools
        ]
        self._count = 0

    def deposit(self, number: int) -> PaymentInitiated:
        """A deposit to one of the accounts."""
        minor = 100_000 + int(self._draw() * 900_000)
        self._funds[number] += minor
        return self.payment("DEPOSIT", None, self.accounts[number], minor, CURRENCIES[number % len(CURRENCIES)])

    def next(self) -> PaymentInitiated:
        """A payment that should go well: it takes at most half of what its debtor surely has."""
        draw, accounts, funds = self._draw, self.accounts, self._funds
        chance, currency = draw(), int(draw() * 3)
        debtor = self._pick(currency)
        minor = 1 + int(draw() * _SCALES[int(draw() * 4)])
        if minor > funds[debtor] >> 1:
            minor = funds[debtor] >> 1
        if chance < 0.2 or minor < 1:
            return self.deposit(debtor)
        code, creditor = CURRENCIES[currency], self._pick(currency)
        funds[debtor] -= minor
        if chance < 0.3 or creditor == debtor:
            return self.payment("WITHDRAWAL", accounts[debtor], None, minor, code)
        if chance < 0.85:
            payment = self.payment("TRANSFER", accounts[debtor], accounts[creditor], minor, code)
            if chance < 0.32:
                self._reverse_later(payment)
            return payment
        timeout = _TIMEOUTS[int(draw() * len(_TIMEOUTS))]
        hold = self.payment("HOLD", accounts[debtor], None, minor, code, None, timeout)
        self._end_later(hold, accounts[creditor])
        return hold

    def payment(
        self,
        kind: Kind,
        debtor: str | None,
        creditor: str | None,
        minor: int,
        currency: str,
        pending: str | None = None,
        timeout: int | None = None,
        original: str | None = None,
    ) -> PaymentInitiated:
        """A payment with a new id; who writes it sets the claimed time."""
        self._count = number = self._count + 1
        money = _new(Money, (minor, currency))
        reference = None if number % 3 else f"order-{number}"
        rest = (pending, timeout, original, reference, _SOURCES[number & 3], 0)
        return _new(PaymentInitiated, (self._new_id(), kind, debtor, creditor, money, *rest))

    def _pick(self, currency: int) -> int:
        weights = self._weights[currency]
        return self._pools[currency][bisect_right(weights, int(self._draw() * weights[-1]))]

    def _reverse_later(self, payment: PaymentInitiated) -> None:
        """All or part of a transfer comes back after 1 to 11 seconds."""
        minor, currency = payment.amount
        debtor, creditor, original = payment.creditor_account, payment.debtor_account, payment.payment_id
        back = minor if self._draw() < 0.5 else (minor + 1) // 2
        reversal = self.payment("REVERSAL", debtor, creditor, back, currency, None, None, original)
        self._later(1_000 + int(self._draw() * 10_000), reversal)

    def _end_later(self, hold: PaymentInitiated, creditor: str) -> None:
        """Most holds are captured, some in part, some are voided, some expire (or stay open)."""
        chance, (minor, currency) = self._draw(), hold.amount
        after = 1_000 + int(self._draw() * (min(hold.hold_timeout_ms or 60_000, 60_000) - 2_000))
        debtor, pending = hold.debtor_account, hold.payment_id
        if chance < 0.55:
            self._later(after, self.payment("CAPTURE", debtor, creditor, minor, currency, pending))
        elif chance < 0.7:
            self._later(after, self.payment("CAPTURE", debtor, creditor, (minor + 1) // 2, currency, pending))
        elif chance < 0.85:
            self._later(after, self.payment("VOID", debtor, None, minor, currency, pending))
