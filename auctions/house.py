"""The auction house (A2, A3, A4, A11): decides every bid, closes every auction. Keyed by auction, over auction.log alone.

**The clock.** Bids count by the time at which the broker appended them to auction.bids, and an auction must not end before every bid
that was received before its end has been seen, however late bid validation hands it on. The append time of auction.log cannot decide
that, for it runs on while validation stands still. So validation hands on bids *and ticks* of partition p in order to partition p here,
each with its time there, and that time is this stage's clock (`carries_clock`, contract line 2). Items and answers about money come by
other ways and move nothing. The clock rises with the records of one writer in their order, so when it reaches an end, all that was
received before it is decided. Deadlines fire by these records alone, before they are applied; clock and deadlines are in the snapshot,
and as much a function of the partition as with any other clock (line 3).

**Decisions** are made once and never revised. A bid that needs no money is decided when it comes. One that does is judged when it comes,
waits, and is decided, in the order of the answers, when its money is held: it may be too low by then, as the price only rises (nothing
is retracted in such an auction). Bids of one bidder wait one behind another, so that each asks for the difference to what is really
held. At the end waiting bids have `answer_ms` (CLOSING); a bid decided then does not move the end, for bids in between were refused as
FINISHED. A sale whose payment is refused after the end stays sold: that it is not paid is a fact of its own (SaleUnpaid), once for each
payment.

**Price ranges** of similar items come as answers on auction.log too, to what the auction asked when it was listed and when its end was
near (`auctions.price_ranges`). They decide nothing: the house hands the newest on to its bidders, as long as they may bid.

Outputs: every decision, the item, the price ranges that bidders see, and how the auction ends to auction.bids.history; outcomes, EndingSoon
and SaleUnpaid to auction.outcomes too; holds, captures and voids to payments.incoming; the state to auction.current and the price range to
auction.ranges (upserts).
"""

from typing import Any

from auctions import topics
from auctions.announcements import (
    publish,
    tell,
    tell_answer,
    tell_decision,
    tell_ending_soon,
    tell_outcome,
    tell_unpaid,
)
from auctions.backing import Backing, held_of
from auctions.bidding import (
    Auction,
    accept,
    end_of,
    extends,
    is_too_low,
    may_retract,
    open_auction,
    retract,
)
from schemas import auctions, load_schema, payments
from schemas.auctions import (
    BidReceived,
    BidsClock,
    BidStatus,
    FundsHeld,
    FundsRefused,
    HeldFunds,
    ItemCancelled,
    ItemListed,
    RangeServed,
    RetractionReceived,
    WaitingBid,
)
from schemas.payments import Kind, Money
from transforms.avro import compile_codec
from transforms.errors import BadRecord, InputError
from transforms.fold import Context, Processor
from transforms.topic_settings import DAY_MS

_TYPES: dict[str, type] = {**payments.RECORDS, **auctions.RECORDS, "auctions.Auction": Auction}
# Entities are ours, so the bounds on hostile messages do not apply.
_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}


class WrongKey(InputError):
    """The log has answers to payments that this house has not asked for: it was written with another key. Stops the shard."""


class AuctionHouse(Processor):
    """Decides bids in the order of the auction's partition of auction.log."""

    stage = "auctions.house"
    reads = (
        ItemListed,
        ItemCancelled,
        BidReceived,
        RetractionReceived,
        BidsClock,
        FundsHeld,
        FundsRefused,
        RangeServed,
    )
    carries_clock = True
    entity_codec = compile_codec(load_schema("auctions.Auction"), _TYPES, **_NO_BOUNDS)

    def __init__(
        self,
        soon_ms: int = 600_000,
        answer_ms: int = 60_000,
        keep_ms: int = 30 * DAY_MS,
        backing: Backing | None = None,
    ) -> None:
        """Of the clock: EndingSoon comes `soon_ms` before an end; waiting bids have `answer_ms` after it; an auction is known for
        `keep_ms` after its end, then its item is unknown. `backing` has the key of the payment ids; of the old form without one."""
        if min(soon_ms, answer_ms, keep_ms) < 1:
            raise ValueError(
                f"soon_ms, answer_ms and keep_ms must be positive, got {soon_ms}, {answer_ms} and {keep_ms}"
            )
        self.soon_ms, self.answer_ms, self.keep_ms = soon_ms, answer_ms, keep_ms
        self.backing = backing or Backing()
        self._deadlines = {"start": self._start, "soon": tell_ending_soon, "end": self._close, "grace": self._give_up}

    def key(self, event: Any) -> str | None:
        return None if type(event) is BidsClock else event.auction_id

    def carried_time(self, event: Any) -> int:
        kind = type(event)
        if kind is BidReceived or kind is RetractionReceived:
            at: int = event.received_at
            return at
        return event.at if kind is BidsClock else -1

    def on_broadcast(self, event: BidsClock, context: Context) -> None:
        """The clock has moved already."""

    def on_event(self, key: str, entity: Auction | None, event: Any, context: Context) -> Auction | None:
        kind = type(event)
        if kind is BidReceived:
            self._receive(entity, event, context)
        elif kind is RetractionReceived:
            self._retract(entity, event, context)
        elif kind is ItemListed:
            return self._list(entity, event, context)
        elif entity is None:  # of an auction that is forgotten, or never was
            context.count_as_late()
        elif kind is FundsHeld:
            self._check_key(event, ("HOLD",), context)
            self._on_held(entity, event, context)
        elif kind is FundsRefused:
            self._check_key(event, ("HOLD", "CAPTURE"), context)
            self._on_refused(entity, event, context)
        elif kind is RangeServed:
            self._show_range(entity, event, context)
        else:
            self._cancel(entity, event, context)
        return entity

    # --- items ---

    def _list(self, auction: Auction | None, item: ItemListed, context: Context) -> Auction:
        if auction is not None:
            if auction.item != item._replace(description=""):
                raise BadRecord("ALREADY_LISTED", "the auction was listed before, with other words")
            context.count_as_duplicate()
            return auction
        auction = open_auction(item, context.clock)
        context.emit(topics.HISTORY, item.auction_id, item)
        if auction.phase == "NOT_STARTED":
            context.set_deadline("start", item.starts_at)
        self._set_end(auction, context)
        publish(auction, context)
        return auction

    def _set_end(self, auction: Auction, context: Context) -> None:
        context.set_deadline("end", auction.effective_end)
        context.set_deadline("soon", self._soon_at(auction))

    def _soon_at(self, auction: Auction) -> int:
        return max(auction.item.starts_at, auction.effective_end - self.soon_ms)

    def _cancel(self, auction: Auction, event: ItemCancelled, context: Context) -> None:
        if auction.phase not in ("NOT_STARTED", "OPEN"):
            context.count_as_late()  # the end has come, and stands
            return
        auction.phase = "CANCELLED"
        self._finish(auction, context, "CANCELLED")

    def _show_range(self, auction: Auction, event: RangeServed, context: Context) -> None:
        """Hands on what similar items were sold for; an answer that was overtaken by a newer one is late."""
        if auction.phase not in ("NOT_STARTED", "OPEN") or event.asked_at <= auction.range_asked_at:
            context.count_as_late()
            return
        auction.range_asked_at = event.asked_at
        context.emit(topics.HISTORY, event.auction_id, event)
        context.upsert(topics.RANGES, event.auction_id, event, event.asked_at)

    # --- bids ---

    def _receive(self, auction: Auction | None, bid: BidReceived, context: Context) -> None:
        """Tests a bid in the order of the statuses; decides it, or lets it wait for its money."""
        status: BidStatus | None = None
        if auction is None:
            tell_decision(None, bid, "UNKNOWN_ITEM", context)
            return
        item, phase = auction.item, auction.phase
        if phase != "OPEN":
            status = _NOT_OPEN[phase]
        elif bid.bid_id in auction.bids:
            status = "DUPLICATE"
        elif bid.bidder_id == item.seller_id or bid.account_id == item.seller_id:
            status = "SELLER_BID"
        elif bid.maximum.currency != item.currency:
            status = "CURRENCY_MISMATCH"
        elif is_too_low(auction, bid.bidder_id, bid.maximum.minor):
            status = "TOO_LOW"
        elif not item.funds_required:
            self._accept(auction, bid, context)
            return
        if phase in ("NOT_STARTED", "OPEN"):
            auction.bids.setdefault(bid.bid_id, None)  # its id is taken
        if status is not None:
            tell_decision(auction, bid, status, context)
        else:
            auction.waiting[bid.bid_id] = WaitingBid(bid, 0)
            self._ask_next(auction, bid.bidder_id, context)

    def _accept(self, auction: Auction, bid: BidReceived, context: Context) -> None:
        """Decides a valid bid; a buy-now ends the auction."""
        bidder, backed = bid.bidder_id, auction.item.funds_required
        own = bidder == auction.leader
        if backed:
            del auction.bids[bid.bid_id]  # it stands where it is decided, not where it came
        made = accept(auction, bid.bid_id, bidder, bid.maximum.minor, bid.received_at)
        if auction.item.soft_close_ms is not None and made.status != "BUY_NOW" and auction.phase == "OPEN":
            soon_at = self._soon_at(auction)
            if extends(auction, bid.received_at, own):
                context.set_deadline("end", auction.effective_end)
                if context.clock < soon_at:  # else it was said already
                    context.set_deadline("soon", self._soon_at(auction))
        tell_decision(auction, bid, made.status, context, made.outbid)
        if made.answered:
            tell_answer(auction, bid, context)
        if backed:
            self.backing.release(auction, bidder, context)
            self.backing.release(auction, made.outbid, context)
        if made.status == "BUY_NOW":
            self._finish(auction, context, "FINISHED")
        else:
            publish(auction, context)

    def _retract(self, auction: Auction | None, event: RetractionReceived, context: Context) -> None:
        status: BidStatus = "RETRACTION_REFUSED"
        maximum = None
        if auction is None:
            status = "UNKNOWN_ITEM"
        elif auction.phase != "OPEN":
            status = _NOT_OPEN[auction.phase]
        elif may_retract(auction, event.bid_id, event.bidder_id, context.clock):
            maximum = Money(retract(auction, event.bid_id).maximum, auction.item.currency)
            status = "RETRACTED"
        tell(auction, event, status, maximum, context)
        if auction is not None and status == "RETRACTED":
            publish(auction, context)

    # --- money ---

    def _check_key(self, event: FundsHeld | FundsRefused, kinds: tuple[Kind, ...], context: Context) -> None:
        """Answers are handed on under ids of the key alone, so another id tells another key: with it no hold would be found again."""
        if event.payment_id not in [self.backing.payment_id(event.auction_id, event.bid_id, kind) for kind in kinds]:
            raise WrongKey(f"{self.stage}: {context.place}: answers a payment of another key: launch with that of the log")

    def _ask_next(self, auction: Auction, bidder: str, context: Context) -> None:
        """Goes on with the first of a bidder's waiting bids: asks for what is missing behind it, or decides it where nothing is."""
        while auction.phase in ("OPEN", "CLOSING"):
            waiting = next((one for one in auction.waiting.values() if one.bid.bidder_id == bidder), None)
            if waiting is None:
                self.backing.release(auction, bidder, context)
                return
            if waiting.asked:
                return
            bid = waiting.bid
            missing = bid.maximum.minor - held_of(auction, bidder)
            if missing > 0 and not is_too_low(auction, bidder, bid.maximum.minor):
                auction.waiting[bid.bid_id] = WaitingBid(bid, missing)
                self.backing.ask_hold(auction, bid.bid_id, bid.account_id, missing, context)
                return
            self._decide_waiting(auction, bid, context)

    def _decide_waiting(self, auction: Auction, bid: BidReceived, context: Context) -> None:
        del auction.waiting[bid.bid_id]
        if is_too_low(auction, bid.bidder_id, bid.maximum.minor):
            tell_decision(auction, bid, "TOO_LOW", context)
        else:
            self._accept(auction, bid, context)

    def _on_held(self, auction: Auction, event: FundsHeld, context: Context) -> None:
        name, waiting = event.bid_id, auction.waiting.get(event.bid_id)
        if waiting is None or not waiting.asked:
            owed = auction.owed.get(name)
            if owed is None or event.amount.minor != owed.minor:
                context.count_as_duplicate()
            else:
                del auction.owed[name]
                self.backing.void(auction, name, owed, context)
            return
        bid = waiting.bid
        if event.amount != Money(waiting.asked, auction.item.currency):
            self._refuse(auction, bid, context)  # not the hold that was asked for
            return
        auction.holds[name] = HeldFunds(bid.bidder_id, bid.account_id, waiting.asked)
        self._decide_waiting(auction, bid, context)
        self._go_on(auction, bid.bidder_id, context)

    def _on_refused(self, auction: Auction, event: FundsRefused, context: Context) -> None:
        name, waiting = event.bid_id, auction.waiting.get(event.bid_id)
        if event.payment_id == self.backing.payment_id(event.auction_id, name, "CAPTURE"):
            captured = auction.captures.pop(name, None)  # so another answer is a repeat
            if captured is None:
                context.count_as_duplicate()
            else:
                self._on_unpaid(auction, name, captured, event.reason, context)
        elif waiting is not None and waiting.asked:
            self._refuse(auction, waiting.bid, context)
        elif auction.owed.pop(name, None) is None:
            context.count_as_duplicate()

    def _on_unpaid(self, auction: Auction, name: str, captured: HeldFunds, reason: str, context: Context) -> None:
        """The money must not stay held. Where it came back from the seller's side, there is nothing left to void."""
        tell_unpaid(auction, name, captured, reason, context)
        self.backing.void(auction, name, captured, context)

    def _refuse(self, auction: Auction, bid: BidReceived, context: Context) -> None:
        del auction.waiting[bid.bid_id]
        tell_decision(auction, bid, "INSUFFICIENT_FUNDS", context)
        self._go_on(auction, bid.bidder_id, context)

    def _go_on(self, auction: Auction, bidder: str, context: Context) -> None:
        """After an answer: the bidder's next bid, and the end if that was the last answer it waited for."""
        self._ask_next(auction, bidder, context)
        if auction.phase == "CLOSING" and not auction.waiting:
            self._finish(auction, context, "LATE")

    # --- the end ---

    def on_deadline(self, key: str, entity: Auction, deadline: str, context: Context) -> Auction | None:
        if deadline == "forget":
            return None
        self._deadlines[deadline](entity, context)
        return entity

    def _start(self, auction: Auction, context: Context) -> None:
        auction.phase = "OPEN"
        publish(auction, context)

    def _close(self, auction: Auction, context: Context) -> None:
        if not auction.waiting:
            self._finish(auction, context, "LATE")
            return
        auction.phase = "CLOSING"
        context.set_deadline("grace", auction.effective_end + self.answer_ms)
        publish(auction, context)

    def _give_up(self, auction: Auction, context: Context) -> None:
        self._finish(auction, context, "LATE")

    def _finish(self, auction: Auction, context: Context, waiting: BidStatus) -> None:
        """The end: bids that still wait get the status `waiting`, everyone their money or their due, and the auction takes no bids."""
        for bid_id, (bid, asked) in auction.waiting.items():
            tell_decision(auction, bid, waiting, context)
            if asked:
                auction.owed[bid_id] = HeldFunds(bid.bidder_id, bid.account_id, asked)
        auction.waiting = {}
        end = end_of(auction)
        if auction.phase != "CANCELLED":
            auction.phase = "COMPLETE"
        tell_outcome(auction, end, context)
        self.backing.settle(auction, end.winner, context)
        publish(auction, context)
        auction.bids, auction.bidders = {}, {}  # the join is over: what is left says that the auction has ended
        for name in self._deadlines:
            context.clear_deadline(name)
        # The clock may be far behind when an item is taken back: no bid may have come yet.
        context.set_deadline("forget", max(context.clock, auction.effective_end) + self.keep_ms)


_NOT_OPEN: dict[str, BidStatus] = {
    "NOT_STARTED": "NOT_STARTED",
    "CLOSING": "FINISHED",
    "COMPLETE": "FINISHED",
    "CANCELLED": "CANCELLED",
}
