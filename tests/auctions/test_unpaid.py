"""Sold but unpaid: between bid and close the money goes away, and everybody who must know hears of it once."""

from typing import Any

import pytest

from auctions import topics
from auctions.backing import Backing
from auctions.check_money import check_money
from auctions.checkers import check_all, check_settlement
from auctions.fraud_traces import FraudTraces
from auctions.notices import Notices
from auctions.placement import AdRequests
from auctions.price_ranges import Sales
from auctions.spread import Spreads
from payments import topics as payment_topics
from payments.administration import account_lines
from payments.checkers import check_all as check_payments
from payments.logs import events
from schemas.auctions import Address, AuctionOutcome, BidPlaced, Notice, SaleUnpaid
from schemas.payments import AccountBalance, AccountClosed, AccountFrozen, AccountOpened, Money, PaymentInitiated
from schemas.rails import DeadLetter, Record, Tick
from tests.auctions import analysis
from tests.auctions.system import REGISTRY, record_of, run_auctions
from tests.auctions.world import END, HOUR, START, item
from transforms.loop import Stage

KEY = b"0123456789abcdef"
MIDDLE = START + 2 * HOUR


def opened(account: str, minor: int) -> list[tuple[int, Any]]:
    paid = PaymentInitiated(
        f"d-{account}", "DEPOSIT", None, account, Money(minor, "EUR"), *[None] * 4, "x", START - HOUR
    )
    account_opened = AccountOpened(f"o-{account}", account, 0, "EUR", 0, None, False, START - 2 * HOUR)
    return [(START - 2 * HOUR, account_opened), (START - HOUR, paid)]


def bid(bidder: str, number: int, minor: int) -> BidPlaced:
    maximum = Money(minor, "EUR")
    return BidPlaced(f"{bidder}{number}", "x", bidder, None, maximum, None, Address("DE"), START + HOUR)


def administered(event: AccountClosed | AccountFrozen) -> tuple[int, Record]:
    """What the administrator's command writes."""
    ((topic, _, key, value),) = account_lines(event, REGISTRY.encode)
    assert topic == payment_topics.INFLIGHT.name
    return MIDDLE, Record(0, MIDDLE, key, value, None, ())


def run(*administration: AccountClosed | AccountFrozen, bids: tuple[int, ...] = (9000,)) -> Any:
    """anna raises her maximum by each bid, bert bids 20.00 in between; then the administrator acts; then the auction ends."""
    sent: list[tuple[int, Any]] = [(START - 2 * HOUR, item("x", funds_required=True))]
    for account, minor in (("seller", 1), ("anna", 9500), ("bert", 3000)):
        sent += opened(account, minor)
    sent += [(START + HOUR + n, bid("anna", n, minor)) for n, minor in enumerate(bids)]
    sent.append((START + HOUR + 60_000, bid("bert", 0, 2000)))
    records = [record_of(at, event) for at, event in sent]
    records += [record for _, record in map(administered, administration)]
    records += [record_of(END + n * HOUR, Tick(END + n * HOUR)) for n in (1, 2)]
    records.sort(key=lambda record: record.at)
    more = [Stage(Notices(), topics.HISTORY)]
    logs, _ = run_auctions(records, tick_ms=HOUR, key=KEY, more=more)
    return logs


def of(logs: Any, topic: str, kind: type) -> list[Any]:
    return [event for _, _, event in events(logs, topic, kind)]


def check(logs: Any) -> None:
    """All checkers; nothing is held; all that came in is still there."""
    assert check_all(logs, Backing(KEY)) == [] and check_money(logs, Backing(KEY)) == []
    assert check_payments({name: held for name, held in logs.items() if not name.startswith("auction.")}) == []
    newest: dict[str, AccountBalance] = {}
    for state in of(logs, payment_topics.BALANCES.name, AccountBalance):
        if state.account_id not in newest or newest[state.account_id].revision < state.revision:
            newest[state.account_id] = state
    assert {state.debits_pending for state in newest.values()} == {0}
    assert sum(state.balance for state in newest.values()) == 1 + 9500 + 3000


PRICE = 2100  # bert's maximum and an increment
CLOSED = {
    "of the winner": (AccountClosed("a1", "anna", 1, MIDDLE), "AC04"),
    "of the seller": (AccountClosed("a1", "seller", 1, MIDDLE), "AC04"),
}


@pytest.mark.parametrize("whose", CLOSED)
def test_an_account_is_closed_between_bid_and_close(whose: str) -> None:
    closed, reason = CLOSED[whose]
    logs = run(closed)
    (outcome,) = of(logs, topics.HISTORY.name, AuctionOutcome)
    assert (outcome.outcome, outcome.winner, outcome.price) == ("SOLD", "anna", Money(PRICE, "EUR"))
    (unpaid,) = of(logs, topics.HISTORY.name, SaleUnpaid)
    assert unpaid[:7] == ("x", "anna0", "seller", "anna", "A watch", Money(PRICE, "EUR"), reason)
    assert of(logs, topics.OUTCOMES.name, SaleUnpaid) == [unpaid]
    told = [n for n in of(logs, topics.NOTICES.name, Notice) if n.kind.endswith("UNPAID")]
    assert sorted((n.person, n.kind, n.price, n.leads) for n in told) == [
        ("anna", "PURCHASE_UNPAID", Money(PRICE, "EUR"), True),
        ("seller", "SALE_UNPAID", Money(PRICE, "EUR"), False),
    ]
    check(logs)


def test_a_frozen_account_pays_for_what_was_held_before() -> None:
    """The control, by the rules of payments: freezing refuses new holds, and captures of earlier ones are posted."""
    logs = run(AccountFrozen("a1", "anna", 1, True, MIDDLE))
    assert of(logs, topics.HISTORY.name, SaleUnpaid) == []
    assert not [n for n in of(logs, topics.NOTICES.name, Notice) if n.kind.endswith("UNPAID")]
    check(logs)


def test_frozen_and_then_closed_is_told_once() -> None:
    logs = run(AccountFrozen("a1", "anna", 1, True, MIDDLE), AccountClosed("a2", "anna", 2, MIDDLE))
    assert [event.reason for event in of(logs, topics.HISTORY.name, SaleUnpaid)] == ["AC04"]
    check(logs)


def test_of_a_price_over_several_holds_each_payment_is_told() -> None:
    logs = run(AccountClosed("a1", "anna", 1, MIDDLE), bids=(1500, 9000))
    told = of(logs, topics.HISTORY.name, SaleUnpaid)
    assert sorted((event.bid_id, event.amount.minor) for event in told) == [("anna0", 1500), ("anna1", PRICE - 1500)]
    check(logs)


TAMPERED: dict[str, tuple[Any, list[str]]] = {
    "hidden": (lambda event: [], ["told as unpaid: 0", "0 told as unpaid"]),
    "told twice": (lambda event: [event, event], ["told as unpaid: 2", f"{2 * PRICE} told as unpaid"]),
    "of another amount": (lambda event: [event._replace(amount=Money(5, "EUR"))], ["5 told as unpaid"]),
    "of another bid": (lambda event: [event._replace(bid_id="z")], ["told as unpaid: 0", "told as unpaid: 1"]),
    "of another winner": (lambda event: [event._replace(winner="bert")], ["bert has not paid seller"]),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_the_checkers_see_what_is_told_wrongly(how: str) -> None:
    change, wanted = TAMPERED[how]
    logs = run(AccountClosed("a1", "anna", 1, MIDDLE))
    for number, items in logs[topics.HISTORY.name].items():
        logs[topics.HISTORY.name][number] = [
            (record, after)
            for record, event in items
            for after in (change(event) if isinstance(event, SaleUnpaid) else [event])
        ]
    found = check_settlement(logs, Backing(KEY))
    assert len(found) == len(wanted), found
    assert all(part in line for part, line in zip(wanted, found, strict=True)), found


# --- the other readers of the history ---


@pytest.mark.parametrize("reader", [Notices, Spreads, Sales, AdRequests, FraudTraces], ids=lambda kind: kind.__name__)
def test_every_reader_of_the_history_knows_it(reader: type) -> None:
    """During the auction too, where it does not stand: nothing changes, and nothing is buried."""
    bench = analysis.Bench(reader())
    unpaid = SaleUnpaid("x", "b", "seller", "anna", "A watch", Money(5, "EUR"), "AC04", START)
    bench.feed(analysis.item(), 0)
    before = dict(bench.shard.entities)
    for at in (1, 2):
        told = bench.feed(unpaid, at)
        assert not any(isinstance(event, DeadLetter) for event in told)
        assert len(told) == (2 if reader is Notices else 0) and bench.shard.entities == before
        bench.feed(analysis.outcome("anna", 5), at)
        before = {}
