"""The shill score of Trevathan and Read ("Detecting shill bidding in online English auctions"): a bidder against one seller, 0 to 10.

    score = 10 (9α + 2β + 5γ + 2δ + 2ε + 2ζ) / 22

A shill bids often in the auctions of one seller, quickly after others, by little, early, and does not win. Only auctions that the bidder
lost count; what α to ζ are is said at `Part` and `ShillTotals`. Where the paper leaves open what a time or an increment is normalised by,
it is the largest of the same auction.
"""

from collections.abc import Iterable
from typing import NamedTuple

from auctions.stories import Story, elapsed

WEIGHTS = (9, 2, 5, 2, 2, 2)


class Part(NamedTuple):
    """What a bidder did in one auction, each within 0 and 1."""

    bidder: str
    offers: int
    won: bool
    beta: float  # own offers, of half of all (rounded down, at least one), at most 1
    delta: float  # 1 - mean time since the offer before (or the start), normalised by the auction's longest
    epsilon: float  # 1 - mean increment over the price that was met, normalised by the auction's largest
    zeta: float  # fraction of the duration that remained at the first offer


def parts_of(story: Story) -> list[Part]:
    """A part per bidder, in the order of their first offers."""
    offers = story.offers
    before = [story.starts_at, *(offer.at for offer in offers)]
    waits = [offer.at - then for offer, then in zip(offers, before, strict=False)]
    rises = [max(0, offer.maximum - offer.met) for offer in offers]
    longest, largest = max(waits, default=0), max(rises, default=0)
    most = max(1, len(offers) // 2)
    parts = []
    for bidder in story.bidders:
        own = [n for n, offer in enumerate(offers) if offer.bidder == bidder]
        parts.append(
            Part(
                bidder,
                len(own),
                bidder == story.winner,
                min(1.0, len(own) / most),
                1 - _mean(waits, own, longest),
                1 - _mean(rises, own, largest),
                1 - elapsed(story, offers[own[0]].at),
            )
        )
    return parts


def _mean(values: list[int], own: list[int], largest: int) -> float:
    """Mean of the own values as a fraction of the largest."""
    return sum(values[n] for n in own) / len(own) / largest if largest > 0 else 0.0


class ShillTotals(NamedTuple):
    """A bidder's parts in the auctions of one seller, added up. The sums are over auctions that were lost."""

    wins: int = 0
    losses: int = 0
    beta: float = 0.0
    delta: float = 0.0
    epsilon: float = 0.0
    zeta: float = 0.0

    def add(self, part: Part) -> "ShillTotals":
        if part.won:
            return self._replace(wins=self.wins + 1)
        return ShillTotals(
            self.wins,
            self.losses + 1,
            self.beta + part.beta,
            self.delta + part.delta,
            self.epsilon + part.epsilon,
            self.zeta + part.zeta,
        )

    def ratings(self, auctions: int) -> tuple[float, float, float, float, float, float]:
        """α to ζ. α: share of the seller's `auctions` that the bidder lost in; γ: 1 - 5 (wins + 0.2) / losses, at least 0; else means."""
        lost = self.losses
        if lost == 0:
            return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        return (
            lost / auctions,
            self.beta / lost,
            max(0.0, 1 - 5 * (self.wins + 0.2) / lost),
            self.delta / lost,
            self.epsilon / lost,
            self.zeta / lost,
        )

    def score(self, auctions: int) -> float:
        """Shill score of a bidder against a seller who has held `auctions` auctions so far."""
        rated = self.ratings(auctions)
        return 10 * sum(weight * rating for weight, rating in zip(WEIGHTS, rated, strict=True)) / sum(WEIGHTS)


def shill_scores(stories: Iterable[Story]) -> dict[tuple[str, str], float]:
    """(bidder, seller) → score over all stories given, for all who have bid."""
    held: dict[str, int] = {}
    totals: dict[tuple[str, str], ShillTotals] = {}
    for story in stories:
        held[story.seller] = held.get(story.seller, 0) + 1
        for part in parts_of(story):
            key = part.bidder, story.seller
            totals[key] = totals.get(key, ShillTotals()).add(part)
    return {key: total.score(held[key[1]]) for key, total in sorted(totals.items())}
