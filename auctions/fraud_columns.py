"""The columns of the UCI "Shill Bidding Dataset", for anyone who wants to compare: one row per bidder and auction.

Formulas as in `docs/fraud.md`. They look at all stories given at once: totals of bidders and the means over the auctions are theirs.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from auctions.stories import Story, elapsed

LITTLE_PART = 0.1  # under this bidding ratio a bidder's winning ratio says nothing


class Columns(NamedTuple):
    """A row of that dataset, its names in the spelling of Python; all but the ids and the duration lie within 0 and 1."""

    auction_id: str
    bidder_id: str
    bidder_tendency: float
    bidding_ratio: float
    successive_outbidding: float
    last_bidding: float
    auction_bids: float
    starting_price_average: float
    early_bidding: float
    winning_ratio: float
    auction_duration: int  # ms; whole days in the dataset


def successive_outbidding(bidders: Iterable[str], bidder: str) -> float:
    """0, 0.5 or 1: the bidder has outbid themself fewer than two times in a row, two times, or more often.

    `bidders` are those of the auction's offers, in order. A run of n own offers is n - 1 times.
    """
    longest = max((len(list(run)) for name, run in groupby(bidders) if name == bidder), default=1)
    return {0: 0.0, 1: 0.0, 2: 0.5}.get(longest - 1, 1.0)


def uci_columns(stories: Iterable[Story]) -> list[Columns]:
    """The rows, by auction in the order given, and there by first offer. Auctions without an offer count for the means alone."""
    told = list(stories)
    placed: Counter[str] = Counter()  # offers by bidder
    with_seller: Counter[tuple[str, str]] = Counter()  # and by bidder and seller
    entered: Counter[str] = Counter()  # auctions by bidder
    won: Counter[str] = Counter()
    for story in told:
        for offer in story.offers:
            placed[offer.bidder] += 1
            with_seller[offer.bidder, story.seller] += 1
        entered.update(story.bidders)
        if story.winner is not None:
            won[story.winner] += 1
    mean_offers = sum(placed.values()) / max(1, len(told))
    mean_start = sum(story.start_price for story in told) / max(1, len(told))
    rows = []
    for story in told:
        names = [offer.bidder for offer in story.offers]
        for bidder in story.bidders:
            own = [offer.at for offer in story.offers if offer.bidder == bidder]
            ratio = len(own) / len(names)
            rows.append(
                Columns(
                    story.auction_id,
                    bidder,
                    with_seller[bidder, story.seller] / placed[bidder],
                    ratio,
                    successive_outbidding(names, bidder),
                    elapsed(story, own[-1]),
                    max(0.0, 1 - mean_offers / len(names)),
                    max(0.0, 1 - story.start_price / mean_start) if mean_start else 0.0,
                    elapsed(story, own[0]),
                    0.0 if ratio < LITTLE_PART else 1 - won[bidder] / entered[bidder],
                    story.ends_at - story.starts_at,
                )
            )
    return rows
