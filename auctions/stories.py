"""One auction as an analyst sees it, after its end: who bid, when, how much, and who won. What the fraud formulas are defined over."""

from typing import NamedTuple

from schemas.auctions import AuctionOutcome, BidDecision, EndingSoon, ItemListed, RangeServed, SaleUnpaid

HistoryEvent = ItemListed | BidDecision | RangeServed | EndingSoon | AuctionOutcome | SaleUnpaid
HISTORY_EVENTS: tuple[type, ...] = (ItemListed, BidDecision, RangeServed, EndingSoon, AuctionOutcome, SaleUnpaid)
"""What stands on auction.bids.history: each of its readers must know all of it."""

OFFERS = frozenset(("ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE", "BUY_NOW"))  # decisions that are an offer
MOVES = OFFERS | {"RETRACTED"}  # and those that may have moved price or leader


class Offer(NamedTuple):
    """A bid that was accepted, whether it took the lead or not; automatic bids are none."""

    bidder: str
    at: int  # ms, the broker's append time
    maximum: int  # minor units
    met: int  # price that it met, minor units; the start price if it was the first


class Story(NamedTuple):
    """An auction from its start to its effective end, with its offers in the order of the log."""

    auction_id: str
    seller: str
    starts_at: int  # ms
    ends_at: int  # ms, effective
    start_price: int  # minor units
    offers: tuple[Offer, ...]
    winner: str | None = None  # None unless it was sold

    @property
    def bidders(self) -> tuple[str, ...]:
        """Each bidder once, in the order of their first offers."""
        return tuple(dict.fromkeys(offer.bidder for offer in self.offers))


def elapsed(story: Story, at: int) -> float:
    """Fraction of the auction's duration that has passed at `at` (ms), within 0 and 1."""
    duration = story.ends_at - story.starts_at
    if duration <= 0:
        return 1.0
    return min(1.0, max(0.0, (at - story.starts_at) / duration))
