"""What an auction says: decisions, who is ending soon, outcomes, sales that are not paid, and its state as anyone may see it."""

from typing import Any

from auctions import topics
from auctions.bidding import Auction, End
from schemas.auctions import (
    AuctionOutcome,
    AuctionState,
    BidDecision,
    BidReceived,
    BidStatus,
    EndingSoon,
    HeldFunds,
    RetractionReceived,
    SaleUnpaid,
)
from schemas.payments import Money
from transforms.fold import Context

_new = tuple.__new__  # builds the records of the hot path without a call of their own constructors


def tell_decision(
    auction: Auction | None, bid: BidReceived, status: BidStatus, context: Context, outbid: str | None = None
) -> None:
    """Writes what was decided about a bid."""
    _decide(auction, bid, status, bid.maximum, context, outbid, False, (bid.cell, bid.country, bid.ip, bid.flags))


def tell_answer(auction: Auction, bid: BidReceived, context: Context) -> None:
    """Writes the leader's automatic bid, by which their maximum has answered `bid`."""
    status: BidStatus = "ACCEPTED" if auction.reserve_met else "ACCEPTED_BELOW_RESERVE"
    automatic = RetractionReceived(auction.leading_bid, bid.auction_id, auction.leader or "", "", bid.received_at)
    tell(auction, automatic, status, Money(auction.top, auction.item.currency), context, True)


def tell(
    auction: Auction | None,
    event: RetractionReceived,
    status: BidStatus,
    maximum: Money | None,
    context: Context,
    automatic: bool = False,
) -> None:
    """Writes a decision about a bid that came earlier."""
    _decide(auction, event, status, maximum, context, None, automatic, _NOWHERE)


_NOWHERE: tuple[Any, ...] = (None, None, None, ())


def _decide(
    auction: Auction | None,
    event: BidReceived | RetractionReceived,
    status: BidStatus,
    maximum: Money | None,
    context: Context,
    outbid: str | None,
    automatic: bool,
    where: tuple[Any, ...],
) -> None:
    """Writes a decision, with price and leader as they stand after it. `where`: cell, country, ip and flags of the bid."""
    price = leader = end = None
    extensions = 0
    if auction is not None:
        price, leader = _new(Money, (auction.price, auction.item.currency)), auction.leader
        end, extensions = auction.effective_end, auction.extensions
    name = event.auction_id
    what = (name, event.bid_id, event.bidder_id, status, maximum)
    stands = (price, leader, outbid, automatic, end, extensions)
    context.emit(topics.HISTORY, name, _new(BidDecision, (*what, *stands, event.received_at, *where, context.at)))


def publish(auction: Auction, context: Context) -> None:
    auction.revision += 1
    item = auction.item
    context.upsert(
        topics.CURRENT,
        item.auction_id,
        _new(
            AuctionState,
            (
                item.auction_id,
                item.item_id,
                item.seller_id,
                item.title,
                item.category,
                item.tags,
                item.currency,
                auction.phase,
                item.start_price,
                auction.price,
                auction.next_minimum,
                auction.leader,
                auction.count,
                len(auction.bidders),
                auction.reserve_met,
                item.buy_now if auction.buy_now_offered else None,
                item.starts_at,
                auction.effective_end,
                auction.extensions,
                None if item.geo is None else item.geo.cell,
                auction.revision,
                context.at,
            ),
        ),
        auction.revision,
    )


def tell_ending_soon(auction: Auction, context: Context) -> None:
    item = auction.item
    event = EndingSoon(
        item.auction_id,
        item.seller_id,
        item.title,
        item.category,
        item.tags,
        Money(auction.price, item.currency),
        auction.leader,
        tuple(auction.bidders),
        auction.effective_end,
        context.clock,
    )
    context.emit(topics.OUTCOMES, item.auction_id, event)
    context.emit(topics.HISTORY, item.auction_id, event)


def tell_outcome(auction: Auction, end: End, context: Context) -> None:
    item = auction.item
    event = AuctionOutcome(
        item.auction_id,
        end.outcome,
        item.seller_id,
        item.title,
        item.currency,
        end.winner,
        None if end.winner is None else Money(auction.price, item.currency),
        end.runner_up,
        auction.count,
        len(auction.bidders),
        end.losers,
        auction.extensions,
        auction.effective_end,
        context.at,
    )
    context.emit(topics.OUTCOMES, item.auction_id, event)
    context.emit(topics.HISTORY, item.auction_id, event)


def tell_unpaid(auction: Auction, bid_id: str, captured: HeldFunds, reason: str, context: Context) -> None:
    item = auction.item
    amount = Money(captured.minor, item.currency)
    names = item.auction_id, bid_id, item.seller_id, captured.bidder_id, item.title
    event = SaleUnpaid(*names, amount, reason, context.at)
    context.emit(topics.OUTCOMES, item.auction_id, event)
    context.emit(topics.HISTORY, item.auction_id, event)
