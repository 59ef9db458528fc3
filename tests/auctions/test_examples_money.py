"""Table of examples, by hand from auctions.md: money behind bids; and what the payments' statuses mean to auctions."""

from typing import Any

import pytest

from auctions import topics
from auctions.backing import MAX_ID_CHARS as MAX_NAME_CHARS
from auctions.backing import Backing
from auctions.funds import Funds
from payments.admission import MAX_ID_CHARS, refusal
from schemas.auctions import FundsHeld, FundsRefused
from schemas.payments import Money, PaymentInitiated, PaymentStatus
from schemas.rails import Record
from tests.auctions.world import END, REGISTRY, House, Script, check
from transforms.fold import Shard

LEADS = [("a 3000 @ start+1h", ["HOLD a1 3000"]), ("held a1", ["a1 ACCEPTED 1000 a"])]
UNPAID_A = ["UNPAID a1 1000 by a, AM04", "VOID a1 1000"]
KEY = b"0123456789abcdef"
END_OF_A = ["SOON", "SOLD to a 1000", "CAPTURE a1 1000"]

MONEY: dict[str, tuple[dict[str, Any], Script]] = {
    "a bid waits for its hold": (
        {},
        [("a 3000", ["HOLD a1 3000"]), ("clock", []), ("held a1", ["a1 ACCEPTED 1000 a"])],
    ),
    "a bid without funds never leads": (
        {},
        [
            ("a 3000", ["HOLD a1 3000"]),
            ("refused a1", ["a1 INSUFFICIENT_FUNDS 1000 -"]),
            ("clock @ end", ["SOON", "UNSOLD"]),
        ],
    ),
    "what is too low asks for nothing": ({}, [("a 999", ["a1 TOO_LOW 1000 -"])]),
    "overtaken while it waits": (
        {},
        [
            ("a 1500", ["HOLD a1 1500"]),
            ("b 9000", ["HOLD b1 9000"]),
            ("c 5000", ["HOLD c1 5000"]),
            ("held b1", ["b1 ACCEPTED 1000 b"]),
            ("held c1", ["c1 ACCEPTED_OUTBID 5100 b", "b1 ACCEPTED 5100 b auto", "VOID c1 5000"]),
            ("held a1", ["a1 TOO_LOW 5100 b", "VOID a1 1500"]),
        ],
    ),
    "released when outbid": (
        {},
        [*LEADS, ("b 5000", ["HOLD b1 5000"]), ("held b1", ["b1 ACCEPTED 3100 b", "VOID a1 3000"])],
    ),
    "a raise asks for the difference": (
        {},
        [*LEADS, ("a 5000", ["HOLD a2 2000"]), ("held a2", ["a2 ACCEPTED 1000 a"])],
    ),
    "a raise that is refused leaves the first": (
        {},
        [
            *LEADS,
            ("a 5000", ["HOLD a2 2000"]),
            ("refused a2", ["a2 INSUFFICIENT_FUNDS 1000 a"]),
            ("clock @ end", END_OF_A),
        ],
    ),
    "going down releases nothing, and going up again asks for nothing that is held": (
        {},
        [
            *LEADS,
            ("a 2000", ["a2 ACCEPTED 1000 a"]),
            ("a 3000", ["a3 ACCEPTED 1000 a"]),
            ("a 3500", ["HOLD a4 500"]),
            ("held a4", ["a4 ACCEPTED 1000 a"]),
            ("clock @ end", ["SOON", "SOLD to a 1000", "CAPTURE a1 1000", "VOID a4 500"]),
        ],
    ),
    "a second bid of a bidder waits behind the first": (
        {},
        [
            ("a 3000", ["HOLD a1 3000"]),
            ("a 4000", []),
            ("a 5000", []),
            ("held a1", ["a1 ACCEPTED 1000 a", "HOLD a2 1000"]),
            ("refused a2", ["a2 INSUFFICIENT_FUNDS 1000 a", "HOLD a3 2000"]),
            ("held a3", ["a3 ACCEPTED 1000 a"]),
        ],
    ),
    "a second bid that became too low": (
        {},
        [
            ("a 3000", ["HOLD a1 3000"]),
            ("a 3500", []),
            ("b 9000", ["HOLD b1 9000"]),
            ("held b1", ["b1 ACCEPTED 1000 b"]),
            ("held a1", ["a1 ACCEPTED_OUTBID 3100 b", "b1 ACCEPTED 3100 b auto", "HOLD a2 500"]),
            ("c 4000", ["HOLD c1 4000"]),
            ("held c1", ["c1 ACCEPTED_OUTBID 4100 b", "b1 ACCEPTED 4100 b auto", "VOID c1 4000"]),
            ("held a2", ["a2 TOO_LOW 4100 b", "VOID a1 3000", "VOID a2 500"]),
        ],
    ),
    "nothing is released while a bid waits": (
        {},
        [
            *LEADS,
            ("a 6000", ["HOLD a2 3000"]),
            ("b 5000", ["HOLD b1 5000"]),
            ("held b1", ["b1 ACCEPTED 3100 b"]),
            ("held a2", ["a2 ACCEPTED 5100 a", "VOID b1 5000"]),
        ],
    ),
    "ties go by the order of decisions": (
        {},
        [
            ("a 3000", ["HOLD a1 3000"]),
            ("b 3000", ["HOLD b1 3000"]),
            ("held b1", ["b1 ACCEPTED 1000 b"]),
            ("held a1", ["a1 ACCEPTED_OUTBID 3000 b", "b1 ACCEPTED 3000 b auto", "VOID a1 3000"]),
        ],
    ),
    "the price is captured, the rest let go": (
        {},
        [*LEADS, ("clock @ end", END_OF_A)],
    ),
    "over several holds, oldest first": (
        {},
        [
            ("a 1200", ["HOLD a1 1200"]),
            ("held a1", ["a1 ACCEPTED 1000 a"]),
            ("a 3000", ["HOLD a2 1800"]),
            ("held a2", ["a2 ACCEPTED 1000 a"]),
            ("a 9000", ["HOLD a3 6000"]),
            ("held a3", ["a3 ACCEPTED 1000 a"]),
            ("b 2500", ["HOLD b1 2500"]),
            ("held b1", ["b1 ACCEPTED_OUTBID 2600 a", "a3 ACCEPTED 2600 a auto", "VOID b1 2500"]),
            ("clock @ end", ["SOON", "SOLD to a 2600", "CAPTURE a1 1200", "CAPTURE a2 1400", "VOID a3 6000"]),
        ],
    ),
    "all is let go where the reserve is not met": (
        {"reserve": 5000},
        [
            ("a 3000", ["HOLD a1 3000"]),
            ("held a1", ["a1 ACCEPTED_BELOW_RESERVE 3000 a"]),
            ("clock @ end", ["SOON", "RESERVE_NOT_MET", "VOID a1 3000"]),
        ],
    ),
    "all is let go where the item is taken back": (
        {},
        [
            *LEADS,
            ("b 5000", ["HOLD b1 5000"]),
            ("cancel", ["b1 CANCELLED 1000 a", "CANCELLED", "VOID a1 3000"]),
            ("held b1", ["VOID b1 5000"]),
            ("held b1", []),
        ],
    ),
    "a buy-now pays its price at once": (
        {"buy_now": 9000},
        [
            ("b 2000", ["HOLD b1 2000"]),
            ("a 9500", ["HOLD a1 9500"]),
            ("held a1", ["a1 BUY_NOW 9000 a", "b1 FINISHED 9000 a", "SOLD to a 9000", "CAPTURE a1 9000"]),
            ("held b1", ["VOID b1 2000"]),
        ],
    ),
    "a buy-now that is offered no more is a bid": (
        {"buy_now": 9000},
        [
            ("a 9000", ["HOLD a1 9000"]),
            ("b 2000", ["HOLD b1 2000"]),
            ("held b1", ["b1 ACCEPTED 1000 b"]),
            ("held a1", ["a1 ACCEPTED 2100 a", "VOID b1 2000"]),
        ],
    ),
    "the end waits for answers": (
        {},
        [
            *LEADS,
            ("b 5000 @ end-1s", ["SOON", "HOLD b1 5000"]),
            ("clock @ end", []),
            ("c 9000 @ end+1s", ["c1 FINISHED 1000 a"]),
            ("held b1", ["b1 ACCEPTED 3100 b", "VOID a1 3000", "SOLD to b 3100", "CAPTURE b1 3100"]),
        ],
    ),
    "a refusal lets it end too": (
        {},
        [
            *LEADS,
            ("b 5000 @ end-1s", ["SOON", "HOLD b1 5000"]),
            ("clock @ end", []),
            ("refused b1", ["b1 INSUFFICIENT_FUNDS 1000 a", "SOLD to a 1000", "CAPTURE a1 1000"]),
        ],
    ),
    "no longer than a minute": (
        {},
        [
            *LEADS,
            ("b 5000 @ end-1s", ["SOON", "HOLD b1 5000"]),
            ("clock @ end+59999ms", []),
            ("clock @ end+60s", ["b1 LATE 1000 a", "SOLD to a 1000", "CAPTURE a1 1000"]),
            ("held b1", ["VOID b1 5000"]),
            ("held b1", []),
        ],
    ),
    "what is late and refused leaves nothing to void": (
        {},
        [
            ("b 5000 @ end-1s", ["SOON", "HOLD b1 5000"]),
            ("clock @ end+60s", ["b1 LATE 1000 -", "UNSOLD"]),
            ("refused b1", []),
            ("held b1", []),
        ],
    ),
    "what is late and was not asked for is only late": (
        {},
        [
            ("b 5000 @ end-2s", ["SOON", "HOLD b1 5000"]),
            ("b 6000 @ end-1s", []),
            ("clock @ end+60s", ["b1 LATE 1000 -", "b2 LATE 1000 -", "UNSOLD"]),
            ("held b2 1000", []),
        ],
    ),
    "a bid decided after the end does not move it": (
        {"soft_close_ms": 60_000},
        [
            ("a 3000 @ end-1s", ["SOON", "HOLD a1 3000"]),
            ("clock @ end", []),
            ("held a1", ["a1 ACCEPTED 1000 a", "SOLD to a 1000", "CAPTURE a1 1000"]),
        ],
    ),
    "a bid decided in time moves it by when it was received": (
        {"soft_close_ms": 60_000},
        [
            ("a 3000 @ end-30s", ["SOON", "HOLD a1 3000"]),
            ("held a1 @ end-1s", ["a1 ACCEPTED 1000 a"]),
            ("clock @ end+29999ms", []),
            ("clock @ end+30s", ["SOLD to a 1000", "CAPTURE a1 1000"]),
        ],
    ),
    "an answer again is a repeat": ({}, [*LEADS, ("held a1", []), ("refused a1", [])]),
    "an answer to what nobody asked": ({}, [("held z1 500", []), ("refused z1", []), ("unpaid z1", [])]),
    "a hold of another amount is none": (
        {},
        [("a 3000", ["HOLD a1 3000"]), ("held a1 1", ["a1 INSUFFICIENT_FUNDS 1000 -"])],
    ),
    "a late hold of another amount is none": (
        {},
        [
            ("a 3000 @ end-1s", ["SOON", "HOLD a1 3000"]),
            ("clock @ end+60s", ["a1 LATE 1000 -", "UNSOLD"]),
            ("held a1 1", []),
            ("held a1 3000", ["VOID a1 3000"]),
        ],
    ),
    "a capture that is refused lets the money go": (
        {},
        [*LEADS, ("clock @ end", END_OF_A), ("unpaid a1", UNPAID_A), ("unpaid a1", [])],
    ),
    "of several captures each that is refused is told, the last with what was left of the price": (
        {},
        [
            ("a 1200", ["HOLD a1 1200"]),
            ("held a1", ["a1 ACCEPTED 1000 a"]),
            ("a 3000", ["HOLD a2 1800"]),
            ("held a2", ["a2 ACCEPTED 1000 a"]),
            ("b 2000", ["HOLD b1 2000"]),
            ("held b1", ["b1 ACCEPTED_OUTBID 2100 a", "a2 ACCEPTED 2100 a auto", "VOID b1 2000"]),
            ("clock @ end", ["SOON", "SOLD to a 2100", "CAPTURE a1 1200", "CAPTURE a2 900"]),
            ("unpaid a2", ["UNPAID a2 900 by a, AM04", "VOID a2 900"]),
            ("unpaid a2", []),
            ("unpaid a1", ["UNPAID a1 1200 by a, AM04", "VOID a1 1200"]),
            ("unpaid b1", []),
        ],
    ),
    "only a capture that was asked for can be unpaid": ({}, [*LEADS, ("unpaid a1", [])]),
    "taken back while it closes is too late": (
        {},
        [
            ("a 3000 @ end-1s", ["SOON", "HOLD a1 3000"]),
            ("clock @ end", []),
            ("cancel", []),
            ("held a1", ["a1 ACCEPTED 1000 a", "SOLD to a 1000", "CAPTURE a1 1000"]),
        ],
    ),
}


@pytest.mark.parametrize("key", [b"", KEY], ids=["without a key", "with a key"])
@pytest.mark.parametrize("name", MONEY)
def test_money_behind_bids(name: str, key: bytes) -> None:
    fields, script = MONEY[name]
    house = check({"funds_required": True, "key": key, **fields}, script)
    if "x" in house.shard.entities and house.auction.phase == "COMPLETE":
        assert not house.auction.holds and not house.auction.waiting


@pytest.mark.parametrize("key", [b"", KEY], ids=["without a key", "with a key"])
def test_what_is_asked_for_is_admitted_by_the_payment_side(key: bytes) -> None:
    """Right fields for each kind, ids within their bounds, hold and capture of one reference, no expiry."""
    long = "b" * MAX_NAME_CHARS
    house = House(funds_required=True, key=key)
    asked: list[PaymentInitiated] = []
    for step in (f"a 1200 #{long}", f"held {long}", "a 3000 #z", "held z", "b 2000", "held b1", "clock @ end"):
        house.play(step)
        asked += [output.event for output in house.outputs if isinstance(output.event, PaymentInitiated)]
    assert [payment.kind for payment in asked] == ["HOLD", "HOLD", "HOLD", "VOID", "CAPTURE", "CAPTURE"]
    for payment in asked:
        assert refusal(payment, payment.requested_at, 1000) is None
        assert max(len(payment.payment_id), len(payment.reference or ""), len(payment.pending_id or "")) <= MAX_ID_CHARS
        assert payment.hold_timeout_ms is None
    assert [(p.debtor_account, p.creditor_account, p.pending_id) for p in asked[-2:]] == [
        ("a", "seller", Backing(key).payment_id("x", long, "HOLD")),
        ("a", "seller", Backing(key).payment_id("x", "z", "HOLD")),
    ]
    assert [p.payment_id for p in asked if p.kind == "HOLD"][-2] == asked[-1].pending_id


def test_an_answer_to_an_auction_that_is_not_there_is_late() -> None:
    house = House(listed=False)
    house.play("held a1 500")
    house.play("refused a1")
    assert house.shard.counts.late == 2 and END > 0


# --- statuses ---


def _status(payment_id: str, status: str, kind: str = "HOLD", reference: str | None = "x/b", **fields: Any) -> Any:
    values: dict[str, Any] = {
        "reason": "AM04" if status == "RJCT" else None,
        "detail": None,
        "reference": reference,
        "original": None,
        "amount": Money(500, "EUR"),
        "stage": "payments.accounts",
        "attempt": False,
        "terminal": status == "RJCT",
        "hop": 1,
        "at": 1,
        "elapsed_ms": 1,
        **fields,
    }
    return PaymentStatus(payment_id=payment_id, kind=kind, status=status, **values)  # type: ignore[arg-type]


HELD = FundsHeld("x", "b", "x/b/hold", Money(500, "EUR"))
STATUSES: list[tuple[str, PaymentStatus, Any]] = [
    ("held", _status("x/b/hold", "PDNG"), HELD),
    ("refused", _status("x/b/hold", "RJCT"), FundsRefused("x", "b", "x/b/hold", "AM04")),
    ("refused without a reason", _status("x/b/hold", "RJCT", reason=None), FundsRefused("x", "b", "x/b/hold", "")),
    ("admitted", _status("x/b/hold", "ACTC"), None),
    ("ended", _status("x/b/hold", "CANC"), None),
    ("paid", _status("x/b/capture", "ACCC", "CAPTURE"), None),
    ("not paid", _status("x/b/capture", "RJCT", "CAPTURE"), FundsRefused("x", "b", "x/b/capture", "AM04")),
    ("not voided", _status("x/b/void", "RJCT", "VOID"), None),
    ("an attempt", _status("x/b/hold", "RJCT", attempt=True), None),
    ("a duplicate", _status("x/b/hold", "DUPL", attempt=True), None),
    ("without a reference", _status("x/b/hold", "PDNG", reference=None), None),
    ("another's reference", _status("x/b/hold", "PDNG", reference="x/c"), None),
    ("another's id", _status("h1", "PDNG"), None),
    ("a hold under another step", _status("x/b/capture", "PDNG"), None),
    ("a refused hold under another step", _status("x/b/capture", "RJCT"), None),
    ("a refused capture under another step", _status("x/b/hold", "RJCT", "CAPTURE"), None),
    ("an empty id", _status("/b/hold", "PDNG", reference="/b"), None),
    ("another kind", _status("x/b/hold", "RJCT", "TRANSFER"), None),
]


@pytest.mark.parametrize(("status", "wanted"), [row[1:] for row in STATUSES], ids=[row[0] for row in STATUSES])
def test_what_a_status_means(status: PaymentStatus, wanted: Any) -> None:
    shard = Shard(Funds(), "payments.status", 0, 1, REGISTRY.decode)
    record = Record(0, 5, status.payment_id.encode(), REGISTRY.encode(status), None, ())
    outputs = shard.step(record)
    assert [output.event for output in outputs] == ([] if wanted is None else [wanted])
    assert all((output.topic, output.key) == (topics.LOG.name, b"x") for output in outputs)
