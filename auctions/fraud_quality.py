"""How well the fraud signals find the cheats of a market (`auctions.market`): precision and recall, per signal and strength.

The market's bids go through the auction house and both stages of fraud, the same classes that run live. A cheat is one person, or all
who do it together; a person is alerted if an alert of the signal names them first.

    recall     share of the cheats of that kind of whom somebody was alerted
    precision  share of the persons alerted who cheat, in whatever way (a shill bids with one seller alone, so OVERLAP finds them too)

The thresholds were chosen on seeds 1 and 2. `python -m auctions.fraud_quality` prints the table of docs/fraud.md, of seeds 11 to 15.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple, get_args

from auctions import topics
from auctions.analytics_topics import TRACES
from auctions.fraud_people import FraudPeople
from auctions.fraud_traces import FraudTraces
from auctions.geography import CITIES, cell_of, network_of
from auctions.house import AuctionHouse
from auctions.market import Cheat, Market, Planned
from schemas.auctions import Alert, BidPlaced, BidReceived, BidsClock, ItemListed, RetractionReceived, Signal
from schemas.rails import Record, Rule
from transforms.fold import Processor, Shard
from transforms.registry import Registry

STRENGTHS = (1.0, 0.75, 0.5)

TRUTH: dict[Signal, Signal] = {"OVERLAP": "SHILL"}
"""Whom a signal is to find, where that is not the kind of cheat of the same name."""

_NETWORKS = {
    str(network_of(n)).rpartition(".")[0]: cell_of(place.lat, place.lon) for n, (_, place) in enumerate(CITIES)
}


class Quality(NamedTuple):
    """How well a signal did."""

    signal: Signal
    cheats: int
    found: int  # of the cheats
    alerted: int  # persons
    honest: int  # of these, persons who do not cheat at all

    @property
    def recall(self) -> float:
        return self.found / self.cheats if self.cheats else 1.0

    @property
    def precision(self) -> float:
        return 1 - self.honest / self.alerted if self.alerted else 1.0


def histories(plan: Iterable[Planned]) -> list[tuple[int, object]]:
    """(time, event) of auction.bids.history for what a market has planned, all in one partition."""
    received: list[tuple[int, object]] = []
    last = 0
    for at, event in plan:
        last = max(last, at)
        if isinstance(event, BidPlaced):
            cell = _NETWORKS[(event.ip or "").rpartition(".")[0]]
            bid = event.bid_id, event.auction_id, event.bidder_id, event.bidder_id, event.maximum
            received.append((at, BidReceived(*bid, at, cell, None, event.ip, ())))
        elif isinstance(event, ItemListed):
            received.append((at, event))
            last = max(last, event.ends_at)
        else:
            received.append((at, RetractionReceived(*event, at)))
    received.append((last + 3_600_000, BidsClock(last + 3_600_000)))
    return [
        (at, event)
        for at, topic, event in fold_all(AuctionHouse(), topics.LOG.name, received)
        if topic == topics.HISTORY.name
    ]


def fold_all(
    processor: Processor, topic: str, events: Iterable[tuple[int, object]]
) -> Iterator[tuple[int, str, object]]:
    """(time, topic, event) of all that the processor writes when one partition holds all events."""
    shard = Shard(processor, topic, 0, 1, Registry.of("rails", "payments", "auctions").decode)
    for offset, (at, event) in enumerate(events):
        key = processor.key(event)
        for output in shard.step(Record(offset, at, None if key is None else key.encode(), b"\0", None, ()), event):
            yield at, output.topic, output.event


def alerts_of(history: Iterable[tuple[int, object]], rules: Iterable[Rule] = ()) -> list[Alert]:
    """The alerts of both stages, with these rules in force from the start."""
    said = [(0, rule) for rule in rules]
    alerts: list[Alert] = []
    traces: list[tuple[int, object]] = [*said]
    for at, topic, event in fold_all(FraudTraces(), topics.HISTORY.name, [*said, *history]):
        if topic == TRACES.name:
            traces.append((at, event))
        elif isinstance(event, Alert):
            alerts.append(event)
    alerts += [event for _, _, event in fold_all(FraudPeople(), TRACES.name, traces) if isinstance(event, Alert)]
    return alerts


def quality(alerts: Iterable[Alert], truth: Iterable[Cheat]) -> list[Quality]:
    """A row per signal, in the order of the schema."""
    truth = list(truth)
    guilty = {person for cheat in truth for person in cheat.persons}
    named: dict[str, set[str]] = {}
    for alert in alerts:
        named.setdefault(alert.signal, set()).add(alert.persons[0])
    rows = []
    for signal in get_args(Signal):
        wanted = [cheat.persons for cheat in truth if cheat.kind == TRUTH.get(signal, signal)]
        alerted = named.get(signal, set())
        found = sum(not alerted.isdisjoint(persons) for persons in wanted)
        rows.append(Quality(signal, len(wanted), found, len(alerted), len(alerted - guilty)))
    return rows


def measure(strength: float, seed: int = 1, auctions: int = 500) -> list[Quality]:
    """A market of that strength, played and judged."""
    market = Market(seed=seed, auctions=auctions, strength=strength)
    return quality(alerts_of(histories(market.plan())), market.cheats())


def table(seeds: Iterable[int], auctions: int = 500) -> str:
    """The rows for all strengths as a table in Markdown, summed over the seeds."""
    lines = [
        "| signal | strength | cheats | found | recall | alerted | honest | precision |",
        "|---|---|---|---|---|---|---|---|",
    ]
    seeds = list(seeds)
    measured = {strength: [measure(strength, seed, auctions) for seed in seeds] for strength in STRENGTHS}
    for index, signal in enumerate(get_args(Signal)):
        for strength, runs in measured.items():
            figures = [sum(column) for column in zip(*(run[index][1:] for run in runs), strict=True)]
            row = Quality(signal, *figures)
            rates = f"{row.recall:.2f} | {row.alerted} | {row.honest} | {row.precision:.2f}"
            lines.append(f"| {signal} | {strength} | {row.cheats} | {row.found} | {rates} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Prints the table for seeds from the first argument (11) up to the second (15)."""
    first, last = map(int, argv) if argv else (11, 15)
    print(table(range(first, last + 1)))


if __name__ == "__main__":
    main(sys.argv[1:])
