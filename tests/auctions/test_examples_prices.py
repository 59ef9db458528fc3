"""Tables of examples, by hand from auctions.md: increments, proxy bids, ties, reserve, buy-now. Amounts are minor units."""

from typing import Any

import pytest

from auctions.increments import increments_of
from tests.auctions.world import Script, check

INCREMENTS = [
    ("EUR", 0, 50),
    ("EUR", 1_999, 50),
    ("EUR", 2_000, 100),
    ("EUR", 19_999, 100),
    ("EUR", 20_000, 500),
    ("EUR", 99_999, 500),
    ("EUR", 100_000, 1_000),
    ("EUR", 499_999, 1_000),
    ("EUR", 500_000, 5_000),
    ("EUR", 2_499_999, 5_000),
    ("EUR", 2_500_000, 10_000),
    ("JPY", 19, 1),  # half a yen is none
    ("JPY", 199, 1),
    ("JPY", 200, 5),
    ("JPY", 25_000, 100),
    ("KWD", 19_999, 500),
    ("KWD", 20_000, 1_000),
    ("CLF", 200_000, 10_000),
]


@pytest.mark.parametrize(("currency", "price", "step"), INCREMENTS)
def test_increments(currency: str, price: int, step: int) -> None:
    assert increments_of(None, currency).of(price) == step


PROXY: dict[str, Script] = {
    "a first bid reaches the start price": [("a 1000", ["a1 ACCEPTED 1000 a"])],
    "a first bid under it": [("a 999", ["a1 TOO_LOW 1000 -"])],
    "alone the price stays": [("a 5000", ["a1 ACCEPTED 1000 a"])],
    "the leader's maximum answers": [
        ("a 5000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
    ],
    "a higher maximum leads": [("a 2000", ["a1 ACCEPTED 1000 a"]), ("b 5000", ["b1 ACCEPTED 2100 b"])],
    "never above the leader's maximum": [("a 2000", ["a1 ACCEPTED 1000 a"]), ("b 2050", ["b1 ACCEPTED 2050 b"])],
    "the answer ends at the leader's maximum": [
        ("a 2050", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2050 a", "a1 ACCEPTED 2050 a auto"]),
    ],
    "just the least raise": [("a 1000", ["a1 ACCEPTED 1000 a"]), ("b 1050", ["b1 ACCEPTED 1050 b"])],
    "one less than the least raise": [("a 1000", ["a1 ACCEPTED 1000 a"]), ("b 1049", ["b1 TOO_LOW 1000 a"])],
    "the leader raises alone": [("a 2000", ["a1 ACCEPTED 1000 a"]), ("a 5000", ["a2 ACCEPTED 1000 a"])],
    "the price is found again when the leader raises": [
        ("a 2050", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2050 a", "a1 ACCEPTED 2050 a auto"]),
        ("a 3000", ["a2 ACCEPTED 2100 a"]),
    ],
    "the leader goes down to the price": [
        ("a 5000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
        ("a 2100", ["a2 ACCEPTED 2100 a"]),
        ("b 2199", ["b2 TOO_LOW 2100 a"]),
        ("b 2200", ["b3 ACCEPTED 2200 b"]),
    ],
    "the leader goes below the price": [
        ("a 5000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
        ("a 2099", ["a2 TOO_LOW 2100 a"]),
        ("b 4000", ["b2 ACCEPTED_OUTBID 4100 a", "a1 ACCEPTED 4100 a auto"]),
    ],
    "who was outbid tries again": [
        ("a 5000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
        ("b 2150", ["b2 TOO_LOW 2100 a"]),
        ("b 6000", ["b3 ACCEPTED 5100 b"]),
    ],
    "three bidders": [
        ("a 3000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2100 a", "a1 ACCEPTED 2100 a auto"]),
        ("c 2500", ["c1 ACCEPTED_OUTBID 2600 a", "a1 ACCEPTED 2600 a auto"]),
        ("c 4000", ["c2 ACCEPTED 3100 c"]),
        ("b 3150", ["b2 TOO_LOW 3100 c"]),
    ],
    "the step is that of the other's maximum": [
        ("a 9000", ["a1 ACCEPTED 1000 a"]),
        ("b 1999", ["b1 ACCEPTED_OUTBID 2049 a", "a1 ACCEPTED 2049 a auto"]),
        ("b 2148", ["b2 TOO_LOW 2049 a"]),
        ("b 2149", ["b3 ACCEPTED_OUTBID 2249 a", "a1 ACCEPTED 2249 a auto"]),
    ],
    "the answer names the newest bid of the leader": [
        ("a 2000", ["a1 ACCEPTED 1000 a"]),
        ("a 5000", ["a2 ACCEPTED 1000 a"]),
        ("b 3000", ["b1 ACCEPTED_OUTBID 3100 a", "a2 ACCEPTED 3100 a auto"]),
    ],
}

TIES: dict[str, Script] = {
    "the earlier leads": [
        ("a 2000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2000 a", "a1 ACCEPTED 2000 a auto"]),
        ("b 2000", ["b2 TOO_LOW 2000 a"]),
        ("c 2000", ["c1 TOO_LOW 2000 a"]),
    ],
    "the leader names it again": [
        ("a 2000", ["a1 ACCEPTED 1000 a"]),
        ("b 2000", ["b1 ACCEPTED_OUTBID 2000 a", "a1 ACCEPTED 2000 a auto"]),
        ("a 2000", ["a2 ACCEPTED 2000 a"]),
        ("b 2100", ["b2 ACCEPTED 2100 b"]),
    ],
    "at the start price there is none": [("a 1000", ["a1 ACCEPTED 1000 a"]), ("b 1000", ["b1 TOO_LOW 1000 a"])],
    "with what the leader raised to": [
        ("a 1500", ["a1 ACCEPTED 1000 a"]),
        ("b 1400", ["b1 ACCEPTED_OUTBID 1450 a", "a1 ACCEPTED 1450 a auto"]),
        ("a 2000", ["a2 ACCEPTED 1450 a"]),
        ("b 2000", ["b2 ACCEPTED_OUTBID 2000 a", "a2 ACCEPTED 2000 a auto"]),
    ],
    "with whom leads now, though the other was there first": [
        ("a 1500", ["a1 ACCEPTED 1000 a"]),
        ("b 3000", ["b1 ACCEPTED 1550 b"]),
        ("a 3000", ["a2 ACCEPTED_OUTBID 3000 b", "b1 ACCEPTED 3000 b auto"]),
    ],
    "of those who remain": [
        ("a 3000", ["a1 ACCEPTED 1000 a"]),
        ("b 3000", ["b1 ACCEPTED_OUTBID 3000 a", "a1 ACCEPTED 3000 a auto"]),
        ("c 5000", ["c1 ACCEPTED 3100 c"]),
        ("take c1", ["c1 RETRACTED 3000 a"]),
    ],
    "of those who remain, named again by the first": [
        ("a 3000", ["a1 ACCEPTED 1000 a"]),
        ("a 3000", ["a2 ACCEPTED 1000 a"]),
        ("b 3000", ["b1 ACCEPTED_OUTBID 3000 a", "a1 ACCEPTED 3000 a auto"]),
        ("c 5000", ["c1 ACCEPTED 3100 c"]),
        ("take c1", ["c1 RETRACTED 3000 a"]),
    ],
}

RESERVE: dict[str, Script] = {
    "under it the price is the maximum": [("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"])],
    "the next must raise that": [
        ("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
        ("b 3000", ["b1 TOO_LOW 3000 a"]),
        ("b 3099", ["b2 TOO_LOW 3000 a"]),
        ("b 3100", ["b3 ACCEPTED_BELOW_RESERVE 3100 b"]),
    ],
    "another meets it": [("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]), ("b 5000", ["b1 ACCEPTED 5000 b"])],
    "the first meets it": [("a 8000", ["a1 ACCEPTED 5000 a"])],
    "once met, as without": [
        ("a 8000", ["a1 ACCEPTED 5000 a"]),
        ("b 5050", ["b1 TOO_LOW 5000 a"]),
        ("b 6000", ["b2 ACCEPTED_OUTBID 6100 a", "a1 ACCEPTED 6100 a auto"]),
    ],
    "the leader raises under it": [
        ("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
        ("a 4000", ["a2 ACCEPTED_BELOW_RESERVE 4000 a"]),
    ],
    "the leader goes down under it": [
        ("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
        ("a 2000", ["a2 TOO_LOW 3000 a"]),
    ],
    "the leader meets it": [("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]), ("a 6000", ["a2 ACCEPTED 5000 a"])],
    "the leader goes down to it": [
        ("a 8000", ["a1 ACCEPTED 5000 a"]),
        ("a 5000", ["a2 ACCEPTED 5000 a"]),
        ("a 4999", ["a3 TOO_LOW 5000 a"]),
    ],
    "not met at the end": [
        ("a 4999", ["a1 ACCEPTED_BELOW_RESERVE 4999 a"]),
        ("clock @ end-1s", ["SOON"]),
        ("clock @ end", ["RESERVE_NOT_MET"]),
    ],
    "met at the end": [
        ("a 5000", ["a1 ACCEPTED 5000 a"]),
        ("clock @ end-1s", ["SOON"]),
        ("clock @ end", ["SOLD to a 5000"]),
    ],
}

BUY_NOW: dict[str, tuple[dict[str, Any], Script]] = {
    "at its price": ({}, [("a 10000", ["a1 BUY_NOW 10000 a", "SOLD to a 10000"])]),
    "never above it": ({}, [("a 15000", ["a1 BUY_NOW 10000 a", "SOLD to a 10000"])]),
    "one less is a bid": ({}, [("a 9999", ["a1 ACCEPTED 1000 a"])]),
    "until the first bid": ({}, [("a 1000", ["a1 ACCEPTED 1000 a"]), ("b 10000", ["b1 ACCEPTED 1050 b"])]),
    "a refused bid is none": (
        {},
        [("a 999", ["a1 TOO_LOW 1000 -"]), ("b 10000", ["b1 BUY_NOW 10000 b", "SOLD to b 10000"])],
    ),
    "then it is over": (
        {},
        [("a 10000", ["a1 BUY_NOW 10000 a", "SOLD to a 10000"]), ("b 20000", ["b1 FINISHED 10000 a"])],
    ),
    "until the reserve is met": (
        {"reserve": 5000},
        [
            ("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
            ("b 10000", ["b1 BUY_NOW 10000 b", "SOLD to b 10000"]),
        ],
    ),
    "once the reserve is met no more": (
        {"reserve": 5000},
        [("a 5000", ["a1 ACCEPTED 5000 a"]), ("b 10000", ["b1 ACCEPTED 5100 b"])],
    ),
    "by the leader": (
        {"reserve": 5000},
        [
            ("a 3000", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
            ("a 10000", ["a2 BUY_NOW 10000 a", "SOLD to a 10000"]),
        ],
    ),
    "not by the seller": (
        {},
        [("seller 10000", ["seller1 SELLER_BID 1000 -"]), ("a 10000", ["a1 BUY_NOW 10000 a", "SOLD to a 10000"])],
    ),
    "a retraction does not bring it back": (
        {},
        [
            ("a 1000", ["a1 ACCEPTED 1000 a"]),
            ("take a1", ["a1 RETRACTED 1000 -"]),
            ("b 10000", ["b1 ACCEPTED 1000 b"]),
        ],
    ),
}


@pytest.mark.parametrize("name", PROXY)
def test_proxy_bids(name: str) -> None:
    check({}, PROXY[name])


@pytest.mark.parametrize("name", TIES)
def test_ties(name: str) -> None:
    check({}, TIES[name])


@pytest.mark.parametrize("name", RESERVE)
def test_reserve(name: str) -> None:
    check({"reserve": 5000}, RESERVE[name])


@pytest.mark.parametrize("name", BUY_NOW)
def test_buy_now(name: str) -> None:
    fields, script = BUY_NOW[name]
    check({"buy_now": 10_000, **fields}, script)
