"""The first stage of fraud (A9): what each person did in an auction, told at its end. Over auction.bids.history, keyed by auction_id.

An auction sees its bidders, but not what they do elsewhere; so it sends each of them, and the seller, a trace under their own id to
auction.traces, where `auctions.fraud_people` adds up. Shielding is seen in one auction alone, and is told from here.
"""

from collections import Counter
from hashlib import blake2b
from itertools import pairwise

from auctions import topics
from auctions.analytics_topics import TRACES
from auctions.fraud_rules import change_rules, thresholds
from auctions.fraud_shill import parts_of
from auctions.stories import HISTORY_EVENTS, MOVES, OFFERS, HistoryEvent, Offer, Story, elapsed
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    Alert,
    AuctionOutcome,
    BidDecision,
    BidderTrace,
    Evidence,
    FraudRules,
    ItemListed,
    Rival,
    SellerTrace,
    ShillPart,
    Sighting,
    Signal,
    TracedAuction,
    TracedOffer,
    TracedRetraction,
)
from schemas.payments import RECORDS as PAYMENTS
from schemas.rails import Rule
from transforms.avro import compile_codec
from transforms.fold import Context, Processor

_TYPES = {**RECORDS, **PAYMENTS}
_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


def alert_of(
    signal: Signal, persons: tuple[str, ...], score: float, evidence: list[Evidence], version: int, context: Context
) -> Alert:
    """An alert that follows from the record at hand."""
    number = blake2b("\0".join((context.place, signal, *persons)).encode(), digest_size=16).hexdigest()
    return Alert(number, persons, signal, score, tuple(evidence), version, context.clock)


class FraudTraces(Processor):
    """Keeps the offers and retractions of each auction that is not over."""

    stage = "auction.fraud.traces"
    reads = (*HISTORY_EVENTS, Rule)
    entity_codec = compile_codec(load_schema("auctions.TracedAuction"), _TYPES, **_NO_BOUNDS)
    shared_codec = compile_codec(load_schema("auctions.FraudRules"), _TYPES, **_NO_BOUNDS)

    def new_shared(self) -> FraudRules:
        return FraudRules({})

    def key(self, event: HistoryEvent | Rule) -> str | None:
        return None if isinstance(event, Rule) else event.auction_id

    def on_broadcast(self, event: Rule, context: Context) -> None:
        if not change_rules(context.shared, event):
            context.count_as_duplicate()

    def on_event(
        self,
        key: str,
        entity: TracedAuction | None,
        event: HistoryEvent,
        context: Context,
    ) -> TracedAuction | None:
        if isinstance(event, ItemListed):
            if entity is not None:
                return entity
            hard = not event.soft_close_ms or event.max_extensions == 0
            return TracedAuction(event.seller_id, event.starts_at, event.start_price, hard, event.start_price, (), ())
        if isinstance(event, BidDecision):
            if event.cell is not None and not event.automatic and event.status != "RETRACTED":
                sight = Sighting(event.bidder_id, event.received_at, event.cell, key)
                context.emit(TRACES, event.bidder_id, sight)
            return entity if entity is None or event.status not in MOVES else _after_bid(entity, event)
        if isinstance(event, AuctionOutcome):
            if entity is not None and event.outcome != "CANCELLED":
                self._tell(key, entity, event, context)
            return None
        return entity

    def _tell(self, key: str, entity: TracedAuction, event: AuctionOutcome, context: Context) -> None:
        story = story_of(key, entity, event)
        parts = parts_of(story)
        told = tuple(ShillPart(*part) for part in parts)
        context.emit(TRACES, entity.seller_id, SellerTrace(entity.seller_id, key, told))
        hammer = thresholds(context.shared, "fraud.hammer")
        reaction_ms = hammer.parameters["reaction_ms"] if hammer else 0
        for trace in bidder_traces(story, entity.hard_close, reaction_ms):
            context.emit(TRACES, trace.bidder_id, trace)
        shield = thresholds(context.shared, "fraud.shielding")
        if shield is None or story.winner is None:
            return
        for found in shields(story, entity.retractions, **shield.parameters):
            persons, score, evidence = (found.bidder, story.winner), _drop(found), _shield_evidence(story, found)
            context.emit(
                topics.ALERTS, persons[0], alert_of("SHIELDING", persons, score, evidence, shield.version, context)
            )


def _after_bid(entity: TracedAuction, event: BidDecision) -> TracedAuction:
    price = entity.start_price if event.price is None or event.leader is None else event.price.minor
    if event.status == "RETRACTED":
        maximum = 0 if event.maximum is None else event.maximum.minor
        gone = TracedRetraction(event.bidder_id, event.received_at, maximum, entity.price, price)
        return entity._replace(price=price, retractions=(*entity.retractions, gone))
    if event.automatic or event.status not in OFFERS or event.maximum is None:
        return entity._replace(price=price)
    offer = TracedOffer(event.bidder_id, event.received_at, event.maximum.minor, entity.price)
    return entity._replace(price=price, offers=(*entity.offers, offer))


def story_of(key: str, entity: TracedAuction, event: AuctionOutcome) -> Story:
    offers = tuple(Offer(*offer) for offer in entity.offers)
    start = entity.starts_at, event.effective_end, entity.start_price
    return Story(key, entity.seller_id, *start, offers, event.winner)


def bidder_traces(story: Story, hard_close: bool, reaction_ms: int) -> list[BidderTrace]:
    """A trace per bidder, in the order of their first offers. A reaction is quick when it comes less than `reaction_ms` after."""
    firsts: dict[str, int] = {}
    offers: Counter[str] = Counter()
    reactions: Counter[str] = Counter()
    quick: Counter[str] = Counter()
    turns: Counter[tuple[str, str]] = Counter()
    for offer in story.offers:
        firsts.setdefault(offer.bidder, offer.at)
        offers[offer.bidder] += 1
    for before, offer in pairwise(story.offers):
        if before.bidder != offer.bidder:
            reactions[offer.bidder] += 1
            quick[offer.bidder] += offer.at - before.at < reaction_ms
            turns[offer.bidder, before.bidder] += 1
            turns[before.bidder, offer.bidder] += 1
    rivals: dict[str, list[Rival]] = {}
    for (one, other), n in sorted(turns.items()):
        rivals.setdefault(one, []).append(Rival(other, n))
    return [
        BidderTrace(
            bidder,
            story.auction_id,
            story.seller,
            hard_close,
            offers[bidder],
            bidder == story.winner,
            max(0, story.ends_at - first),
            reactions[bidder],
            quick[bidder],
            tuple(rivals.get(bidder, ())),
        )
        for bidder, first in firsts.items()
    ]


def shields(
    story: Story, retractions: tuple[TracedRetraction, ...], min_drop: int, min_elapsed: int
) -> list[TracedRetraction]:
    """Retractions after `min_elapsed` % of the duration that let the price fall by `min_drop` %; the winner had bid before.

    A shield is a high bid that keeps others away until it is taken back, and leaves the article to a partner at the price of before.
    """
    found = []
    for gone in retractions:
        before = [offer.bidder for offer in story.offers if offer.at < gone.at]
        if (
            gone.bidder != story.winner
            and story.winner in before
            and gone.before > 0
            and 100 * (gone.before - gone.after) >= min_drop * gone.before
            and 100 * elapsed(story, gone.at) >= min_elapsed
        ):
            found.append(gone)
    return found


def _drop(gone: TracedRetraction) -> float:
    """By which part of it the price fell."""
    return (gone.before - gone.after) / gone.before


def _shield_evidence(story: Story, gone: TracedRetraction) -> list[Evidence]:
    return [
        Evidence("maximum taken back", float(gone.maximum), story.auction_id),
        Evidence("price before", float(gone.before), story.auction_id),
        Evidence("price after", float(gone.after), story.auction_id),
        Evidence("part of the duration elapsed", elapsed(story, gone.at), story.auction_id),
    ]
