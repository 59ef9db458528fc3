"""Money per person, told from clients' payments and outcomes: each way in which it could go wrong is found."""

from typing import Any

import pytest

from auctions import topics
from auctions.check_money import check_money
from payments import topics as payment_topics
from payments.logs import Logs
from schemas.auctions import AuctionOutcome, BidReceived
from schemas.payments import AccountBalance, LedgerEntry, Money, PaymentConfirmed, PaymentStatus
from schemas.rails import Record
from tests.auctions.analysis import item, outcome


def logs(**of: list[Any]) -> Logs:
    """Logs with the events of each topic on its partition 0."""
    topics_of = {"log": topics.LOG, "history": topics.HISTORY, "balances": payment_topics.BALANCES}
    topics_of |= {"confirmed": payment_topics.CONFIRMED, "status": payment_topics.STATUS}
    topics_of["journal"] = payment_topics.JOURNAL
    return {
        topics_of[name].name: {0: [(Record(n, 0, None, None, None, ()), event) for n, event in enumerate(events)]}
        for name, events in of.items()
    }


def of_kind(type_: Any, /, **fields: Any) -> Any:
    return type_(**{**dict.fromkeys(type_._fields), **fields})


def balance(account: str, minor: int, held: int = 0, revision: int = 1) -> AccountBalance:
    fields = {"account_id": account, "currency": "EUR", "balance": minor, "debits_pending": held, "revision": revision}
    return of_kind(AccountBalance, **fields)


def paid(number: str, debtor: str | None, creditor: str | None, minor: int, reference: str | None = None) -> Any:
    fields = {"payment_id": number, "debtor_account": debtor, "creditor_account": creditor, "reference": reference}
    kind = "TRANSFER" if reference is None else "CAPTURE"
    return of_kind(PaymentConfirmed, kind=kind, amount=Money(minor, "EUR"), **fields)


def sold(price: int) -> list[Any]:
    return [item(funds_required=True), outcome("anna", price, ("bert",))]


DEPOSITS = [paid("d1", None, "purse", 500), paid("d2", None, "bert", 100), paid("w", "bert", None, 40)]
CAPTURE = paid("x/b/capture", "purse", "seller", 300, "x/b")
BID = of_kind(BidReceived, auction_id="x", bid_id="b", bidder_id="anna", account_id="purse")
RIGHT = {
    "log": [BID],
    "history": sold(300),
    "confirmed": [*DEPOSITS, CAPTURE],
    "balances": [balance("purse", 500), balance("purse", 200, revision=2), balance("bert", 60), balance("seller", 300)],
}


def test_nothing_is_wrong() -> None:
    assert check_money(logs(**RIGHT)) == []
    assert check_money({}) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"balances": [balance("purse", 300), balance("bert", 60), balance("seller", 200)]},
            ["anna: has 300 EUR, should have 200", "seller: has 200 EUR, should have 300"],
        ),
        (
            {"balances": [balance("purse", 200), balance("bert", 70), balance("seller", 300)]},
            ["bert: has 70 EUR, should have 60", "EUR: 570 in all accounts, 560 came in"],
        ),
        (
            {"balances": [balance("purse", 200, held=30), balance("bert", 60), balance("seller", 300)]},
            ["purse: 30 EUR are still held"],
        ),
        (
            {"history": [item(funds_required=False), outcome("anna", 300, ())]},
            ["anna: has 200 EUR, should have 500", "seller: has 300 EUR, should have 0"],
        ),
        (
            {"history": [item(funds_required=True), outcome(None, None, ("anna",))]},
            ["anna: has 200 EUR, should have 500", "seller: has 300 EUR, should have 0"],
        ),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, list[Any]], found: list[str]) -> None:
    assert check_money(logs(**{**RIGHT, **changes})) == found


def test_a_capture_that_was_refused_has_brought_nothing() -> None:
    fields = {"payment_id": "x/b/capture", "kind": "CAPTURE", "reference": "x/b", "amount": Money(300, "EUR")}
    refused = of_kind(PaymentStatus, status="RJCT", attempt=False, **fields)
    again = refused._replace(attempt=True)
    of = {**RIGHT, "status": [refused, again], "confirmed": DEPOSITS}
    of["balances"] = [balance("purse", 500), balance("bert", 60)]
    assert check_money(logs(**of)) == []
    assert isinstance(of["history"][1], AuctionOutcome)


def test_holds_of_clients_may_stay() -> None:
    of = {**RIGHT, "balances": [balance("purse", 200, held=30), balance("bert", 60), balance("seller", 300)]}
    for name, reference, found in (("h", None, []), ("x/b/hold", "x/b", ["purse: 30 EUR are still held"])):
        status = of_kind(PaymentStatus, payment_id=name, kind="HOLD", status="PDNG", reference=reference)
        entry = of_kind(LedgerEntry, payment_id=name, account_id="purse", leg="HOLD")
        assert check_money(logs(**of, status=[status], journal=[entry])) == found
