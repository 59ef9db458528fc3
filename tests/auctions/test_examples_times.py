"""Tables of examples, by hand from auctions.md: soft close, the close itself, retraction, and the order of the statuses."""

from typing import Any

import pytest

from auctions.house import AuctionHouse
from schemas.auctions import AuctionOutcome
from tests.auctions.world import END, START, House, Script, check, moment, sentences

Table = dict[str, tuple[dict[str, Any], Script]]

A = ("a 3000 @ start+1h", ["a1 ACCEPTED 1000 a"])  # the first bid of many a script
SOON = ("clock @ end-10m", ["SOON"])
SOFT: dict[str, Any] = {"soft_close_ms": 60_000, "max_extensions": 2}

# name: (fields, script, where the end stands after it, ms from END, extensions)
SOFT_CLOSE: dict[str, tuple[dict[str, Any], Script, int, int]] = {
    "just before it": (
        SOFT,
        [A, SOON, ("b 2000 @ end-60s", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"])],
        0,
        0,
    ),
    "inside by a millisecond": (
        SOFT,
        [A, SOON, ("b 2000 @ end-59999ms", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"])],
        1,
        1,
    ),
    "in the last millisecond": (SOFT, [A, SOON, ("b 5000 @ end-1ms", ["b1 ACCEPTED 3100 b"])], 59_999, 1),
    "by the first bid": (SOFT, [SOON, ("a 1000 @ end-30s", ["a1 ACCEPTED 1000 a"])], 30_000, 1),
    "not by a refused bid": (SOFT, [A, SOON, ("b 1049 @ end-30s", ["b1 TOO_LOW 1000 a"])], 0, 0),
    "not by a duplicate": (SOFT, [A, SOON, ("b 9000 #a1 @ end-30s", ["a1 DUPLICATE 1000 a"])], 0, 0),
    "not by the seller": (SOFT, [A, SOON, ("seller 9000 @ end-30s", ["seller1 SELLER_BID 1000 a"])], 0, 0),
    "not by the leader's raise": (SOFT, [A, SOON, ("a 9000 @ end-30s", ["a2 ACCEPTED 1000 a"])], 0, 0),
    "not by the leader's going down": (SOFT, [A, SOON, ("a 1000 @ end-30s", ["a2 ACCEPTED 1000 a"])], 0, 0),
    "not by a buy-now": (
        {**SOFT, "buy_now": 9000},
        [SOON, ("a 9000 @ end-30s", ["a1 BUY_NOW 9000 a", "SOLD to a 9000"])],
        0,
        0,
    ),
    "by a bid under the reserve": (
        {**SOFT, "reserve": 5000},
        [SOON, ("a 2000 @ end-30s", ["a1 ACCEPTED_BELOW_RESERVE 2000 a"])],
        30_000,
        1,
    ),
    "again from the new end": (
        SOFT,
        [A, SOON, ("b 5000 @ end-30s", ["b1 ACCEPTED 3100 b"]), ("a 6000 @ end+10s", ["a2 ACCEPTED 5100 a"])],
        70_000,
        2,
    ),
    "not again before its window": (
        SOFT,
        [A, SOON, ("b 5000 @ end-30s", ["b1 ACCEPTED 3100 b"]), ("a 6000 @ end-30s", ["a2 ACCEPTED 5100 a"])],
        30_000,
        1,
    ),
    "no more than it may": (
        SOFT,
        [
            A,
            SOON,
            ("b 5000 @ end-30s", ["b1 ACCEPTED 3100 b"]),
            ("a 6000 @ end+10s", ["a2 ACCEPTED 5100 a"]),
            ("b 7000 @ end+69s", ["b2 ACCEPTED 6100 b"]),
            ("a 8000 @ end+70s", ["SOLD to b 6100", "a3 FINISHED 6100 b"]),
        ],
        70_000,
        2,
    ),
    "never, by its cap": ({**SOFT, "max_extensions": 0}, [A, SOON, ("b 5000 @ end-30s", ["b1 ACCEPTED 3100 b"])], 0, 0),
    "without a soft close": ({}, [A, SOON, ("b 5000 @ end-30s", ["b1 ACCEPTED 3100 b"])], 0, 0),
    "without a cap": (
        {"soft_close_ms": 60_000},
        [
            A,
            SOON,
            ("b 5000 @ end-30s", ["b1 ACCEPTED 3100 b"]),
            ("a 6000 @ end+10s", ["a2 ACCEPTED 5100 a"]),
            ("b 7000 @ end+60s", ["b2 ACCEPTED 6100 b"]),
        ],
        120_000,
        3,
    ),
    "soon is said of the moved end, if it was not said before": (
        {"soft_close_ms": 3_600_000},
        [A, ("b 5000 @ end-20m", ["b1 ACCEPTED 3100 b"]), ("clock @ end-10m", []), ("clock @ end+30m", ["SOON"])],
        2_400_000,
        1,
    ),
    "soon is not said twice": (
        {"soft_close_ms": 3_600_000},
        [A, SOON, ("b 5000 @ end-9m", ["b1 ACCEPTED 3100 b"]), ("clock @ end+50m", [])],
        3_060_000,
        1,
    ),
}


@pytest.mark.parametrize("name", SOFT_CLOSE)
def test_soft_close(name: str) -> None:
    fields, script, end, extensions = SOFT_CLOSE[name]
    auction = check(fields, script).auction
    assert (auction.effective_end - END, auction.extensions) == (end, extensions)


CLOSE: Table = {
    "at the start": ({}, [("a 1000 @ start", ["a1 ACCEPTED 1000 a"])]),
    "a millisecond before it": ({}, [("a 1000 @ start-1ms", ["a1 NOT_STARTED 1000 -"])]),
    "in the last millisecond": ({}, [A, SOON, ("b 5000 @ end-1ms", ["b1 ACCEPTED 3100 b"])]),
    "at the end": ({}, [A, SOON, ("b 5000 @ end", ["SOLD to a 1000", "b1 FINISHED 1000 a"])]),
    "by the clock alone": ({}, [A, SOON, ("clock @ end-1ms", []), ("clock @ end", ["SOLD to a 1000"])]),
    "all at once after a long silence": ({}, [A, ("clock @ end+2h", ["SOON", "SOLD to a 1000"])]),
    "not by the time of auction.log": ({}, [A, ("tick @ end+1h", []), ("b 5000 @ end-1h", ["b1 ACCEPTED 3100 b"])]),
    "without a bid": ({}, [SOON, ("clock @ end", ["UNSOLD"])]),
    "with refused bids only": ({}, [("a 10", ["a1 TOO_LOW 1000 -"]), SOON, ("clock @ end", ["UNSOLD"])]),
    "with retracted bids only": ({}, [A, ("take a1", ["a1 RETRACTED 1000 -"]), SOON, ("clock @ end", ["UNSOLD"])]),
    "a bid that moves the end comes after it": (
        SOFT,
        [A, SOON, ("b 5000 @ end", ["SOLD to a 1000", "b1 FINISHED 1000 a"])],
    ),
    "taken back before a bid": ({}, [("cancel", ["CANCELLED"]), ("a 1000", ["a1 CANCELLED 1000 -"])]),
    "taken back before the start": ({}, [("cancel @ start-1h", ["CANCELLED"]), ("clock @ start", [])]),
    "taken back before any bid or tick has come": (
        {"clocked": False},
        [("cancel", ["CANCELLED"]), ("a 1000 @ start+1h", ["a1 CANCELLED 1000 -"])],
    ),
    "taken back with a leader": ({}, [A, ("cancel", ["CANCELLED"]), ("b 5000", ["b1 CANCELLED 1000 a"])]),
    "taken back after the end": ({}, [A, ("clock @ end", ["SOON", "SOLD to a 1000"]), ("cancel", [])]),
    "taken back twice": ({}, [("cancel", ["CANCELLED"]), ("cancel", []), ("clock @ end", [])]),
    "an end happens once": ({}, [A, ("clock @ end", ["SOON", "SOLD to a 1000"]), ("clock @ end+1h", [])]),
    "remembered for thirty days": (
        {},
        [("clock @ end", ["SOON", "UNSOLD"]), ("a 1000 @ end+719h", ["a1 FINISHED 1000 -"])],
    ),
    "then the item is unknown": ({}, [("clock @ end", ["SOON", "UNSOLD"]), ("a 1000 @ end+720h", ["a1 UNKNOWN_ITEM"])]),
    "listed too late": ({"listed_at": END}, [("clock @ end", ["SOON", "UNSOLD"])]),
    "listed after the start": ({"listed_at": START + 1}, [("a 1000 @ start+2ms", ["a1 ACCEPTED 1000 a"])]),
    "listed twice": ({}, [A, ("list", []), ("b 5000", ["b1 ACCEPTED 3100 b"])]),
    "shorter than what soon is": (
        {"ends_at": START + 60_000},
        [("clock @ start", ["SOON"]), ("clock @ start+60s", ["UNSOLD"])],
    ),
}

RETRACTION: Table = {
    "long before the end": ({}, [A, ("take a1 @ end-13h", ["a1 RETRACTED 1000 -"])]),
    "a millisecond more than twelve hours": ({}, [A, ("take a1 @ end-43200001ms", ["a1 RETRACTED 1000 -"])]),
    "at twelve hours": ({}, [A, ("take a1 @ end-12h", ["a1 RETRACTION_REFUSED 1000 a"])]),
    "later, within the hour": (
        {},
        [("a 3000 @ end-5h", ["a1 ACCEPTED 1000 a"]), ("take a1 @ end-4h", ["a1 RETRACTED 1000 -"])],
    ),
    "later, after the hour": (
        {},
        [
            ("a 3000 @ end-18000001ms", ["a1 ACCEPTED 1000 a"]),
            ("take a1 @ end-4h", ["a1 RETRACTION_REFUSED 1000 a"]),
        ],
    ),
    "later, not the latest": (
        {},
        [
            ("a 3000 @ end-5h", ["a1 ACCEPTED 1000 a"]),
            ("a 4000", ["a2 ACCEPTED 1000 a"]),
            ("take a1", ["a1 RETRACTION_REFUSED 1000 a"]),
            ("take a2", ["a2 RETRACTED 1000 a"]),
            ("take a1", ["a1 RETRACTED 1000 -"]),
        ],
    ),
    "later, others' bids since are no matter": (
        {},
        [
            ("a 3000 @ end-5h", ["a1 ACCEPTED 1000 a"]),
            ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
            ("take a1", ["a1 RETRACTED 1000 b"]),
        ],
    ),
    "in the last five minutes": (
        {},
        [
            ("a 3000 @ end-6m", ["SOON", "a1 ACCEPTED 1000 a"]),
            ("take a1 @ end-5m", ["a1 RETRACTION_REFUSED 1000 a"]),
        ],
    ),
    "a millisecond before them": (
        {},
        [
            ("a 3000 @ end-6m", ["SOON", "a1 ACCEPTED 1000 a"]),
            ("take a1 @ end-300001ms", ["a1 RETRACTED 1000 -"]),
        ],
    ),
    "in an extension": (
        {"soft_close_ms": 3_600_000},
        [
            ("a 3000 @ end-30m", ["a1 ACCEPTED 1000 a"]),
            ("take a1 @ end-20m", ["a1 RETRACTION_REFUSED 1000 a"]),
        ],
    ),
    "of another's bid": ({}, [A, ("take a1 by b", ["a1 RETRACTION_REFUSED 1000 a"])]),
    "of no bid": ({}, [A, ("take a7", ["a7 RETRACTION_REFUSED 1000 a"])]),
    "of a refused bid": ({}, [A, ("b 10", ["b1 TOO_LOW 1000 a"]), ("take b1", ["b1 RETRACTION_REFUSED 1000 a"])]),
    "twice": ({}, [A, ("take a1", ["a1 RETRACTED 1000 -"]), ("take a1", ["a1 RETRACTION_REFUSED 1000 -"])]),
    "before the start": ({}, [("take a1 @ start-1h", ["a1 NOT_STARTED 1000 -"])]),
    "after the end": ({}, [A, ("take a1 @ end", ["SOON", "SOLD to a 1000", "a1 FINISHED 1000 a"])]),
    "after it was taken back": ({}, [A, ("cancel", ["CANCELLED"]), ("take a1", ["a1 CANCELLED 1000 a"])]),
    "of an item that is not known": ({"listed": False}, [("take a1", ["a1 UNKNOWN_ITEM"])]),
    "the price falls": (
        {},
        [
            A,
            ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
            ("take b1", ["b1 RETRACTED 1000 a"]),
        ],
    ),
    "to what the others leave": (
        {},
        [
            ("a 5000", ["a1 ACCEPTED 1000 a"]),
            ("b 3000", ["b1 ACCEPTED_OUTBID 3100 a", "a1 ACCEPTED 3100 a auto"]),
            ("c 4000", ["c1 ACCEPTED_OUTBID 4100 a", "a1 ACCEPTED 4100 a auto"]),
            ("take c1", ["c1 RETRACTED 3100 a"]),
            ("take a1", ["a1 RETRACTED 1000 b"]),
        ],
    ),
    "an earlier bid of the same bidder stands again": (
        {},
        [
            ("a 2000", ["a1 ACCEPTED 1000 a"]),
            ("a 5000", ["a2 ACCEPTED 1000 a"]),
            ("b 3000", ["b1 ACCEPTED_OUTBID 3100 a", "a2 ACCEPTED 3100 a auto"]),
            ("take a2", ["a2 RETRACTED 2100 b"]),
        ],
    ),
    "an earlier bid that stands no more": (
        {},
        [
            ("a 2000", ["a1 ACCEPTED 1000 a"]),
            ("a 5000", ["a2 ACCEPTED 1000 a"]),
            ("take a1", ["a1 RETRACTED 1000 a"]),
            ("b 3000", ["b1 ACCEPTED_OUTBID 3100 a", "a2 ACCEPTED 3100 a auto"]),
        ],
    ),
    "the reserve holds": (
        {"reserve": 5000},
        [
            ("a 6000", ["a1 ACCEPTED 5000 a"]),
            ("b 5500", ["b1 ACCEPTED_OUTBID 5600 a", "a1 ACCEPTED 5600 a auto"]),
            ("take a1", ["a1 RETRACTED 5000 b"]),
        ],
    ),
    "the reserve is met no more": (
        {"reserve": 5000},
        [
            ("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
            ("b 6000", ["b1 ACCEPTED 5000 b"]),
            ("take b1", ["b1 RETRACTED 3000 a"]),
        ],
    ),
    "then the start price will do": (
        {},
        [A, ("take a1", ["a1 RETRACTED 1000 -"]), ("b 1000", ["b1 ACCEPTED 1000 b"])],
    ),
    "its id stays taken": ({}, [A, ("take a1", ["a1 RETRACTED 1000 -"]), ("a 3000 #a1", ["a1 DUPLICATE 1000 -"])]),
    "not where money stands behind bids": (
        {"funds_required": True},
        [
            ("a 3000", ["HOLD a1 3000"]),
            ("held a1", ["a1 ACCEPTED 1000 a"]),
            ("take a1", ["a1 RETRACTION_REFUSED 1000 a"]),
        ],
    ),
}

STATUS_ORDER: Table = {
    "UNKNOWN_ITEM before all": ({"listed": False}, [("seller 1 USD", ["seller1 UNKNOWN_ITEM"])]),
    "CANCELLED before FINISHED": (
        {},
        [("cancel", ["CANCELLED"]), ("a 1000 @ end+1h", ["a1 CANCELLED 1000 -"])],
    ),
    "CANCELLED before NOT_STARTED": (
        {},
        [("cancel @ start-2h", ["CANCELLED"]), ("a 1000 @ start-1h", ["a1 CANCELLED 1000 -"])],
    ),
    "FINISHED before DUPLICATE": ({}, [A, ("a 9000 #a1 @ end", ["SOON", "SOLD to a 1000", "a1 FINISHED 1000 a"])]),
    "FINISHED before SELLER_BID": ({}, [("seller 9000 @ end", ["SOON", "UNSOLD", "seller1 FINISHED 1000 -"])]),
    "NOT_STARTED before DUPLICATE": (
        {},
        [("a 1000 #z @ start-2h", ["z NOT_STARTED 1000 -"]), ("a 1000 #z @ start-1h", ["z NOT_STARTED 1000 -"])],
    ),
    "NOT_STARTED before SELLER_BID": ({}, [("seller 9000 @ start-1h", ["seller1 NOT_STARTED 1000 -"])]),
    "NOT_STARTED before CURRENCY_MISMATCH": ({}, [("a 9000 USD @ start-1h", ["a1 NOT_STARTED 1000 -"])]),
    "NOT_STARTED before TOO_LOW": ({}, [("a 9 @ start-1h", ["a1 NOT_STARTED 1000 -"])]),
    "DUPLICATE before SELLER_BID": ({}, [A, ("seller 9000 #a1", ["a1 DUPLICATE 1000 a"])]),
    "DUPLICATE before CURRENCY_MISMATCH": ({}, [A, ("a 9000 USD #a1", ["a1 DUPLICATE 1000 a"])]),
    "DUPLICATE before TOO_LOW": ({}, [A, ("b 9 #a1", ["a1 DUPLICATE 1000 a"])]),
    "DUPLICATE of a refused bid": ({}, [("a 9 #z", ["z TOO_LOW 1000 -"]), ("a 9000 #z", ["z DUPLICATE 1000 -"])]),
    "DUPLICATE of a bid before the start": (
        {},
        [("a 9000 #z @ start-1h", ["z NOT_STARTED 1000 -"]), ("a 9000 #z @ start+1h", ["z DUPLICATE 1000 -"])],
    ),
    "DUPLICATE of a bid that waits": (
        {"funds_required": True},
        [("a 3000", ["HOLD a1 3000"]), ("a 3000 #a1", ["a1 DUPLICATE 1000 -"]), ("held a1", ["a1 ACCEPTED 1000 a"])],
    ),
    "SELLER_BID before CURRENCY_MISMATCH": ({}, [("seller 9000 USD", ["seller1 SELLER_BID 1000 -"])]),
    "SELLER_BID before TOO_LOW": ({}, [("seller 9", ["seller1 SELLER_BID 1000 -"])]),
    "CURRENCY_MISMATCH before TOO_LOW": ({}, [("a 9 USD", ["a1 CURRENCY_MISMATCH 1000 -"])]),
    "CURRENCY_MISMATCH before INSUFFICIENT_FUNDS": (
        {"funds_required": True},
        [("a 9000 USD", ["a1 CURRENCY_MISMATCH 1000 -"])],
    ),
    "INSUFFICIENT_FUNDS before TOO_LOW": (
        {"funds_required": True},
        [
            ("a 2000", ["HOLD a1 2000"]),
            ("b 5000", ["HOLD b1 5000"]),
            ("c 9000", ["HOLD c1 9000"]),
            ("held c1", ["c1 ACCEPTED 1000 c"]),
            ("held b1", ["b1 ACCEPTED_OUTBID 5100 c", "c1 ACCEPTED 5100 c auto", "VOID b1 5000"]),
            ("refused a1", ["a1 INSUFFICIENT_FUNDS 5100 c"]),
        ],
    ),
}


def _check(table: Table, name: str) -> None:
    fields, script = table[name]
    check(fields, script)


@pytest.mark.parametrize("name", CLOSE)
def test_close(name: str) -> None:
    _check(CLOSE, name)


@pytest.mark.parametrize("name", RETRACTION)
def test_retraction(name: str) -> None:
    _check(RETRACTION, name)


@pytest.mark.parametrize("name", STATUS_ORDER)
def test_the_order_of_the_statuses(name: str) -> None:
    _check(STATUS_ORDER, name)


def test_listed_again_with_other_words_is_a_dead_letter() -> None:
    house = House()
    assert sentences(house.feed(house.item._replace(description="It broke."))) == []
    assert sentences(house.feed(house.item._replace(title="Another watch"))) == ["dead: ALREADY_LISTED"]


def test_a_seller_may_not_bid_from_their_account_under_another_name() -> None:
    house = House()
    bid = house._bid("friend", ["5000"])._replace(account_id="seller", received_at=moment("start+1h"))
    assert sentences(house.feed(bid)) == ["friend1 SELLER_BID 1000 -"]


def test_an_outcome_names_everyone() -> None:
    house = check(
        SOFT,
        [
            ("b 1000", ["b1 ACCEPTED 1000 b"]),
            ("a 5000", ["a1 ACCEPTED 1050 a"]),
            ("c 2000", ["c1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
            ("d 10", ["d1 TOO_LOW 2100 a"]),
            ("b 4000", ["b2 ACCEPTED_OUTBID 4100 a", "a1 ACCEPTED 4100 a auto"]),
        ],
    )
    house.play("clock @ end")
    (outcome,) = {output.event for output in house.outputs if isinstance(output.event, AuctionOutcome)}
    assert (outcome.winner, outcome.runner_up, outcome.losers) == ("a", "b", ("b", "c"))
    assert (outcome.bids, outcome.bidders, outcome.price, outcome.extensions) == (4, 3, (4100, "EUR"), 0)
    assert outcome.effective_end == END
    assert house.auction.bids == {}, "what is not needed any more is not kept"


@pytest.mark.parametrize("name", ["soon_ms", "answer_ms", "keep_ms"])
def test_spans_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        AuctionHouse(**{name: 0})
