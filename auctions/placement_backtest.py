"""The back-test of ad placement on history (A8), with the processors that run live.

The histories of past auctions go through `AdRequests` and `AdPlacer`; a placement is a hit if the person, who had not bid there, bids on
the auction that was shown after that. The same is done with auctions chosen by chance and by popularity, under the same caps. Only
placements from `since` on count: what is before is for whoever chose the weights, and fills the shelf.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from auctions import topics
from auctions.analytics_topics import REQUESTS
from auctions.check_placements import check_placements
from auctions.placement import AT_RANDOM, MOST_POPULAR, SIMILAR, AdPlacer, AdRequests, Caps, Chooser
from auctions.stories import OFFERS, HistoryEvent
from schemas.auctions import AdPlacement, BidDecision
from schemas.rails import Record
from transforms.fold import Processor, Shard, Topic
from transforms.registry import Registry

CHOOSERS: Mapping[str, Chooser] = {"similar": SIMILAR, "most popular": MOST_POPULAR, "random": AT_RANDOM}

class Result(NamedTuple):
    """How a way to choose has done."""

    placements: int
    hits: int

    @property
    def rate(self) -> float:
        return self.hits / self.placements if self.placements else 0.0


class BackTest(NamedTuple):
    """Results by the name of the way to choose, and what the checker has found, which must be nothing."""

    results: dict[str, Result]
    wrong: list[str]

    def lift(self, over: str, of: str = "similar") -> float | None:
        """How many times the rate of `over` that of `of` is; None where `over` never hit."""
        base = self.results[over].rate
        return self.results[of].rate / base if base else None


def back_test(
    history: Iterable[tuple[int, HistoryEvent]],
    since: int,
    caps: Caps | None = None,
    choosers: Mapping[str, Chooser] = CHOOSERS,
) -> BackTest:
    """`history`: (time of the log, event) of whole auctions, by time. `since` (ms): placements before it do not count."""
    told, caps = list(history), caps or Caps()
    firsts: dict[tuple[str, str], int] = {}  # (bidder, auction) → time of the first bid
    for at, event in told:
        if isinstance(event, BidDecision) and event.status in OFFERS and not event.automatic:
            firsts.setdefault((event.bidder_id, event.auction_id), at)
    topic = Topic(REQUESTS.name, 1)
    requests = _fold(AdRequests(topic), topics.HISTORY.name, told)
    results, wrong = {}, []
    for name, chooser in choosers.items():
        placed: list[tuple[int, AdPlacement]] = _fold(AdPlacer(caps, chooser), topic.name, requests)
        read = ((offset, at, event) for offset, (at, event) in enumerate(requests))
        wrong += [f"{name}: {what}" for what in check_placements(read, [event for _, event in placed], caps)]
        counted = [event for at, event in placed if at >= since]
        new = [p for p in counted if firsts.get((p.person, p.auction_id), p.at) >= p.at]  # had not bid there before
        hits = sum((p.person, p.auction_id) in firsts for p in new)
        results[name] = Result(len(new), hits)
    return BackTest(results, wrong)


def _fold(processor: Processor, topic: str, events: Iterable[tuple[int, Any]]) -> list:  # type: ignore[type-arg]
    """(time, event) of all that the processor writes when one partition holds all events."""
    registry = Registry.of("rails", "payments", "auctions")
    shard = Shard(processor, topic, 0, 1, registry.decode)
    outputs = []
    for offset, (at, event) in enumerate(events):
        key = processor.key(event)
        record = Record(offset, at, None if key is None else key.encode(), b"\0", None, ())
        outputs += [(at, output.event) for output in shard.step(record, event)]
    return outputs
