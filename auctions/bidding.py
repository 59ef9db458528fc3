"""The auction: standing maxima, price, leader, reserve, buy-now, soft close and retraction, as pure functions of one auction's state.

The rules are those of auctions.md, section Bidding. Where it is silent:

- A bidder's standing maximum is that of their latest bid that was not retracted; one named again keeps the rank of the first time.
- After a retraction the price is the rule applied to the maxima that remain, as if there had been no price before.
- A bid that names the buy-now price or more while it is offered is a buy-now, whoever leads.
- The end has moved once a soft close has moved it: from then on nothing is retracted.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from auctions.increments import Increments, increments_of
from schemas.auctions import AcceptedBid, BidStatus, HeldFunds, ItemListed, Outcome, Phase, WaitingBid

_new = tuple.__new__  # builds the records of the hot path without a call of their own constructors

HOUR_MS = 3_600_000
FREE_RETRACTION_MS = 12 * HOUR_MS  # this long before the end any bid may be retracted
RETRACTION_MS = HOUR_MS  # later only this long after it was placed
NO_RETRACTION_MS = 300_000  # and never this near to the end


@dataclass(slots=True)
class Auction:
    """State of one auction; the fields are those of schemas/auctions/Auction.avsc, in its order. Amounts are minor units.

    `top` and `second` are the highest standing maximum and the highest of the others'; so a bid is judged without looking at the bids.
    """

    item: ItemListed
    phase: Phase
    price: int
    leader: str | None = None
    leading_bid: str = ""
    top: int = 0
    second: int | None = None
    buy_now_offered: bool = False
    effective_end: int = 0
    extensions: int = 0
    bids: dict[str, AcceptedBid | None] = field(default_factory=dict)
    bidders: dict[str, int] = field(default_factory=dict)
    count: int = 0
    waiting: dict[str, WaitingBid] = field(default_factory=dict)
    holds: dict[str, HeldFunds] = field(default_factory=dict)
    owed: dict[str, HeldFunds] = field(default_factory=dict)
    captures: dict[str, HeldFunds] = field(default_factory=dict)
    revision: int = 0
    range_asked_at: int = -1
    _table: Increments | None = field(
        default=None, compare=False, repr=False
    )  # found again after a restore; not in the schema

    @property
    def reserve_met(self) -> bool:
        reserve = self.item.reserve
        return reserve is None or (self.leader is not None and self.top >= reserve)

    @property
    def next_minimum(self) -> int:
        """Least maximum that a bidder who does not lead must name."""
        return self.price if self.leader is None else self.price + self.increment(self.price)

    def increment(self, price: int) -> int:
        table = self._table
        if table is None:
            table = self._table = increments_of(self.item.increments, self.item.currency)
        return table.of(price)


def open_auction(item: ItemListed, clock: int) -> Auction:
    phase: Phase = "OPEN" if clock >= item.starts_at else "NOT_STARTED"
    return Auction(
        item._replace(description=""),
        phase,
        item.start_price,
        buy_now_offered=item.buy_now is not None,
        effective_end=item.ends_at,
    )


# --- bids ---


class Accepted(NamedTuple):
    """What an accepted bid did: `outbid` has lost the lead by it; `answered`: the leader's maximum has answered it."""

    status: BidStatus
    outbid: str | None = None
    answered: bool = False


_ANSWERED = Accepted("ACCEPTED_OUTBID", answered=True)


def is_too_low(auction: Auction, bidder: str, maximum: int) -> bool:
    """Whether a bid does not reach what it must: the leader may go down to the price, others must raise it."""
    return maximum < auction.price or (bidder != auction.leader and maximum < auction.next_minimum)


def accept(auction: Auction, bid_id: str, bidder: str, maximum: int, received_at: int) -> Accepted:
    """Takes a bid that is not too low into the auction: leader, price, and what it did. Does not move the end."""
    item, leader = auction.item, auction.leader
    auction.bids[bid_id] = _new(AcceptedBid, (bidder, maximum, received_at))
    auction.bidders[bidder] = auction.bidders.get(bidder, 0) + 1
    auction.count += 1
    if auction.buy_now_offered and item.buy_now is not None and maximum >= item.buy_now:
        if leader not in (None, bidder):
            auction.second = auction.top
        _lead(auction, bid_id, bidder, maximum)
        auction.price, auction.buy_now_offered = item.buy_now, False
        return Accepted("BUY_NOW", None if leader == bidder else leader)
    if leader is not None and leader != bidder and maximum <= auction.top:
        auction.second = maximum if auction.second is None else max(auction.second, maximum)
        made = _ANSWERED
    else:
        if leader is not None and leader != bidder:
            auction.second = auction.top
        if leader != bidder or maximum != auction.top:
            _lead(auction, bid_id, bidder, maximum)
        status: Literal["ACCEPTED", "ACCEPTED_BELOW_RESERVE"] = "ACCEPTED"
        if item.reserve is not None and maximum < item.reserve:
            status = "ACCEPTED_BELOW_RESERVE"
        made = _new(Accepted, (status, None if leader == bidder else leader, False))
    auction.price = price_of(auction, auction.price)
    if item.reserve is None or auction.top >= item.reserve:
        auction.buy_now_offered = False
    return made


def _lead(auction: Auction, bid_id: str, bidder: str, maximum: int) -> None:
    auction.leader, auction.leading_bid, auction.top = bidder, bid_id, maximum


def price_of(auction: Auction, so_far: int) -> int:
    """The price by the leader's maximum and the highest of the others', never below `so_far`."""
    top, second, item = auction.top, auction.second, auction.item
    price = item.start_price if second is None else min(top, second + auction.increment(second))
    price = max(price, so_far)
    if item.reserve is None:
        return price
    return top if top < item.reserve else max(price, item.reserve)


def extends(auction: Auction, received_at: int, own: bool) -> bool:
    """Moves the end if a valid bid received at that time does so; `own`: it is the leader's own change."""
    item = auction.item
    if own or item.soft_close_ms is None or received_at + item.soft_close_ms <= auction.effective_end:
        return False
    if item.max_extensions is not None and auction.extensions >= item.max_extensions:
        return False
    auction.effective_end = received_at + item.soft_close_ms
    auction.extensions += 1
    return True


# --- retractions ---


def may_retract(auction: Auction, bid_id: str, bidder: str, clock: int) -> bool:
    """Whether the bidder may take this bid of theirs back at `clock`."""
    bid = auction.bids.get(bid_id)
    left = auction.effective_end - clock
    if bid is None or bid.bidder_id != bidder or auction.item.funds_required or auction.extensions:
        return False
    if left > FREE_RETRACTION_MS:
        return True
    if left <= NO_RETRACTION_MS or clock - bid.received_at > RETRACTION_MS:
        return False
    return bid_id == next(name for name, b in reversed(auction.bids.items()) if b is not None and b.bidder_id == bidder)


def retract(auction: Auction, bid_id: str) -> AcceptedBid:
    """Takes a standing bid out: leader and price by the maxima that remain."""
    bid = auction.bids[bid_id]
    assert bid is not None
    auction.bids[bid_id] = None
    auction.count -= 1
    auction.bidders[bid.bidder_id] -= 1
    if not auction.bidders[bid.bidder_id]:
        del auction.bidders[bid.bidder_id]
    order = ranking(auction)
    if order:
        leader, leading_bid, top = order[0]
        auction.leader, auction.leading_bid, auction.top = leader, leading_bid, top
        auction.second = order[1].maximum if len(order) > 1 else None
        auction.price = price_of(auction, auction.item.start_price)
    else:
        auction.leader, auction.leading_bid, auction.top, auction.second = None, "", 0, None
        auction.price = auction.item.start_price
    return bid


class Standing(NamedTuple):
    """A bidder's standing maximum and the bid that named it."""

    bidder_id: str
    bid_id: str
    maximum: int


def ranking(auction: Auction) -> list[Standing]:
    """All bidders by their standing maximum, the highest first; of equal ones the earlier."""
    standing: dict[str, tuple[int, int, str]] = {}
    for number, (bid_id, bid) in enumerate(auction.bids.items()):
        if bid is not None:
            held = standing.get(bid.bidder_id)
            if held is None or held[0] != bid.maximum:
                standing[bid.bidder_id] = bid.maximum, number, bid_id
    order = sorted(standing.items(), key=lambda row: (-row[1][0], row[1][1]))
    return [Standing(bidder, bid_id, maximum) for bidder, (maximum, _, bid_id) in order]


# --- the end ---


class End(NamedTuple):
    """How an auction ends, and who has not won, in order of their first bid."""

    outcome: Outcome
    winner: str | None
    runner_up: str | None
    losers: tuple[str, ...]


def end_of(auction: Auction) -> End:
    order = ranking(auction)
    runner_up = order[1].bidder_id if len(order) > 1 else None
    outcome: Outcome = "UNSOLD" if not order else "SOLD" if auction.reserve_met else "RESERVE_NOT_MET"
    if auction.phase == "CANCELLED":
        outcome, runner_up = "CANCELLED", None
    winner = auction.leader if outcome == "SOLD" else None
    return End(outcome, winner, runner_up, tuple(bidder for bidder in auction.bidders if bidder != winner))
