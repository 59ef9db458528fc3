"""A seeded market with people who cheat, and the truth about them: what the fraud signals are measured on (`auctions.fraud_quality`).

Honest people have a favourite category, value an item around its worth, and bid early or late, at once or little by little. Some look
like cheats: those who are fond of one seller, those who always come in the last ten minutes, bids taken back by mistake. Of each kind of
cheat there are some:

    SHILL              bids early and by little in the auctions of one seller, soon after others, and steps back near the worth
    SNIPING            bids once, in the last minute
    HAMMER_SNIPE       a bot: answers other bids within a second
    SHIELDING          three: one bids little, two very much, and these two take their bids back near the end
    COLLUSION          two who go to the same auctions and take turns
    IMPOSSIBLE_TRAVEL  one account in two places far from each other

`strength`, from 0 to 1, is how often a cheat acts as one; else they do as the honest do.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from auctions import bidding
from auctions.geography import CITIES, network_of
from schemas.auctions import BidPlaced, BidRetracted, ItemListed, Signal
from schemas.payments import Money

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

KINDS: tuple[Signal, ...] = ("SHILL", "SNIPING", "HAMMER_SNIPE", "SHIELDING", "COLLUSION", "IMPOSSIBLE_TRAVEL")

_CATEGORIES = ("watches", "cameras", "records", "chairs", "bicycles")
_TAGS = ("old", "gold", "rare", "signed", "repaired")


class Planned(NamedTuple):
    """Something that happens at a time (ms) by the broker's clock."""

    at: int
    event: ItemListed | BidPlaced | BidRetracted


class Cheat(NamedTuple):
    """The truth: who cheats, and how; several persons do it together."""

    kind: Signal
    persons: tuple[str, ...]


@dataclass(frozen=True)
class Market:
    """How large a market is. With the defaults one bidder in twenty cheats."""

    seed: int = 1
    auctions: int = 500
    sellers: int = 40
    bidders: int = 800
    per_kind: int = 6  # cheats of each kind; a shill has a seller, shields and colluders have partners
    strength: float = 1.0
    start: int = 1_700_006_400_000

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must lie within 0 and 1, got {self.strength}")
        if min(self.auctions, self.sellers, self.bidders) < 1 or not 0 <= self.per_kind <= self.sellers:
            raise ValueError("auctions, sellers and bidders must be positive, per_kind at most the sellers")

    def cheats(self) -> list[Cheat]:
        """The truth, in a fixed order."""
        found = []
        for kind in KINDS:
            for number in range(self.per_kind):
                name = f"{kind.lower()}-{number}"
                if kind == "SHIELDING":
                    found.append(Cheat(kind, (f"{name}-first", f"{name}-second", f"{name}-friend")))
                elif kind == "COLLUSION":
                    found.append(Cheat(kind, (f"{name}-a", f"{name}-b")))
                else:
                    found.append(Cheat(kind, (name,)))
        return found

    def plan(self) -> list[Planned]:
        """All that happens, by time."""
        happened = []
        for number in range(self.auctions):
            happened += _Room(self, number).run()
        order = {ItemListed: 0, BidPlaced: 1, BidRetracted: 1}
        return [p for _, p in sorted(enumerate(happened), key=lambda n: (n[1].at, order[type(n[1].event)], n[0]))]


class _Room:
    """One auction as it runs: whose turn is when, and what stands by the rules of bidding."""

    def __init__(self, market: Market, number: int) -> None:
        self.market, self.number = market, number
        self.random = random.Random(f"{market.seed}/{number}")
        draw = self.random
        self.worth = int(draw.lognormvariate(9.5, 0.7)) + 2_000
        seller = number % market.sellers
        begin = market.start + draw.randrange(25 * DAY)
        duration = draw.choice((1, 3, 5, 7)) * DAY
        category = _CATEGORIES[number % len(_CATEGORIES)]
        soft = draw.random() < 0.5
        tags = tuple(sorted(draw.sample(_TAGS, 2)))
        self.item = ItemListed(
            f"auction-{number}",
            f"item-{number}",
            f"seller-{seller}",
            f"{category} no. {number}",
            "",
            category,
            tags,
            "EUR",
            max(100, int(self.worth * draw.uniform(0.1, 0.5)) // 100 * 100),
            starts_at=begin,
            ends_at=begin + duration,
            soft_close_ms=5 * MINUTE if soft else None,
            max_extensions=3 if soft else None,
            funds_required=False,
            reserve=None,
            buy_now=None,
            increments=None,
        )
        self.auction = bidding.open_auction(self.item, begin)
        self.begin, self.end = begin, begin + duration
        self.turns: list[tuple[int, int, str]] = []  # (time, number, who)
        self.numbers, self.bids = count(), count()
        self.kinds: dict[str, Signal | None] = {}
        self.most: dict[str, int] = {}
        self.happened: list[Planned] = [Planned(begin - HOUR, self.item)]
        self.taken_back: dict[str, tuple[int, str]] = {}  # who has a bid to take back, when

    def run(self) -> list[Planned]:
        self._enter()
        while self.turns:
            at, _, who = heapq.heappop(self.turns)
            if at < self.end:
                self._act(who, at)
        return self.happened

    def _when(self, low: float, high: float) -> int:
        """A time between two fractions of the duration."""
        return self.begin + int((self.end - self.begin) * self.random.uniform(low, high))

    def _turn(self, who: str, at: int) -> None:
        heapq.heappush(self.turns, (at, next(self.numbers), who))

    def _enter(self) -> None:
        """Honest people, and the cheats who are here."""
        draw, market = self.random, self.market
        people = range(market.bidders)
        favourites = range(self.number % len(_CATEGORIES), market.bidders, len(_CATEGORIES))
        chosen = {draw.choice(favourites if draw.random() < 0.6 else people) for _ in range(draw.randint(4, 9))}
        for number in sorted(chosen):
            self._join(f"bidder-{number}", None)
        seller = int(self.item.seller_id.split("-")[1])
        if seller % 2 and draw.random() < 0.6:
            self._join(f"fan-{seller}", None)
        for number in range(market.per_kind):
            if draw.random() < 10 / market.auctions:
                self._join(f"latecomer-{number}", None)
        for cheat in market.cheats():
            index = int(cheat.persons[0].split("-")[1])
            if cheat.kind == "SHILL":
                if self.item.seller_id == f"seller-{index}":
                    self._join(cheat.persons[0], cheat.kind)
            elif draw.random() < 12 / market.auctions:
                for person in cheat.persons:
                    self._join(person, cheat.kind)

    def _join(self, who: str, kind: Signal | None) -> None:
        draw = self.random
        cheats = kind is not None and draw.random() < self.market.strength
        self.kinds[who] = kind if cheats else None
        self.most[who] = int(self.worth * draw.lognormvariate(-0.15, 0.25))
        if not cheats or kind in ("HAMMER_SNIPE", "IMPOSSIBLE_TRAVEL"):
            at = self._honest_time(who)
            self._turn(who, at)
            if kind == "IMPOSSIBLE_TRAVEL" and cheats:  # the other user of the account looks in soon after
                self._turn(who, at + draw.randrange(MINUTE, HOUR))
        elif kind == "SHILL":
            self.most[who] = int(self.worth * draw.uniform(0.6, 0.8))
            self._turn(who, self._when(0, 0.1))
        elif kind == "SNIPING":
            self.most[who] = int(self.worth * draw.uniform(0.9, 1.3))
            self._turn(who, self.end - draw.randrange(1_000, 55_000))
        elif kind == "COLLUSION":
            self.most[who] = int(self.worth * draw.uniform(0.7, 0.9))
            self._turn(who, self._when(0.02, 0.3))
        elif who.endswith("-friend"):
            self.most[who] = self.item.start_price + 500
            self._turn(who, self._when(0.01, 0.03))
        else:
            self.most[who] = 5 * self.worth if who.endswith("-second") else 6 * self.worth
            self._turn(who, self._when(0.04, 0.06) if who.endswith("-second") else self._when(0.07, 0.1))

    def _honest_time(self, who: str) -> int:
        """One in four comes in the last tenth, and a third of these in the last minute."""
        draw = self.random
        if who.startswith("latecomer"):
            return self.end - draw.randrange(1_000, 10 * MINUTE)
        if draw.random() >= 0.25:
            return self._when(0, 0.9)
        return self.end - draw.randrange(1_000, MINUTE) if draw.random() < 0.3 else self._when(0.9, 0.999)

    def _act(self, who: str, at: int) -> None:
        auction, draw, kind = self.auction, self.random, self.kinds[who]
        if who in self.taken_back and at >= self.taken_back[who][0]:
            _, bid_id = self.taken_back.pop(who)
            if bidding.may_retract(auction, bid_id, who, at):
                bidding.retract(auction, bid_id)
                self.happened.append(Planned(at, BidRetracted(bid_id, self.item.auction_id, who, "a mistake")))
            return
        if auction.leader == who and kind != "IMPOSSIBLE_TRAVEL":
            return
        least, most = auction.next_minimum, self.most[who]
        if auction.leader == who:
            least, most = auction.top + auction.increment(auction.top), int(self.worth * 1.5)
        if least > most or (kind in ("SHILL", "COLLUSION") and at > self._at(0.9)):
            return
        if kind in ("SHILL", "COLLUSION", "HAMMER_SNIPE"):
            maximum = least
        elif kind in ("SNIPING", "SHIELDING") or draw.random() < 0.4:
            maximum = most
        else:
            maximum = min(most, least + int(draw.expovariate(1 / (1 + 0.1 * self.worth))))
        self._bid(who, at, maximum, kind)

    def _at(self, part: float) -> int:
        return self.begin + int((self.end - self.begin) * part)

    def _bid(self, who: str, at: int, maximum: int, kind: Signal | None) -> None:
        auction, bid_id = self.auction, f"{self.number}-{next(self.bids)}"
        leader = auction.leader
        bidding.accept(auction, bid_id, who, maximum, at)
        placed = BidPlaced(
            bid_id, self.item.auction_id, who, None, Money(maximum, "EUR"), self._ip(who, kind), None, at
        )
        self.happened.append(Planned(at, placed))
        if bidding.extends(auction, at, leader == who):
            self.end = auction.effective_end
        if kind is None and self.random.random() < 0.02:
            self.taken_back[who] = at + HOUR // 2, bid_id
            self._turn(who, at + HOUR // 2)
        if kind == "SHIELDING" and not who.endswith("-friend"):
            back = max(
                at + 1, auction.effective_end - 13 * HOUR if self.end - self.begin > 2 * DAY else at + 50 * MINUTE
            )
            self.taken_back[who] = back, bid_id
            self._turn(who, back)
        for other in self._answerers(who):
            self._turn(other, at + self._delay(other))

    def _answerers(self, who: str) -> Iterator[str]:
        """Those who see that they do not lead, and may bid again."""
        leader = self.auction.leader
        for other, kind in self.kinds.items():
            if other in (who, leader) or kind in ("SNIPING", "SHIELDING"):
                continue
            seen = any(bid is not None and bid.bidder_id == other for bid in self.auction.bids.values())
            if kind == "SHILL" or (seen and (kind in ("COLLUSION", "HAMMER_SNIPE") or self.random.random() < 0.35)):
                yield other
        if leader != who and self.kinds[who] in ("SHILL", "COLLUSION", "HAMMER_SNIPE"):
            yield who  # they try again

    def _delay(self, who: str) -> int:
        """How long until the answer (ms)."""
        draw, kind = self.random, self.kinds[who]
        if kind == "HAMMER_SNIPE":
            return draw.randrange(50, 900)
        if kind in ("SHILL", "COLLUSION"):
            return draw.randrange(20_000, 20 * MINUTE)
        return int(draw.expovariate(1 / (6 * HOUR))) + 5_000

    def _ip(self, who: str, kind: Signal | None) -> str:
        """An address in the person's city; an account that is shared has another one too, far away."""
        home = random.Random(f"{self.market.seed}/{who}").randrange(16)  # in Europe
        away = kind == "IMPOSSIBLE_TRAVEL" and self.random.random() < 0.5
        city = len(CITIES) - 1 - home % 5 if away else home
        return str(network_of(city)[1 + hash_of(who) % 250])


def hash_of(text: str) -> int:
    """A small number that is the same on every machine."""
    return sum(ord(sign) * (place + 1) for place, sign in enumerate(text))
