"""The load of the live benchmark of auctions: people with money, items, and bids that rise; and what became of each."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from random import Random
from typing import NamedTuple

from auctions import topics
from auctions.increments import increments_of
from auctions.stories import OFFERS
from chaos.market import line
from pipelines.live_writer import Line
from pipelines.registry import REGISTRY
from schemas.auctions import AuctionOutcome, BidDecision, BidPlaced, ItemListed
from schemas.payments import AccountOpened, Money, PaymentInitiated
from schemas.rails import Record, Tick
from transforms.fold import Topic
from transforms.origin_filter import OriginFilter

MONEY = 10**13  # minor units in each account: more than anyone can bid
_CURRENCY, _PRICE = "EUR", 100
_FRAME = 5  # bytes before the Avro of a value


def people(count: int) -> list[str]:
    return [f"bidder-{number}" for number in range(count)]


def accounts(names: Iterable[str], now: int) -> list[Line]:
    """An account for each of these people. `now`: ms."""
    return [line(AccountOpened(f"open-{name}", name, 0, _CURRENCY, 0, None, False, now)) for name in names]


def deposits(names: Iterable[str], now: int) -> list[Line]:
    """Money into each account, which must be open."""
    money, nothing = Money(MONEY, _CURRENCY), (None, None, None, None)
    return [
        line(PaymentInitiated(f"deposit-{name}", "DEPOSIT", None, name, money, *nothing, "bank", now)) for name in names
    ]


def items(names: Iterable[str], starts: int, ends: int, backed: bool) -> list[Line]:
    """Auctions from `starts` to `ends` (ms), without extras; `backed`: with money behind bids."""
    made = []
    for name in names:
        described = (name, name, f"seller-of-{name}", "A thing", "", "things", ("old",), _CURRENCY, _PRICE)
        made.append(line(ItemListed(*described, None, None, None, starts, ends, None, None, backed)))
    return made


def bids(names: Sequence[str], bidders: Sequence[str], count: int, now: int, seed: int) -> dict[str, Line]:
    """Bids by their ids, on these auctions in turn. Four of five raise the highest so far by one to three increments; the fifth names as
    much as the highest: the leader's maximum answers it, or it is too low. `now`: ms, the client's time."""
    random, reached, table = Random(seed), dict.fromkeys(names, _PRICE), increments_of(None, _CURRENCY)
    made: dict[str, Line] = {}
    for number in range(count):
        name = names[number % len(names)]
        if random.random() < 0.8:
            reached[name] += table.of(reached[name]) * random.randint(1, 3)
        bid_id, key, maximum = f"{seed}-{number}", name.encode(), Money(reached[name], _CURRENCY)
        bid = BidPlaced(bid_id, name, random.choice(bidders), None, maximum, None, None, now)
        made[bid_id] = (topics.BIDS.name, topics.BIDS.partition_of(key), key, REGISTRY.encode(bid))
    return made


class Decided(NamedTuple):
    """What was decided about a bid, and when the broker appended it (ms)."""

    bid_id: str
    status: str
    at: int


class Once:
    """The records of a topic from its beginning on, each once, however often it was written. `starts`: where the next ones begin."""

    def __init__(self, topic: Topic) -> None:
        self._filters = [OriginFilter(topic.name, number) for number in range(topic.partitions)]
        self.starts = [0] * topic.partitions

    def new(self, records: Iterable[tuple[int, Record]]) -> list[Record]:
        """Those that are new of the records from `starts` on, each with its partition."""
        found = []
        for partition, record in records:
            self.starts[partition] = record.offset + 1
            if self._filters[partition].is_new(record):
                found.append(record)
        return found


def decisions(records: Iterable[Record]) -> list[Decided]:
    """The decisions about bids; not those by which the leader's maximum answers one."""
    frame = REGISTRY.frame(BidDecision)
    events = [(record.at, REGISTRY.decode(record.value or b"")) for record in records if _has(record.value, frame)]
    return [Decided(event.bid_id, event.status, at) for at, event in events if not event.automatic]


def outcomes(records: Iterable[Record]) -> dict[str, int]:
    """When the broker appended the outcome of each auction (ms)."""
    frame = REGISTRY.frame(AuctionOutcome)
    return {(record.key or b"").decode(): record.at for record in records if _has(record.value, frame)}


def times_of(records: Iterable[tuple[int, bytes, bytes]], kind: type) -> dict[str, int]:
    """When the broker appended each bid (ms), by its id; `records` as `broker.read` gives them, bids among them being of this kind."""
    frame = REGISTRY.frame(kind)
    return {REGISTRY.decode(value).bid_id: at for at, _, value in records if _has(value, frame)}


def first_tick(records: Iterable[tuple[int, bytes, bytes]], end: int) -> int:
    """When the broker appended the first tick at or after `end` (ms) to any partition; ValueError if there is none."""
    frame = REGISTRY.frame(Tick)
    times = [at for at, _, value in records if at >= end and _has(value, frame)]
    if not times:
        raise ValueError(f"no tick at or after {end}")
    return min(times)


def _has(value: bytes | None, frame: bytes) -> bool:
    return value is not None and value[:_FRAME] == frame


def accepted_share(placed: Collection[str], found: Sequence[Decided]) -> float:
    """Of these bids; ValueError unless each has one decision, and most were accepted."""
    times = Counter(one.bid_id for one in found)
    missing, twice = set(placed) - times.keys(), [name for name, count in times.items() if count > 1]
    if missing or twice or len(times) > len(placed):
        raise ValueError(
            f"{len(missing)} of {len(placed)} bids without a decision, {len(twice)} with several, "
            f"{len(times.keys() - set(placed))} decisions about other bids"
        )
    share = sum(one.status in OFFERS for one in found) / len(found)
    if share <= 0.5:
        statuses = dict(Counter(one.status for one in found).most_common())
        raise ValueError(f"only {share:.0%} of {len(found)} bids were accepted: {statuses}")
    return round(share, 3)
