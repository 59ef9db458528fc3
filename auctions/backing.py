"""Money behind bids (A11): what an auction asks of the payment side, and how its questions are named.

Money moves only by payments. A bid has at most one hold, one capture and one void; their ids are made of auction, bid and step, so asking
twice is asking once. Holds do not expire. The reference is `auction_id/bid_id`, which every status of the payment echoes.

An account is believed to be its bidder's: whoever lets bids in has to know that. Payment ids that have the form of these are the
auctions' own; a hold of another amount under such an id is not taken for an answer.
"""

from auctions.bidding import Auction
from payments import topics
from schemas.auctions import HeldFunds
from schemas.payments import Kind, Money, PaymentInitiated
from transforms.fold import Context

MAX_ID_CHARS = 56  # of auction and bid ids: both, and the step, fit into a payment's id and reference
HOLD, CAPTURE, VOID = "hold", "capture", "void"
_SOURCE = "auctions"


def is_id(text: str) -> bool:
    """Whether an auction or a bid may have this id."""
    return 0 < len(text) <= MAX_ID_CHARS and "/" not in text


def payment_id(auction_id: str, bid_id: str, step: str) -> str:
    return f"{auction_id}/{bid_id}/{step}"


def parse_payment_id(text: str, reference: str | None) -> tuple[str, str, str] | None:
    """(auction_id, bid_id, step) of a payment that an auction asked for; None for any other."""
    parts = text.split("/")
    if len(parts) != 3 or reference != f"{parts[0]}/{parts[1]}" or not (is_id(parts[0]) and is_id(parts[1])):
        return None
    return parts[0], parts[1], parts[2]


def ask_hold(auction: Auction, bid_id: str, account: str, minor: int, context: Context) -> None:
    _ask(auction, bid_id, HOLD, "HOLD", account, None, minor, None, context)


def void(auction: Auction, bid_id: str, hold: HeldFunds, context: Context) -> None:
    _ask(auction, bid_id, VOID, "VOID", hold.account_id, None, hold.minor, HOLD, context)


def release(auction: Auction, bidder: str | None, context: Context) -> None:
    """Voids all that is held of a bidder who neither leads nor has a bid waiting."""
    if (
        bidder is None
        or bidder == auction.leader
        or any(one.bid.bidder_id == bidder for one in auction.waiting.values())
    ):
        return
    for bid_id in [bid_id for bid_id, hold in auction.holds.items() if hold.bidder_id == bidder]:
        void(auction, bid_id, auction.holds.pop(bid_id), context)


def settle(auction: Auction, winner: str | None, context: Context) -> None:
    """At the end: the winner's holds pay the price to the seller, oldest first; what is left, and all others' holds, are let go."""
    left = auction.price if winner is not None else 0
    for bid_id, hold in auction.holds.items():
        minor = min(left, hold.minor) if hold.bidder_id == winner else 0
        if not minor:
            void(auction, bid_id, hold, context)
            continue
        left -= minor
        auction.captures[bid_id] = hold
        seller = auction.item.seller_id
        _ask(auction, bid_id, CAPTURE, "CAPTURE", hold.account_id, seller, minor, HOLD, context)
    auction.holds = {}


def held_of(auction: Auction, bidder: str) -> int:
    """What is held of a bidder, minor units."""
    return sum(hold.minor for hold in auction.holds.values() if hold.bidder_id == bidder)


def _ask(
    auction: Auction,
    bid_id: str,
    step: str,
    kind: Kind,
    debtor: str,
    creditor: str | None,
    minor: int,
    pending: str | None,
    context: Context,
) -> None:
    name, currency = auction.item.auction_id, auction.item.currency
    key = payment_id(name, bid_id, step)
    context.emit(
        topics.INCOMING,
        key,
        PaymentInitiated(
            key,
            kind,
            debtor,
            creditor,
            Money(minor, currency),
            None if pending is None else payment_id(name, bid_id, pending),
            None,
            None,
            f"{name}/{bid_id}",
            _SOURCE,
            context.at,  # admission holds it against its own clock, which is that of the broker too
        ),
    )
