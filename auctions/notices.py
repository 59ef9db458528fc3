"""Notices (A5): who is told what about an auction. Over auction.bids.history, keyed by auction_id.

    a bid is overtaken, or does not take the lead    → OUTBID to its bidder, once per quiet period
    the end is near                                  → ENDING_SOON to all who have bid
    sold                                             → PURCHASED to the winner, SOLD to the seller, LOST to all others who have bid
    not sold                                         → UNSOLD to the seller, LOST to all who have bid
    cancelled                                        → CANCELLED to all who have bid
    a payment of a sale is refused                   → PURCHASE_UNPAID to the winner, SALE_UNPAID to the seller

A notice's id is a function of the record that it follows from, its kind and the person, so that a mail has the same Message-ID however
often the notice is written. The quiet period runs on the log's clock: whoever was told is not told again before it has passed; then once,
if they were outbid again meanwhile and do not lead.

OUTBID and ENDING_SOON name what similar items were sold for, as the history last said. That an end is near is what makes the auction ask
again, so ENDING_SOON has the range of the listing.
"""

from hashlib import blake2b

from auctions import topics
from auctions.stories import HISTORY_EVENTS, MOVES, HistoryEvent
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    AuctionOutcome,
    BidDecision,
    EndingSoon,
    ItemListed,
    Notice,
    NoticeKind,
    NoticesOfAuction,
    PriceRange,
    Quiet,
    RangeServed,
    SaleUnpaid,
)
from schemas.payments import RECORDS as PAYMENTS
from schemas.payments import Money
from transforms.avro import compile_codec
from transforms.fold import Context, Processor

QUIET_MS = 5 * 60_000

_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


def notice_id(cause: str, kind: str, person: str) -> str:
    """32 hexadecimal digits of BLAKE2b. `cause` is a place (topic id/partition/offset), which no other record has."""
    return blake2b("\0".join((cause, kind, person)).encode(), digest_size=16).hexdigest()


class Notices(Processor):
    """Keeps, per auction that is not over, its leader, its price range and whom it has told lately."""

    stage = "auction.notices"
    reads = HISTORY_EVENTS
    entity_codec = compile_codec(load_schema("auctions.NoticesOfAuction"), {**RECORDS, **PAYMENTS}, **_NO_BOUNDS)

    def __init__(self, quiet_ms: int = QUIET_MS) -> None:
        if quiet_ms < 0:
            raise ValueError(f"quiet_ms must not be negative, got {quiet_ms}")
        self.quiet_ms = quiet_ms

    def key(self, event: HistoryEvent) -> str:
        return event.auction_id

    def on_event(
        self,
        key: str,
        entity: NoticesOfAuction | None,
        event: HistoryEvent,
        context: Context,
    ) -> NoticesOfAuction | None:
        if isinstance(event, ItemListed):
            return NoticesOfAuction(event.title, None, None, event.ends_at, {}) if entity is None else entity
        if isinstance(event, AuctionOutcome):
            self._tell_outcome(event, context)
            return None
        if isinstance(event, SaleUnpaid):
            self._tell_unpaid(event, context)
            return entity
        if isinstance(event, EndingSoon):
            known = None if entity is None else entity.range
            for person in event.bidders:
                stands, leads = (event.price, event.effective_end), person == event.leader
                self._tell(key, event.title, "ENDING_SOON", person, *stands, context, leads, range=known)
            return entity
        if entity is None:  # a bid on an item that is unknown or over
            return None
        if isinstance(event, RangeServed):
            return entity._replace(range=event.range)
        return self._after_bid(key, entity, event, context)

    def _after_bid(
        self, key: str, entity: NoticesOfAuction, event: BidDecision, context: Context
    ) -> NoticesOfAuction | None:
        if event.status not in MOVES:
            return entity
        entity = entity._replace(leader=event.leader, price=event.price, ends_at=event.effective_end or entity.ends_at)
        outbid = [event.outbid, event.bidder_id if event.status == "ACCEPTED_OUTBID" and not event.automatic else None]
        for person in outbid:
            if person is None or person == event.leader or event.status == "RETRACTED":  # who takes a bid back knows
                continue
            quiet = entity.quiet.get(person)
            if quiet is not None and context.clock < quiet.until:
                entity.quiet[person] = quiet._replace(cause=context.place)
            else:
                self._tell_outbid(key, entity, person, context.place, context)
        return entity

    def on_deadline(self, key: str, entity: NoticesOfAuction, deadline: str, context: Context) -> NoticesOfAuction:
        """The quiet period of a person, whose id is the deadline's name, has passed."""
        cause = entity.quiet.pop(deadline).cause
        if cause is not None and deadline != entity.leader:
            self._tell_outbid(key, entity, deadline, cause, context)
        return entity

    def _tell_outbid(self, key: str, entity: NoticesOfAuction, person: str, cause: str, context: Context) -> None:
        stands = entity.price, entity.ends_at
        self._tell(key, entity.title, "OUTBID", person, *stands, context, False, cause, entity.range)
        if self.quiet_ms:
            until = context.clock + self.quiet_ms
            entity.quiet[person] = Quiet(until, None)
            context.set_deadline(person, until)

    def _tell_outcome(self, event: AuctionOutcome, context: Context) -> None:
        told: list[tuple[str, NoticeKind]] = []
        if event.outcome == "CANCELLED":
            told += [(person, "CANCELLED") for person in event.losers]
        else:
            if event.winner is not None:
                told += [(event.winner, "PURCHASED")]
            told += [(event.seller_id, "UNSOLD" if event.winner is None else "SOLD")]
            told += [(person, "LOST") for person in event.losers]
        for person, kind in told:
            leads = person == event.winner
            self._tell(event.auction_id, event.title, kind, person, event.price, event.effective_end, context, leads)

    def _tell_unpaid(self, event: SaleUnpaid, context: Context) -> None:
        told: list[tuple[str, NoticeKind]] = [(event.winner, "PURCHASE_UNPAID"), (event.seller_id, "SALE_UNPAID")]
        for person, kind in told:
            leads = person == event.winner
            self._tell(event.auction_id, event.title, kind, person, event.amount, None, context, leads)

    def _tell(
        self,
        auction_id: str,
        title: str,
        kind: NoticeKind,
        person: str,
        price: Money | None,
        ends_at: int | None,
        context: Context,
        leads: bool,
        cause: str | None = None,
        range: PriceRange | None = None,
    ) -> None:
        cause = cause or context.place
        number = notice_id(cause, kind, person)
        notice = Notice(number, person, kind, auction_id, title, price, leads, ends_at, cause, context.clock, range)
        context.emit(topics.NOTICES, person, notice)
