"""Ordinary traffic: never more than is there, and what follows fits what it follows."""

from collections import Counter
from random import Random

import pytest

from payments.traffic import CURRENCIES, Traffic
from schemas.payments import PaymentInitiated


class Watch:
    """A Traffic, and the payments that it wants to follow."""

    def __init__(self, accounts: int = 30, skew: float = 0) -> None:
        self.later: list[tuple[int, PaymentInitiated]] = []
        self.ids = 0
        names = [f"a{number}" for number in range(accounts)]
        self.traffic = Traffic(names, skew, Random(5).random, self.new_id, lambda ms, p: self.later.append((ms, p)))

    def new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"


@pytest.fixture(scope="module")
def watch() -> tuple[list[PaymentInitiated], list[tuple[int, PaymentInitiated]]]:
    watch = Watch(accounts=300, skew=0.5)
    return [watch.traffic.next() for _ in range(6_000)], watch.later


Seen = tuple[list[PaymentInitiated], list[tuple[int, PaymentInitiated]]]


def test_a_debit_takes_at_most_half_of_what_is_surely_there(watch: Seen) -> None:
    """Counted from deposits alone: credits of transfers and what holds release come on top."""
    funds: Counter[str] = Counter()
    for payment in watch[0]:
        if payment.kind == "DEPOSIT":
            funds[payment.creditor_account or ""] += payment.amount.minor
        else:
            assert 0 < 2 * payment.amount.minor <= funds[payment.debtor_account or ""]
            funds[payment.debtor_account or ""] -= payment.amount.minor


def test_both_accounts_are_of_the_currency_and_differ(watch: Seen) -> None:
    for payment in (*watch[0], *(later for _, later in watch[1])):
        accounts = [account for account in (payment.debtor_account, payment.creditor_account) if account]
        assert len(set(accounts)) == len(accounts) > 0
        assert {CURRENCIES[int(account[1:]) % 3] for account in accounts} == {payment.amount.currency}


def test_kinds_come_in_sensible_shares(watch: Seen) -> None:
    kinds = Counter(payment.kind for payment in watch[0])
    shares = {kind: count / len(watch[0]) for kind, count in kinds.items()}
    assert shares.keys() == {"DEPOSIT", "WITHDRAWAL", "TRANSFER", "HOLD"}
    assert 0.15 < shares["DEPOSIT"] < 0.3 and 0.4 < shares["TRANSFER"] < 0.6
    assert 0.05 < shares["WITHDRAWAL"] < 0.2 and 0.1 < shares["HOLD"] < 0.2
    assert {payment.amount.currency for payment in watch[0]} == set(CURRENCIES)
    assert {payment.hold_timeout_ms for payment in watch[0] if payment.kind == "HOLD"} == {
        *(5_000, 30_000, 120_000, 900_000, None),
    }


def test_what_follows_fits_what_it_follows(watch: Seen) -> None:
    first = {payment.payment_id: payment for payment in watch[0]}
    assert len(first) == len(watch[0]) and not first.keys() & {later.payment_id for _, later in watch[1]}
    parts: Counter[tuple[str, bool]] = Counter()
    for after, payment in watch[1]:
        assert after >= 1_000
        if payment.kind == "REVERSAL":
            transfer = first[payment.original_payment_id or ""]
            assert (payment.debtor_account, payment.creditor_account) == (
                transfer.creditor_account,
                transfer.debtor_account,
            )
            whole = transfer
        else:
            whole = first[payment.pending_id or ""]
            assert whole.kind == "HOLD" and payment.debtor_account == whole.debtor_account
            assert after < (whole.hold_timeout_ms or 60_000), "before the hold expires"
            assert (payment.creditor_account is None) == (payment.kind == "VOID")
        assert 0 < payment.amount.minor <= whole.amount.minor
        parts[payment.kind, payment.amount.minor < whole.amount.minor] += 1
    assert {kind for kind, part in parts if part} == {"CAPTURE", "REVERSAL"}
    assert {kind for kind, part in parts if not part} == {"CAPTURE", "REVERSAL", "VOID"}
    ended = {payment.pending_id for _, payment in watch[1] if payment.pending_id}
    holds = [payment for payment in watch[0] if payment.kind == "HOLD"]
    assert 0.75 < len(ended) / len(holds) < 0.95, "the others expire or stay open"


def test_skew_prefers_the_first_account_of_each_currency() -> None:
    watch = Watch(skew=2.0)
    debtors = Counter(watch.traffic.next().debtor_account for _ in range(3_000))
    del debtors[None]
    assert {account for account, _ in debtors.most_common(3)} == {"a0", "a1", "a2"}
    even = Watch()
    counts = Counter(even.traffic.next().debtor_account for _ in range(6_000))
    del counts[None]
    assert max(counts.values()) < 2 * min(counts.values())
