"""Auctions and settlement together as the simulator runs them: few partitions, short auctions, and clients who try everything.

Used by test_auctions.py. One seed by hand: `python -m tests.simulation.auctions_system SEED`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from auctions import checkers, topics
from auctions.backing import Backing
from auctions.bids import BidValidation
from auctions.funds import Funds
from auctions.house import AuctionHouse
from auctions.items import ItemValidation
from payments import topics as payment_topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.checkers import check_all as check_payments
from schemas.auctions import Address, BidPlaced, BidRetracted, ItemCancelled, ItemListed
from schemas.payments import AccountFrozen, AccountOpened, Money, PaymentInitiated
from tests.simulation import payments_system
from tests.simulation.payments_system import PARTITIONS, check_money
from tests.simulation.seeds import run_by_hand
from transforms.fold import DEAD_LETTERS, Topic
from transforms.loop import Stage
from transforms.registry import Registry
from transforms.simulator import Faults, Outcome, Sent, Simulation, System

BIDDERS, AUCTIONS, BIDS = 5, 5, 45
HOUR = 3_600_000
REGISTRY = Registry.of("rails", "payments", "auctions")
NAMES = ("ITEMS", "BIDS", "LOG", "HISTORY", "OUTCOMES", "CURRENT")
BACKING = Backing(b"a key of this simulation")
CLIENTS = (payment_topics.INCOMING.name, topics.ITEMS.name, topics.BIDS.name)


@contextmanager
def few_partitions() -> Iterator[None]:
    """The topics of payments and auctions with PARTITIONS partitions each."""
    held = {name: getattr(topics, name) for name in NAMES}
    for name, topic in held.items():
        setattr(topics, name, Topic(topic.name, PARTITIONS))
    try:
        with payments_system.few_partitions():
            yield
    finally:
        for name, topic in held.items():
            setattr(topics, name, topic)


def auction_system(house: type[AuctionHouse] = AuctionHouse, bids: type[BidValidation] = BidValidation) -> System:
    """To be called, and run, within `few_partitions`."""
    return System(
        stages=[
            Stage(Admission(), payment_topics.INCOMING),
            Stage(AccountProcessor(), payment_topics.INFLIGHT),
            Stage(ItemValidation(), topics.ITEMS),
            Stage(bids(), topics.BIDS),
            Stage(house(soon_ms=500, answer_ms=1500, backing=BACKING), topics.LOG),
            Stage(Funds(BACKING), payment_topics.STATUS),
        ],
        registry=REGISTRY,
        inputs=client_records,
        ticked=[topics.BIDS],
        checkers=[check_invariants, check_settled, check_money],
        drain_ms=10_000,
        tick_ms=1_000,
    )


# --- what clients send ---


def client_records(rng: Random, start: int) -> list[Sent]:
    """Accounts, items and bids: good ones, refused ones, repeated ones, broken ones."""
    sent = [*_openings(start), *_items(rng, start)]
    return [*sent, *_bids(rng, start)]


def _sent(topic: Topic, key: str, event: Any) -> Sent:
    raw = key.encode()
    return Sent(topic.name, topic.partition_of(raw), raw, REGISTRY.encode(event))


def _openings(start: int) -> Iterator[Sent]:
    """Bidder b0 has little money, b1 a gate, the last no account; of the sellers the second has none."""
    for name, gated in (("s0", False), *((f"b{i}", i == 1) for i in range(BIDDERS - 1))):
        opened = AccountOpened(f"open-{name}", name, 0, "EUR", 0, None, gated, start)
        yield _sent(payment_topics.INFLIGHT, name, opened)
        minor = 800 if name == "b0" else 6_000
        paid = PaymentInitiated(f"d-{name}", "DEPOSIT", None, name, Money(minor, "EUR"), *[None] * 4, "x", start)
        yield _sent(payment_topics.INCOMING, paid.payment_id, paid)


def _items(rng: Random, start: int) -> Iterator[Sent]:
    for i in range(AUCTIONS):
        begins = start + rng.randrange(1_500)
        soft = rng.choice((None, 300, 800))
        reserve = rng.choice((None, None, 700))
        item = ItemListed(
            f"x{i}",
            f"i{i}",
            f"s{i % 2}",
            "A thing",
            "",
            "things",
            (),
            "EUR",
            100,
            reserve,
            rng.choice((None, 1_500)),
            None,
            begins,
            # One auction is so long that its bids may be retracted.
            begins + (13 * HOUR if i == 4 else 1_000 + rng.randrange(3_000)),
            soft,
            None if soft is None else rng.choice((1, 3)),
            i < 3,
        )
        yield _sent(topics.ITEMS, item.auction_id, item)


def _bids(rng: Random, start: int) -> Iterator[Sent]:
    placed: list[BidPlaced] = []
    for i in range(BIDS):
        roll = rng.random()
        if placed and roll < 0.05:
            yield _sent(topics.BIDS, placed[-1].auction_id, rng.choice(placed[-3:]))
            continue
        if placed and roll < 0.15:
            bid = rng.choice(placed)
            taken = BidRetracted(bid.bid_id, bid.auction_id, bid.bidder_id, "a slip")
            yield _sent(topics.BIDS, bid.auction_id, taken)
            continue
        if roll < 0.17:
            yield Sent(topics.BIDS.name, rng.randrange(PARTITIONS), b"x0", b"\0junk")
            continue
        if roll < 0.18:
            auction = f"x{rng.randrange(AUCTIONS)}"
            yield _sent(topics.ITEMS, auction, ItemCancelled(auction, "gone"))
            continue
        if roll < 0.19:
            yield _sent(payment_topics.INFLIGHT, "b3", AccountFrozen(f"f{i}", "b3", 1, True, start))
            continue
        auction = f"x{rng.randrange(AUCTIONS + (roll > 0.97))}"
        bidder = rng.choice((*(f"b{n}" for n in range(BIDDERS)), "s0" if roll < 0.22 else "b2"))
        country = "XX" if 0.22 < roll < 0.24 else "DE"
        currency = "USD" if 0.24 < roll < 0.26 else "EUR"
        maximum = Money(60 + rng.randrange(60 + 40 * i), currency)
        bid = BidPlaced(f"{bidder}-{i}", auction, bidder, None, maximum, None, Address(country), start)
        if bidder[0] == "b" and country == "DE":
            placed.append(bid)
        yield _sent(topics.BIDS, auction, bid)


# --- what must hold in the end ---


def logs_of(outcome: Outcome) -> dict[str, Any]:
    names = [getattr(topics, name).name for name in NAMES]
    names += [getattr(payment_topics, name).name for name in payments_system.NAMES]
    return {name: outcome.events(name) for name in (*names, DEAD_LETTERS.name)}


def check_invariants(outcome: Outcome) -> Iterable[str]:
    """Those of auctions, and those of payments, with all that auctions have asked of them."""
    logs = logs_of(outcome)
    # What clients write is the log as it is: repeats count, and are recognised by their ids.
    for name in CLIENTS:
        logs[name] = {
            number: [(record, outcome._event(record.value or b"")) for record in records]
            for (topic, number), records in sorted(outcome.logs.items())
            if topic == name
        }
    yield from checkers.check_all(logs, BACKING)
    of_payments = {name: held for name, held in logs.items() if not name.startswith("auction.")}
    shards = [shard for shard in outcome.shards if shard.source.stage.startswith("payments.")]
    yield from check_payments(of_payments, shards)


def check_settled(outcome: Outcome) -> Iterable[str]:
    """Every auction whose end has come is closed, and has nothing held or waiting."""
    for shard in outcome.shards:
        if shard.source.stage != AuctionHouse.stage:
            continue
        for name, auction in shard.entities.items():
            if auction.phase in ("COMPLETE", "CANCELLED"):
                if auction.holds or auction.waiting or auction.owed:
                    yield f"{name}: {auction.phase}, with {auction.holds} {auction.waiting} {auction.owed}"
            elif auction.effective_end <= shard.clock:
                yield f"{name}: {auction.phase} at {shard.clock}, though it ended at {auction.effective_end}"


def run_seed(seed: int, faults: Faults = Faults()) -> Outcome:
    with few_partitions():
        return Simulation(auction_system(), seed, faults).run()


if __name__ == "__main__":
    run_by_hand(run_seed)
