"""Pure checkers of the invariants of auctions, over the logs that they left (issue: The auction platform, part 2).

Each gives a list of violations, one line each: what is wrong, and where; an empty list means that the invariant holds. They trust no
code of the processors: leaders, prices and ends are found again from the decisions, by the rules as auctions.md says them, in the
plainest way. The invariants of the payment side are in `payments.checkers`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from auctions import topics
from auctions.analytics_topics import SALES
from auctions.backing import Backing
from auctions.increments import increments_of
from payments import topics as payment_topics
from payments.logs import Logs, events, partitions
from schemas.auctions import (
    AuctionOutcome,
    BidDecision,
    BidReceived,
    BidsClock,
    FundsHeld,
    ItemListed,
    RangeAsked,
    RangeServed,
    RetractionReceived,
    SaleUnpaid,
)
from schemas.payments import PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter
from transforms.fold import DEAD_LETTERS

VALID = ("ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE", "BUY_NOW")
_BIDS_STAGE = "auctions.bids"


class _Story:
    """One auction as its decisions tell it."""

    def __init__(self, item: ItemListed) -> None:
        self.item = item
        self.bids: list[BidDecision] = []  # valid, not retracted, in order of decision
        self.price = item.start_price
        self.end, self.extensions = item.ends_at, 0
        self.outcome: AuctionOutcome | None = None
        self.bought = False

    def order(self) -> list[tuple[int, int, str]]:
        """(−maximum, rank, bidder) of every bidder's standing maximum, the leader first."""
        standing: dict[str, tuple[int, int]] = {}
        for rank, bid in enumerate(self.bids):
            assert bid.maximum is not None
            held = standing.get(bid.bidder_id)
            if held is None or held[0] != bid.maximum.minor:
                standing[bid.bidder_id] = bid.maximum.minor, rank
        return sorted((-maximum, rank, bidder) for bidder, (maximum, rank) in standing.items())

    def find_price(self, so_far: int) -> int:
        item, order = self.item, self.order()
        if not order:
            return item.start_price
        top, price = -order[0][0], item.start_price
        if len(order) > 1:
            second = -order[1][0]
            price = min(top, second + increments_of(item.increments, item.currency).of(second))
        price = max(price, so_far)
        if item.reserve is not None:
            price = top if top < item.reserve else max(price, item.reserve)
        return price


def _stories(logs: Logs) -> Iterator[tuple[str, _Story, Any]]:
    """(where, the auction before it, event) of everything in the history of auctions that were listed."""
    for number, items in partitions(logs, topics.HISTORY.name):
        stories: dict[str, _Story] = {}
        for record, event in items:
            if isinstance(event, ItemListed):
                stories[event.auction_id] = _Story(event)
            story = stories.get(getattr(event, "auction_id", ""))
            if story is None:
                continue
            yield f"{topics.HISTORY.name}/{number}/{record.offset}", story, event
            if isinstance(event, AuctionOutcome):
                story.outcome = event
            elif isinstance(event, BidDecision):
                _tell(story, event)


def _tell(story: _Story, decision: BidDecision) -> None:
    if decision.automatic:
        return
    if decision.status == "RETRACTED":
        story.bids = [bid for bid in story.bids if bid.bid_id != decision.bid_id]
        story.price = story.find_price(story.item.start_price)
    elif decision.status in VALID:
        story.bids.append(decision)
        if decision.status == "BUY_NOW":
            story.bought, story.price = True, story.item.buy_now or 0
        else:
            story.price = story.find_price(story.price)
    if decision.effective_end is not None:
        story.end, story.extensions = decision.effective_end, decision.extensions


# --- who wins, and for how much ---


def check_prices(logs: Logs) -> list[str]:
    """After each valid bid and retraction price and leader are those of the rule; the status says what the bid did."""
    found: list[str] = []
    last: tuple[str, _Story, BidDecision] | None = None
    for where, story, event in _stories(logs):
        if last is not None:
            found += _compare(*last)
            last = None
        if isinstance(event, BidDecision) and not event.automatic and event.status in (*VALID, "RETRACTED"):
            last = where, story, event
    return found + (_compare(*last) if last is not None else [])


def _compare(where: str, story: _Story, event: BidDecision) -> list[str]:
    order = story.order()
    leader = order[0][2] if order else None
    if event.leader != leader:
        return [f"{where}: {event.leader} leads, but the highest maximum is that of {leader}"]
    if event.price is None or event.price.minor != story.price:
        return [f"{where}: price {event.price}, by the rule {story.price}"]
    if (event.status == "ACCEPTED_OUTBID") != (event.bidder_id != leader) and event.status != "RETRACTED":
        return [f"{where}: {event.status}, and {leader} leads"]
    return []


def check_winners(logs: Logs) -> list[str]:
    """The winner has the highest maximum, of equal ones the earlier; the price is none above it nor below the reserve; one outcome each."""
    found = []
    for where, story, event in _stories(logs):
        if not isinstance(event, AuctionOutcome):
            continue
        if story.outcome is not None:
            found.append(f"{where}: a second outcome")
            continue
        order, reserve = story.order(), story.item.reserve
        top = -order[0][0] if order else 0
        met = reserve is None or top >= reserve
        wanted = "UNSOLD" if not order else "SOLD" if met else "RESERVE_NOT_MET"
        if event.outcome not in (wanted, "CANCELLED"):
            found.append(f"{where}: {event.outcome}, should be {wanted}")
        elif event.outcome == "SOLD" and event.price is not None:
            if event.winner != order[0][2]:
                found.append(f"{where}: {event.winner} won, but the highest maximum is that of {order[0][2]}")
            if not max(story.item.start_price, reserve or 0) <= event.price.minor <= top:
                found.append(
                    f"{where}: sold at {event.price.minor}, with a maximum of {top} and a reserve of {reserve}"
                )
            elif event.price.minor != story.price:
                found.append(f"{where}: sold at {event.price.minor}, but the price was {story.price}")
        elif (event.winner, event.price) != (None, None) or event.outcome == "SOLD":
            found.append(f"{where}: {event.outcome} with winner {event.winner} and price {event.price}")
        if (event.bids, event.bidders) != (len(story.bids), len(order)):
            found.append(f"{where}: {event.bids} bids of {event.bidders}, should be {len(story.bids)} of {len(order)}")
    return found


# --- the end ---


def check_ends(logs: Logs) -> list[str]:
    """Nothing is accepted that was received at or after the effective end, or after the outcome; whatever was received before it counts;
    the end moves only by a soft close.
    """
    found = []
    for where, story, event in _stories(logs):
        if isinstance(event, AuctionOutcome) and event.effective_end != story.end:
            found.append(f"{where}: ended at {event.effective_end}, but the end was {story.end}")
        if not isinstance(event, BidDecision) or event.automatic:
            continue
        item, valid, at = story.item, event.status in VALID, event.received_at
        if valid and story.outcome is not None:
            found.append(f"{where}: {event.status} after the outcome")
        if (valid or event.status == "RETRACTED") and not item.starts_at <= at < story.end:
            found.append(f"{where}: {event.status}, received at {at}, open from {item.starts_at} to {story.end}")
        if event.status == "FINISHED" and at < story.end and not story.bought:
            found.append(f"{where}: FINISHED, but received {story.end - at} ms before the end")
        if event.effective_end != story.end:
            own = bool(story.bids) and story.order()[0][2] == event.bidder_id
            soft, most = item.soft_close_ms, item.max_extensions
            if not valid or own or soft is None or event.effective_end != at + soft or at + soft <= story.end:
                found.append(f"{where}: {event.status} moved the end from {story.end} to {event.effective_end}")
            if event.extensions != story.extensions + 1 or (most is not None and event.extensions > most):
                found.append(f"{where}: extension {event.extensions} after {story.extensions}, of {most}")
    return found


# --- every decision once ---


def check_decisions(logs: Logs, drained: bool = True) -> list[str]:
    """Every bid and retraction on auction.log has one decision in the history, and no decision is about anything else."""
    asked: Counter[tuple[str, str]] = Counter()
    for kind in (BidReceived, RetractionReceived):
        asked.update((event.auction_id, event.bid_id) for _, _, event in events(logs, topics.LOG.name, kind))
    told: Counter[tuple[str, str]] = Counter()
    found = []
    for where, _, event in events(logs, topics.HISTORY.name, BidDecision):
        if not event.automatic:
            key = event.auction_id, event.bid_id
            told[key] += 1
            if told[key] > asked[key]:
                found.append(f"{where}: decision {told[key]} about bid {event.bid_id}, which came {asked[key]} times")
    if drained:
        found += [
            f"{a}/{b}: came {n} times, decided {told[a, b]}" for (a, b), n in sorted(asked.items()) if told[a, b] < n
        ]
    return found


def check_forwarding(logs: Logs, drained: bool = True) -> list[str]:
    """Bids, retractions and ticks of partition p of auction.bids stand once, in order, on partition p of auction.log, each with the clock
    that its partition had there; or they are dead letters.
    """
    buried = {
        (letter.partition, letter.offset)
        for _, _, letter in events(logs, DEAD_LETTERS.name, DeadLetter)
        if letter.stage == _BIDS_STAGE
    }
    found = []
    handed: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for number, items in partitions(logs, topics.LOG.name):
        for record, event in items:
            origin = record.origin
            if origin is not None and origin.source.stage == _BIDS_STAGE:
                where = f"{topics.LOG.name}/{number}/{record.offset}"
                at = event.at if isinstance(event, BidsClock) else event.received_at
                if origin.source.partition != number:
                    found.append(f"{where}: from partition {origin.source.partition}")
                handed[origin.source.partition].append((origin.offset, at, where))
    for number, items in partitions(logs, topics.BIDS.name):
        clock, wanted = -1, []
        for record, _ in items:
            clock = max(clock, record.at)
            if (number, record.offset) not in buried:
                wanted.append((record.offset, clock))
        got = handed.pop(number, [])
        for (offset, at, where), (should, clock) in zip(got, wanted, strict=False):
            if (offset, at) != (should, clock):
                found.append(f"{where}: is {offset} of auction.bids at {at}, should be {should} at {clock}")
                break
        if len(got) > len(wanted) or (drained and len(got) < len(wanted)):
            found.append(f"{topics.BIDS.name}/{number}: {len(wanted)} records, {len(got)} handed on")
    return found + [f"{topics.LOG.name}/{number}: handed on from nowhere" for number in sorted(handed)]


# --- money ---


def check_backing(logs: Logs) -> list[str]:
    """No bid is valid in a backed auction before holds of that bidder's bids there add up to its maximum."""
    bidder_of = {(e.auction_id, e.bid_id): e.bidder_id for _, _, e in events(logs, topics.LOG.name, BidReceived)}
    held: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(
        list
    )  # (partition, offset of the answer, minor)
    for number, items in partitions(logs, topics.LOG.name):
        for record, event in items:
            if isinstance(event, FundsHeld):
                bidder = bidder_of.get((event.auction_id, event.bid_id), "")
                held[event.auction_id, bidder].append((number, record.offset, event.amount.minor))
    decided = {
        (e.auction_id, e.bid_id): r.origin
        for _, r, e in events(logs, topics.HISTORY.name, BidDecision)
        if not e.automatic and e.status in VALID
    }
    found = []
    for where, story, event in _stories(logs):
        if not (isinstance(event, BidDecision) and story.item.funds_required and event.maximum is not None):
            continue
        origin = decided.get((event.auction_id, event.bid_id))
        if event.automatic or event.status not in VALID or origin is None:
            continue
        answers = held[event.auction_id, event.bidder_id]
        backed = sum(minor for number, offset, minor in answers if offset <= origin.offset)
        if backed < event.maximum.minor:
            found.append(f"{where}: {event.status} at {event.maximum.minor}, with {backed} held")
    return found


def check_settlement(logs: Logs, backing: Backing | None = None) -> list[str]:
    """In the end: every hold of an auction is captured or released, and of each backed auction that was sold its price has been paid, or
    what was not is told: once for each payment that was refused, and for no other.

    `backing` tells what auctions asked for: that of the house.
    """
    backing = backing or Backing()
    open_holds: dict[str, str] = {}
    refused: Counter[tuple[str, str]] = Counter()
    for where, _, status in events(logs, payment_topics.STATUS.name, PaymentStatus):
        asked = backing.asked(status.payment_id, status.kind, status.reference)
        if asked is None or status.attempt:
            continue
        if status.kind == "HOLD" and status.status == "PDNG":
            open_holds.setdefault(status.payment_id, where)
        if status.kind == "CAPTURE" and status.status == "RJCT":
            refused[asked] += 1
    for _, _, status in events(logs, payment_topics.STATUS.name, PaymentStatus):
        if status.kind == "HOLD" and status.terminal and not status.attempt:
            open_holds.pop(status.payment_id, None)
    found = [f"{where}: hold {name} was never captured nor released" for name, where in sorted(open_holds.items())]
    paid: Counter[str] = Counter()
    for _, _, done in events(logs, payment_topics.CONFIRMED.name, PaymentConfirmed):
        asked = backing.asked(done.payment_id, done.kind, done.reference)
        if asked is not None and done.kind == "CAPTURE":
            paid[asked[0]] += done.amount.minor
    ends: dict[str, tuple[str, AuctionOutcome]] = {}
    unpaid: Counter[str] = Counter()
    told: Counter[tuple[str, str]] = Counter()
    for where, story, event in _stories(logs):
        if isinstance(event, AuctionOutcome) and story.item.funds_required:
            ends[event.auction_id] = where, event
        elif isinstance(event, SaleUnpaid):
            told[event.auction_id, event.bid_id] += 1
            unpaid[event.auction_id] += event.amount.minor
            if story.outcome is None or (event.winner, event.seller_id) != (story.outcome.winner, story.outcome.seller_id):
                found.append(f"{where}: {event.winner} has not paid {event.seller_id}, which is not how the auction ended")
    for auction, bid in sorted({*refused, *told}):
        times, wanted = told[auction, bid], refused[auction, bid]
        if times != wanted:
            found.append(f"{auction}/{bid}: payments refused: {wanted}, told as unpaid: {times}")
    for auction, (where, end) in ends.items():
        due, got, missing = 0 if end.price is None else end.price.minor, paid[auction], unpaid[auction]
        if got + missing != due:
            found.append(f"{where}: {end.outcome} at {due}, and {got} were paid, {missing} told as unpaid")
    return found


# --- price ranges ---


def check_ranges(logs: Logs) -> list[str]:
    """In the end: every question for a price range has one answer on auction.log, wherever it was handed on, and no other is there."""
    asked = Counter(
        (event.auction_id, event.asked_at) for _, _, event in events(logs, SALES.name, RangeAsked) if not event.tried
    )
    answered = Counter(
        (event.auction_id, event.asked_at) for _, _, event in events(logs, topics.LOG.name, RangeServed)
    )
    return [
        f"{auction}: asked {asked[auction, at]} times at {at} for its price range, answered {answered[auction, at]} times"
        for auction, at in sorted(asked.keys() | answered.keys())
        if asked[auction, at] != answered[auction, at]
    ]


# --- all of them ---


def check_all(logs: Logs, backing: Backing | None = None, *, drained: bool = True) -> list[str]:
    """Every invariant that logs show by themselves. `drained`: the input has ended and nothing is on its way any more."""
    return [
        *check_prices(logs),
        *check_winners(logs),
        *check_ends(logs),
        *check_decisions(logs, drained),
        *check_forwarding(logs, drained),
        *check_backing(logs),
        *((*check_settlement(logs, backing), *check_ranges(logs)) if drained else ()),
    ]
