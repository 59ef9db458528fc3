"""The checkers find nothing in what the system writes, and each planted bug in what was tampered with."""

from collections.abc import Callable
from typing import Any

import pytest

from auctions import checkers, topics
from auctions.generator import Generation, Settings
from payments import topics as payment_topics
from schemas.auctions import (
    AuctionOutcome,
    BidDecision,
    BidReceived,
    BidsClock,
    FundsHeld,
    ItemListed,
)
from schemas.payments import Money, PaymentConfirmed, PaymentStatus
from tests.auctions.system import run_auctions

Logs = dict[str, dict[int, list[Any]]]
HISTORY, LOG, BIDS = topics.HISTORY.name, topics.LOG.name, topics.BIDS.name


@pytest.fixture(scope="module")
def clean() -> Logs:
    settings = Settings(auctions=60, bidders=60, sellers=7, cheats=1, bad=0.03, reserve=0.4, seed=3)
    logs, _ = run_auctions(list(Generation(settings)), tick_ms=600_000)
    return logs


@pytest.fixture
def logs(clean: Logs) -> Logs:
    """A copy to be tampered with."""
    return {topic: {number: list(items) for number, items in held.items()} for topic, held in clean.items()}


def test_nothing_is_found_in_what_the_system_writes(clean: Logs) -> None:
    assert checkers.check_all(clean) == []
    assert checkers.check_all(clean, drained=False) == []
    assert checkers.check_all({}) == []


Pick = Callable[[Any], bool]


def find(logs: Logs, topic: str, pick: Pick) -> tuple[list[Any], int]:
    """(items of the partition, index) of the first event that `pick` likes."""
    for _, items in sorted(logs[topic].items()):
        for n, (_, event) in enumerate(items):
            if pick(event):
                return items, n
    raise AssertionError("no such event")


def change(logs: Logs, topic: str, pick: Pick, **fields: Any) -> Any:
    items, n = find(logs, topic, pick)
    record, event = items[n]
    items[n] = record, event._replace(**{k: v(event) if callable(v) else v for k, v in fields.items()})
    return event


def is_decision(*statuses: str, **fields: Any) -> Pick:
    return lambda e: (
        isinstance(e, BidDecision)
        and e.status in statuses
        and not e.automatic
        and all(getattr(e, name) == value for name, value in fields.items())
    )


def is_sold(event: Any) -> bool:
    return isinstance(event, AuctionOutcome) and event.outcome == "SOLD"


def found(check: Callable[..., list[str]], logs: Logs, what: str) -> None:
    complaints = check(logs)
    assert any(what in complaint for complaint in complaints), complaints[:3]


# --- prices and winners ---


def test_a_wrong_price(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("ACCEPTED"), price=lambda e: Money(e.price.minor + 1, "EUR"))
    found(checkers.check_prices, logs, "by the rule")


def test_a_wrong_price_in_the_last_decision_of_all(logs: Logs) -> None:
    last = max(logs[HISTORY])
    items = logs[HISTORY][last]
    n = max(n for n, (_, e) in enumerate(items) if is_decision("ACCEPTED", "ACCEPTED_OUTBID")(e))
    record, event = items[n]
    logs[HISTORY] = {last: [*items[:n], (record, event._replace(price=None))]}
    found(checkers.check_prices, logs, "by the rule")


def test_a_wrong_leader(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("ACCEPTED_OUTBID"), leader=lambda e: e.bidder_id)
    found(checkers.check_prices, logs, "leads, but the highest maximum")


def test_a_wrong_status(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("ACCEPTED_OUTBID"), status="ACCEPTED")
    found(checkers.check_prices, logs, "ACCEPTED, and")


def test_a_price_after_a_retraction_that_stays(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("RETRACTED"), price=Money(99_999_999, "EUR"))
    found(checkers.check_prices, logs, "by the rule")


def test_a_winner_without_the_highest_maximum(logs: Logs) -> None:
    change(logs, HISTORY, lambda e: is_sold(e) and e.runner_up, winner=lambda e: e.runner_up)
    found(checkers.check_winners, logs, "won, but the highest maximum")


@pytest.mark.parametrize("price", [1, 10**12])
def test_a_price_out_of_bounds(logs: Logs, price: int) -> None:
    change(logs, HISTORY, is_sold, price=Money(price, "EUR"))
    found(checkers.check_winners, logs, "with a maximum of")


def test_another_price_than_the_last(logs: Logs) -> None:
    items, n = find(logs, HISTORY, lambda e: is_decision("ACCEPTED_OUTBID")(e))
    name = items[n][1].auction_id
    change(
        logs, HISTORY, lambda e: is_sold(e) and e.auction_id == name, price=lambda e: Money(e.price.minor - 1, "EUR")
    )
    found(checkers.check_winners, logs, "but the price was")


def test_sold_though_the_reserve_was_not_met(logs: Logs) -> None:
    change(logs, HISTORY, lambda e: isinstance(e, AuctionOutcome) and e.outcome == "RESERVE_NOT_MET", outcome="SOLD")
    found(checkers.check_winners, logs, "SOLD, should be RESERVE_NOT_MET")


def test_unsold_with_a_winner(logs: Logs) -> None:
    change(logs, HISTORY, lambda e: isinstance(e, AuctionOutcome) and e.outcome == "RESERVE_NOT_MET", winner="someone")
    found(checkers.check_winners, logs, "with winner someone")


def test_two_outcomes(logs: Logs) -> None:
    items, n = find(logs, HISTORY, is_sold)
    items.insert(n, items[n])
    found(checkers.check_winners, logs, "a second outcome")


def test_wrong_counts(logs: Logs) -> None:
    change(logs, HISTORY, is_sold, bids=lambda e: e.bids + 1)
    found(checkers.check_winners, logs, "should be")


# --- ends ---


def test_accepted_after_the_end(logs: Logs) -> None:
    end = {e.auction_id: e.ends_at for items in logs[HISTORY].values() for _, e in items if isinstance(e, ItemListed)}
    change(logs, HISTORY, is_decision("ACCEPTED"), received_at=lambda e: end[e.auction_id])
    found(checkers.check_ends, logs, "ACCEPTED, received at")


def test_accepted_before_the_start(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("ACCEPTED"), received_at=5)
    found(checkers.check_ends, logs, "ACCEPTED, received at 5")


def test_accepted_after_the_outcome(logs: Logs) -> None:
    items, n = find(logs, HISTORY, is_sold)
    name = items[n][1].auction_id
    last = max(k for k in range(n) if is_decision("ACCEPTED", "ACCEPTED_OUTBID", auction_id=name)(items[k][1]))
    items.insert(n, items.pop(last))
    found(checkers.check_ends, logs, "after the outcome")


def test_finished_before_the_end(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("ACCEPTED"), status="FINISHED")
    found(checkers.check_ends, logs, "FINISHED, but received")


def test_an_end_that_moves_by_itself(logs: Logs) -> None:
    change(logs, HISTORY, is_decision("TOO_LOW"), effective_end=lambda e: e.effective_end + 1)
    found(checkers.check_ends, logs, "TOO_LOW moved the end")


def test_an_extension_too_many(logs: Logs) -> None:
    extended = change(logs, HISTORY, lambda e: isinstance(e, BidDecision) and e.extensions == 1, extensions=99)
    assert extended.status.startswith("ACCEPTED")
    found(checkers.check_ends, logs, "extension 99 after 0")


def test_an_outcome_of_another_end(logs: Logs) -> None:
    change(logs, HISTORY, is_sold, effective_end=lambda e: e.effective_end + 1)
    found(checkers.check_ends, logs, "but the end was")


# --- once, and in order ---


def test_a_decision_that_is_missing(logs: Logs) -> None:
    items, n = find(logs, HISTORY, is_decision("TOO_LOW"))
    del items[n]
    found(checkers.check_decisions, logs, "came 1 times, decided 0")
    assert checkers.check_decisions(logs, drained=False) == []


def test_a_decision_made_twice(logs: Logs) -> None:
    items, n = find(logs, HISTORY, is_decision("TOO_LOW"))
    items.insert(n, items[n])
    found(checkers.check_decisions, logs, "decision 2 about bid")


def test_a_bid_that_is_lost_on_the_way(logs: Logs) -> None:
    items, n = find(logs, LOG, lambda e: isinstance(e, BidReceived))
    del items[n]
    found(checkers.check_forwarding, logs, "should be")
    found(checkers.check_forwarding, logs, "handed on")


def test_the_last_bid_is_lost_on_the_way(logs: Logs) -> None:
    items = max(logs[LOG].values(), key=len)
    n = max(n for n, (_, e) in enumerate(items) if isinstance(e, BidReceived | BidsClock))
    del items[n]
    found(checkers.check_forwarding, logs, "handed on")
    assert checkers.check_forwarding(logs, drained=False) == []


def test_bids_that_pass_each_other(logs: Logs) -> None:
    items = max(logs[LOG].values(), key=len)
    one, other = [n for n, (_, e) in enumerate(items) if isinstance(e, BidReceived)][:2]
    items[one], items[other] = items[other], items[one]
    found(checkers.check_forwarding, logs, "should be")


def test_a_bid_with_another_time(logs: Logs) -> None:
    change(logs, LOG, lambda e: isinstance(e, BidReceived), received_at=lambda e: e.received_at - 1)
    found(checkers.check_forwarding, logs, "should be")


def test_a_bid_on_another_partition(logs: Logs) -> None:
    items, n = find(logs, LOG, lambda e: isinstance(e, BidReceived))
    other = next(held for held in logs[LOG].values() if held is not items)
    other.append(items.pop(n))
    found(checkers.check_forwarding, logs, "from partition")


def test_bids_from_nowhere(logs: Logs) -> None:
    logs[BIDS] = {}
    found(checkers.check_forwarding, logs, "from nowhere")


# --- money ---


def test_a_bid_that_leads_without_money(logs: Logs) -> None:
    items, n = find(logs, LOG, lambda e: isinstance(e, FundsHeld))
    record, held = items[n]
    items[n] = record, held._replace(amount=Money(1, "EUR"))
    found(checkers.check_backing, logs, "held")


def test_money_that_comes_after_the_decision(logs: Logs) -> None:
    items, n = find(logs, LOG, lambda e: isinstance(e, FundsHeld))
    record, held = items[n]
    items[n] = record._replace(offset=10**9), held
    found(checkers.check_backing, logs, "with 0 held")


def test_a_hold_that_stays(logs: Logs) -> None:
    items, n = find(
        logs,
        payment_topics.STATUS.name,
        lambda e: isinstance(e, PaymentStatus) and e.kind == "HOLD" and e.status == "CANC",
    )
    del items[n]
    found(checkers.check_settlement, logs, "never captured nor released")


def test_a_price_that_is_not_paid(logs: Logs) -> None:
    def is_capture(event: Any) -> bool:
        return isinstance(event, PaymentConfirmed) and event.kind == "CAPTURE"

    items, n = find(logs, payment_topics.CONFIRMED.name, is_capture)
    record, done = items[n]
    items[n] = record, done._replace(amount=Money(done.amount.minor + 5, "EUR"))
    found(checkers.check_settlement, logs, "were paid")
    del items[n]
    found(checkers.check_settlement, logs, "were paid")
