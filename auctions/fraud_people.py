"""The second stage of fraud (A9, A10): what a person does over all auctions. Over auction.traces, keyed by person.

    SHILL              shill score of a bidder against this seller (`auctions.fraud_shill`)
    SNIPING            share of first bids in the last 60 s of a hard close
    HAMMER_SNIPE       answers to another's bid within a second, again and again
    COLLUSION          two bidders who meet in most of the one's auctions, and take turns there
    OVERLAP            nearly all bids go to one seller, many in each auction, and nothing is won
    IMPOSSIBLE_TRAVEL  two bids that need more than 900 km/h between them

An alert is raised when its figures pass the thresholds, and again only after they have been below. Thresholds: `auctions.fraud_rules`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auctions import topics
from auctions.fraud_rules import Thresholds, change_rules, thresholds
from auctions.fraud_shill import Part, ShillTotals
from auctions.fraud_traces import alert_of
from auctions.geography import center_of
from auctions.travel import Sight, needed_kmh
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    BidderTrace,
    Evidence,
    FraudPerson,
    FraudRules,
    RivalShare,
    SellerShare,
    SellerTrace,
    ShillShare,
    Sighted,
    Sighting,
    Signal,
)
from schemas.rails import Rule
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import Context, Processor

SNIPE_MS = 60_000
LATE_MS = 5 * 60_000
MAX_SIGHTS = 16  # traces of several auctions do not arrive in the order of time, so some sights are kept
MAX_RECENT = 5  # auctions named as evidence
MAX_OTHERS = 1_000  # sellers, rivals or bidders remembered of one person; the least met goes first

_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


class Finding(NamedTuple):
    """Whether a signal's figures pass the thresholds, and what they are. `other` is the second person, if there is one."""

    signal: Signal
    other: str
    passes: bool
    score: float
    evidence: list[Evidence]
    version: int


class FraudPeople(Processor):
    """Adds up what a person does, as a bidder and as a seller."""

    stage = "auction.fraud.people"
    reads = (BidderTrace, SellerTrace, Sighting, Rule)
    entity_codec = compile_codec(load_schema("auctions.FraudPerson"), RECORDS, **_NO_BOUNDS)
    shared_codec = compile_codec(load_schema("auctions.FraudRules"), RECORDS, **_NO_BOUNDS)

    def new_shared(self) -> FraudRules:
        return FraudRules({})

    def key(self, event: BidderTrace | SellerTrace | Sighting | Rule) -> str | None:
        if isinstance(event, BidderTrace):
            return event.bidder_id
        if isinstance(event, SellerTrace):
            return event.seller_id
        return None if isinstance(event, Rule) else event.person

    def on_broadcast(self, event: Rule, context: Context) -> None:
        if not change_rules(context.shared, event):
            context.count_as_duplicate()

    def on_event(
        self, key: str, entity: FraudPerson | None, event: BidderTrace | SellerTrace | Sighting, context: Context
    ) -> FraudPerson:
        person = _nobody() if entity is None else entity
        rules: FraudRules = context.shared
        if isinstance(event, BidderTrace):
            person = add_bidder_trace(person, event)
            found = judge_bidder(person, event, rules)
        elif isinstance(event, SellerTrace):
            person = add_seller_trace(person, event)
            found = judge_seller(person, event, rules)
        else:
            try:
                found = judge_sight(person, event, rules)
            except ValueError:
                raise BadRecord("BAD_CELL", "cell is not one of the grid") from None
            person = add_sight(person, event)
        raised = list(person.raised)
        for finding in found:
            name = f"{finding.signal}/{finding.other}"
            if not finding.passes:
                if name in raised:
                    raised.remove(name)
            elif name not in raised:
                if finding.signal != "IMPOSSIBLE_TRAVEL":  # each journey is one of its own
                    raised.append(name)
                # A shill is told under the bidder's name, though it is the seller's shard that sees it.
                both = (finding.other, key) if finding.signal == "SHILL" else (key, finding.other)
                persons = tuple(who for who in both if who)
                alert = alert_of(finding.signal, persons, finding.score, finding.evidence, finding.version, context)
                context.emit(topics.ALERTS, persons[0], alert)
        return person._replace(raised=tuple(raised))


# --- adding up ---


def _nobody() -> FraudPerson:
    return FraudPerson(0, 0, 0, 0, 0, 0, 0, 0, {}, {}, (), (), 0, {}, ())


def _least_met_goes(shares: dict[str, RivalShare] | dict[str, SellerShare]) -> None:
    """Of equals the oldest goes."""
    if len(shares) > MAX_OTHERS:
        del shares[min(shares, key=lambda name: shares[name].auctions)]


def add_bidder_trace(person: FraudPerson, trace: BidderTrace) -> FraudPerson:
    seller = person.sellers.get(trace.seller_id, SellerShare(0, 0, 0))
    person.sellers[trace.seller_id] = SellerShare(
        seller.auctions + 1, seller.offers + trace.offers, seller.wins + trace.won
    )
    _least_met_goes(person.sellers)
    for rival in trace.rivals:
        share = person.rivals.get(rival.bidder_id, RivalShare(0, 0))
        person.rivals[rival.bidder_id] = RivalShare(share.auctions + 1, share.alternations + rival.alternations)
        _least_met_goes(person.rivals)
    return person._replace(
        auctions=person.auctions + 1,
        offers=person.offers + trace.offers,
        wins=person.wins + trace.won,
        hard=person.hard + trace.hard_close,
        snipes=person.snipes + (trace.hard_close and trace.first_left_ms <= SNIPE_MS),
        late=person.late + (trace.hard_close and trace.first_left_ms <= LATE_MS),
        reactions=person.reactions + trace.reactions,
        quick=person.quick + trace.quick,
        recent=(*person.recent, trace.auction_id)[-MAX_RECENT:],
    )


def add_seller_trace(person: FraudPerson, trace: SellerTrace) -> FraudPerson:
    for part in trace.parts:
        held = person.bidders.get(part.bidder, ShillShare(0, 0, 0.0, 0.0, 0.0, 0.0, ()))
        totals = ShillTotals(*held[:6]).add(Part(*part))
        recent = held.recent if part.won else (*held.recent, trace.auction_id)[-MAX_RECENT:]
        person.bidders[part.bidder] = ShillShare(*totals, recent)
        if len(person.bidders) > MAX_OTHERS:
            bidders = person.bidders
            del bidders[min(bidders, key=lambda name: bidders[name].losses + bidders[name].wins)]
    return person._replace(held=person.held + 1)


def add_sight(person: FraudPerson, sighting: Sighting) -> FraudPerson:
    sights = sorted((*person.sights, Sighted(sighting.seen_at, sighting.cell, sighting.auction_id)))
    return person._replace(sights=tuple(sights[-MAX_SIGHTS:]))


# --- judging ---


def judge_bidder(person: FraudPerson, trace: BidderTrace, rules: FraudRules) -> list[Finding]:
    """All that a new trace may have changed, in a fixed order."""
    found = []
    if rule := thresholds(rules, "fraud.sniping"):
        share = person.snipes / max(1, person.hard)
        passes = person.hard >= rule.parameters["min_auctions"] and 100 * share >= rule.parameters["min_share"]
        figures = {
            "hard closes": person.hard,
            "first bids in the last 60 s": person.snipes,
            "in the last 5 min": person.late,
        }
        found.append(_finding("SNIPING", "", passes, share, figures, person.recent, rule))
    if rule := thresholds(rules, "fraud.hammer"):
        share = person.quick / max(1, person.reactions)
        passes = person.quick >= rule.parameters["min_quick"] and 100 * share >= rule.parameters["min_share"]
        figures = {"answers": person.reactions, "quick answers": person.quick}
        found.append(_finding("HAMMER_SNIPE", "", passes, share, figures, person.recent, rule))
    if rule := thresholds(rules, "fraud.collusion"):
        found += list(_judge_rivals(person, trace, rule))
    if rule := thresholds(rules, "fraud.overlap"):
        seller = person.sellers.get(trace.seller_id, SellerShare(0, 0, 0))  # it may have been forgotten at once
        share = seller.offers / max(1, person.offers)
        passes = (
            seller.auctions >= rule.parameters["min_auctions"]
            and 100 * share >= rule.parameters["min_share"]
            and 100 * seller.offers >= rule.parameters["min_bids"] * seller.auctions
            and 100 * seller.wins <= rule.parameters["max_wins"] * seller.auctions
        )
        figures = {
            "auctions of the seller": seller.auctions,
            "won": seller.wins,
            "bids": seller.offers,
            "all bids": person.offers,
        }
        found.append(_finding("OVERLAP", trace.seller_id, passes, share, figures, person.recent, rule))
    return found


def _judge_rivals(person: FraudPerson, trace: BidderTrace, rule: Thresholds) -> Iterator[Finding]:
    for rival in trace.rivals:
        met = person.rivals.get(rival.bidder_id, RivalShare(0, 0))
        share = met.auctions / person.auctions
        passes = (
            met.auctions >= rule.parameters["min_auctions"]
            and 100 * share >= rule.parameters["min_share"]
            and 100 * met.alternations >= rule.parameters["min_alternations"] * met.auctions
        )
        figures = {
            "auctions together": met.auctions,
            "all auctions": person.auctions,
            "answers to each other": met.alternations,
        }
        yield _finding("COLLUSION", rival.bidder_id, passes, share, figures, person.recent, rule)


def judge_seller(person: FraudPerson, trace: SellerTrace, rules: FraudRules) -> list[Finding]:
    """The shill score of everyone who bid in the auction that is over; of the others it can only have fallen."""
    rule = thresholds(rules, "fraud.shill")
    if rule is None:
        return []
    found = []
    for part in trace.parts:
        held = person.bidders.get(part.bidder)
        if held is None:  # forgotten at once
            continue
        totals = ShillTotals(*held[:6])
        score = totals.score(person.held)
        passes = held.losses >= rule.parameters["min_losses"] and 1000 * score >= rule.parameters["min_score"]
        names = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
        figures = dict(zip(names, totals.ratings(person.held), strict=True))
        figures |= {"auctions held": person.held, "lost": held.losses, "won": held.wins}
        found.append(_finding("SHILL", part.bidder, passes, score, figures, held.recent, rule))
    return found


def judge_sight(person: FraudPerson, sighting: Sighting, rules: FraudRules) -> list[Finding]:
    """The fastest journey to or from the sights nearest in time. ValueError for a cell that is none."""
    lat, lon, _ = center_of(sighting.cell)
    rule = thresholds(rules, "fraud.travel")
    if rule is None:
        return []
    seen = Sight(sighting.seen_at, lat, lon, sighting.auction_id)
    before = [sight for sight in person.sights if sight.at <= sighting.seen_at][-1:]
    after = [sight for sight in person.sights if sight.at > sighting.seen_at][:1]
    found = []
    for held in (*before, *after):
        lat, lon, _ = center_of(held.cell)
        speed = needed_kmh(Sight(held.at, lat, lon, held.auction_id), seen, rule.parameters["blur_km"])
        if speed > rule.parameters["max_kmh"]:
            evidence = [
                Evidence(f"seen in {held.cell} at", float(held.at), held.auction_id),
                Evidence(f"seen in {sighting.cell} at", float(sighting.seen_at), sighting.auction_id),
            ]
            speed = min(speed, 1e9)  # in no time at all
            found.append(Finding("IMPOSSIBLE_TRAVEL", "", True, speed, evidence, rule.version))
    return sorted(found, key=lambda finding: -finding.score)[:1]


def _finding(
    signal: Signal,
    other: str,
    passes: bool,
    score: float,
    figures: Mapping[str, float],
    auctions: tuple[str, ...],
    rule: Thresholds,
) -> Finding:
    evidence = [Evidence(name, float(value), None) for name, value in figures.items()]
    evidence += [Evidence("auction", None, auction) for auction in auctions]
    return Finding(signal, other, passes, score, evidence, rule.version)
