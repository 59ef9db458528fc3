"""Auctions and settlement under the simulator's faults: SEEDS seeds, in blocks that pytest-xdist can spread.

A failure names its seed and the command that shows it again, and only it:
`BEAM_ON_RAILS_SEED=<seed> ./run_local.sh test tests/simulation/test_auctions.py -k faults`.
"""

from collections import Counter
from typing import Any

import pytest

from auctions import topics
from auctions.bids import BidValidation
from auctions.house import AuctionHouse
from schemas.auctions import AuctionOutcome, BidDecision, BidsClock, EndingSoon, SaleUnpaid
from schemas.payments import PaymentStatus
from tests.simulation.auctions_system import auction_system, few_partitions, logs_of, run_seed
from tests.simulation.seeds import blocks, check_seeds, check_seen, show
from transforms.simulator import Simulation, System, Worker

SEEDS = 1_000

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.mark.parametrize("seeds", blocks(SEEDS), ids=show)
def test_faults_change_nothing(seeds: range) -> None:
    check_seeds(run_seed, seeds, "test_auctions")


def test_a_seed_is_one_run() -> None:
    runs = [run_seed(7), run_seed(7), run_seed(8)]
    assert runs[0].logs == runs[1].logs
    assert runs[0].logs != runs[2].logs


def test_the_seeds_reach_every_kind_of_outcome() -> None:
    """Otherwise the simulator would prove little."""
    said: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for seed in range(120):
        outcome = run_seed(seed)
        for shard in outcome.shards:
            if shard.source.stage.startswith("auctions."):
                counts.update(shard.counts.as_dict())
        logs = logs_of(outcome)
        for topic in (topics.HISTORY.name, "payments.status"):
            for items in logs[topic].values():
                for _, event in items:
                    if isinstance(event, BidDecision):
                        said[event.status] += 1
                        said["automatic"] += event.automatic
                        said["extended"] += event.extensions > 0
                    elif isinstance(event, AuctionOutcome):
                        said[event.outcome] += 1
                    elif isinstance(event, EndingSoon):
                        said["soon"] += 1
                    elif isinstance(event, SaleUnpaid):
                        said[f"unpaid {event.reason}"] += 1
                    elif isinstance(event, PaymentStatus):
                        said[f"{event.kind} {event.status}"] += 1
    wanted = [
        *("UNKNOWN_ITEM", "CANCELLED", "FINISHED", "NOT_STARTED", "DUPLICATE", "SELLER_BID", "CURRENCY_MISMATCH"),
        *("INSUFFICIENT_FUNDS", "TOO_LOW", "ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE", "BUY_NOW"),
        *("RETRACTED", "RETRACTION_REFUSED", "LATE", "SOLD", "UNSOLD", "RESERVE_NOT_MET", "automatic", "extended"),
        *("soon", "HOLD PDNG", "HOLD RJCT", "HOLD ACCC", "HOLD CANC", "CAPTURE ACCC", "CAPTURE RJCT", "VOID ACCC"),
        "unpaid AC03",  # the seller has no account
    ]
    assert [name for name in wanted if not said[name]] == []
    assert all(counts[name] for name in ("applied", "dead_lettered", "duplicate", "late")), counts


# --- bid validation stands still around the close ---


class _Stalls(Worker):
    """Bid validation comes to a stop after its first records, until everything else has been read; then it goes on."""

    def work(self) -> Any:
        steps = super().work()
        if self.place.stage.processor.stage == BidValidation.stage:
            for _ in range(3):
                next(steps)
                yield
            while self.simulation.faults.crash:  # until the faults cease: all inputs are in, and every end has passed
                self.at_rest = True
                yield
            self.at_rest = False
        yield from steps


def test_every_bid_counts_however_late_it_is_handed_on() -> None:
    """The checkers say whether any was refused that came in time; here, that bids were decided after the ends of their auctions at all."""
    late = 0
    for seed in range(20):
        with few_partitions():
            outcome = Simulation(auction_system(), seed, worker=_Stalls).run()
        for items in logs_of(outcome)[topics.HISTORY.name].values():
            for record, event in items:
                if isinstance(event, BidDecision) and event.status.startswith("ACCEPTED") and event.effective_end:
                    late += record.at > event.effective_end
    assert late > 40


# --- planted bugs, which the simulator and the checkers must see ---


class _ClockOfTheLog(AuctionHouse):
    """Ends auctions by the append time of auction.log."""

    carries_clock = False


class _ForgetsTicks(BidValidation):
    """Hands on bids alone, so nothing ends an auction on a quiet partition."""

    def on_broadcast(self, event, context):  # type: ignore[no-untyped-def]
        pass


class _TimeOfTheClient(BidValidation):
    def on_event(self, key, entity, event, context):  # type: ignore[no-untyped-def]
        clock, context.clock = context.clock, getattr(event, "sent_at", context.clock)
        super().on_event(key, entity, event, context)
        context.clock = clock


class _TicksRunAhead(BidValidation):
    """Tells a time at which bids may still come that were received before it."""

    def on_broadcast(self, event, context):  # type: ignore[no-untyped-def]
        context.emit_beside(topics.LOG, BidsClock(context.clock + 700))


class _KeepsHolds(AuctionHouse):
    """Forgets the money of who is outbid."""

    def _accept(self, auction, bid, context):  # type: ignore[no-untyped-def]
        if bid.bidder_id != auction.leader and bid.maximum.minor > auction.top:
            auction.holds = {name: hold for name, hold in auction.holds.items() if hold.bidder_id != auction.leader}
        super()._accept(auction, bid, context)


class _HidesUnpaid(AuctionHouse):
    """Lets the money of a refused capture go and says nothing."""

    def _on_unpaid(self, auction, name, captured, reason, context):  # type: ignore[no-untyped-def]
        self.backing.void(auction, name, captured, context)


class _TellsAnotherAmount(AuctionHouse):
    """Says that the whole hold was not paid, which is more than the price."""

    def _on_unpaid(self, auction, name, captured, reason, context):  # type: ignore[no-untyped-def]
        super()._on_unpaid(auction, name, captured._replace(minor=captured.minor + 1), reason, context)


class _ForgetsLateHolds(AuctionHouse):
    def _finish(self, auction, context, waiting):  # type: ignore[no-untyped-def]
        super()._finish(auction, context, waiting)
        auction.owed = {}


class _DecidesBeforeTheMoney(AuctionHouse):
    """Lets a bid lead while its money is asked for."""

    def _ask_next(self, auction, bidder, context):  # type: ignore[no-untyped-def]
        for bid_id, (bid, asked) in list(auction.waiting.items()):
            if bid.bidder_id == bidder and not asked:
                self.backing.ask_hold(auction, bid_id, bid.account_id, bid.maximum.minor, context)
                self._decide_waiting(auction, bid, context)


class _ExtendsForTheLeader(AuctionHouse):
    """A leader's own raise moves the end."""

    def _accept(self, auction, bid, context):  # type: ignore[no-untyped-def]
        soft = auction.item.soft_close_ms
        if soft and auction.leader == bid.bidder_id and bid.received_at + soft > auction.effective_end:
            auction.effective_end = bid.received_at + soft
            auction.extensions += 1
            context.set_deadline("end", auction.effective_end)
        super()._accept(auction, bid, context)


def _seen(system: System, what: str, seeds: int = 60, **kinds: Any) -> None:
    check_seen(system, what, seeds, **kinds)


HOUSES: list[tuple[type[AuctionHouse], str]] = [
    (_ClockOfTheLog, "FINISHED, but received|open from|NOT_STARTED"),
    (_KeepsHolds, "was never captured nor released"),
    (_HidesUnpaid, "told as unpaid: 0"),
    (_TellsAnotherAmount, "told as unpaid"),
    (_ForgetsLateHolds, "was never captured nor released"),
    (_DecidesBeforeTheMoney, "held"),
    (_ExtendsForTheLeader, "moved the end"),
]
VALIDATIONS: list[tuple[type[BidValidation], str]] = [
    (_ForgetsTicks, "handed on|should be"),
    (_TimeOfTheClient, "received at"),
    (_TicksRunAhead, "should be"),
]


@pytest.mark.parametrize(("house", "what"), HOUSES, ids=[kind.__name__ for kind, _ in HOUSES])
def test_sees_wrong_houses(house: type[AuctionHouse], what: str) -> None:
    with few_partitions():
        _seen(auction_system(house=house), what)


@pytest.mark.parametrize(("bids", "what"), VALIDATIONS, ids=[kind.__name__ for kind, _ in VALIDATIONS])
def test_sees_wrong_bid_validations(bids: type[BidValidation], what: str) -> None:
    with few_partitions():
        _seen(auction_system(bids=bids), what)


def test_the_topics_are_as_before() -> None:
    before = topics.LOG
    with few_partitions():
        assert topics.LOG.partitions == 2
    assert topics.LOG is before
