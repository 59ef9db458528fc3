"""The stages of the auction platform by name: what each reads and writes, and how its processor is made."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from auctions import analytics_topics, topics
from auctions.backing import Backing
from auctions.bids import BidValidation
from auctions.fraud_people import FraudPeople
from auctions.fraud_traces import FraudTraces
from auctions.funds import Funds
from auctions.geography import read_geo_ip
from auctions.house import AuctionHouse
from auctions.items import ItemValidation
from auctions.live_stages import BIDS, FUNDS, HOUSE, ITEMS
from auctions.live_stages import TICKED as BIDDING_TICKED
from auctions.notices import QUIET_MS, Notices
from auctions.placement import AdPlacer, AdRequests
from auctions.price_ranges import PriceRanges, Sales
from auctions.spread import Spreads
from payments.live_stages import StageKind
from pipelines.common import check_range
from pipelines.files import check_inputs
from pipelines.registry import REGISTRY
from transforms.fold import DEAD_LETTERS, Processor, Topic
from transforms.fold_bounded import Engine
from transforms.loop import Stage
from transforms.secret_references import SecretError, check_reference, resolve
from transforms.topic_settings import DAY_MS, TopicSettings


@dataclass(frozen=True)
class Rules:
    """What the flags say about the rules; a log is replayed as it was with the same ones. Times in ms of the log."""

    geo: str = ""  # file of networks and places; "": addresses of the network are not looked up
    refuse_mismatch: bool = False
    soon_ms: int = 600_000
    answer_ms: int = 60_000
    quiet_ms: int = QUIET_MS
    backing_key: str = ""  # reference to the key of the payment ids; the key itself is on workers alone


class AuctionStage(NamedTuple):
    """A stage: what it reads and writes, and its processor by the rules."""

    kind: StageKind
    make: Callable[[Rules], Processor]


def _bids(rules: Rules) -> Processor:
    return BidValidation(read_geo_ip(Path(rules.geo)) if rules.geo else None, rules.refuse_mismatch)


def _house(rules: Rules) -> Processor:
    return AuctionHouse(rules.soon_ms, rules.answer_ms, backing=backing_of(rules.backing_key))


def backing_of(reference: str) -> Backing:
    """With the key that the value of --backing_key refers to, on the worker that needs it. SecretError where there is none of this size."""
    if not reference:
        return Backing()
    try:
        return Backing(resolve("--backing_key", reference).encode())
    except ValueError as error:
        raise SecretError(f"--backing_key: {error}") from None


def _kind(processor: type[Processor], topic: Topic, *writes: Topic, upserts: tuple[Topic, ...] = ()) -> StageKind:
    return StageKind(processor.stage, topic, (*writes, DEAD_LETTERS), upserts)


STAGES: dict[str, AuctionStage] = {
    "Items": AuctionStage(ITEMS, lambda rules: ItemValidation()),
    "Bids": AuctionStage(BIDS, _bids),
    "House": AuctionStage(HOUSE, _house),
    "Funds": AuctionStage(FUNDS, lambda rules: Funds(backing_of(rules.backing_key))),
    "Notices": AuctionStage(
        _kind(Notices, topics.HISTORY, topics.NOTICES), lambda rules: Notices(quiet_ms=rules.quiet_ms)
    ),
    "Spreads": AuctionStage(_kind(Spreads, topics.HISTORY, analytics_topics.SPREADS), lambda rules: Spreads()),
    "Sales": AuctionStage(_kind(Sales, topics.HISTORY, analytics_topics.SALES), lambda rules: Sales()),
    "Prices": AuctionStage(
        _kind(PriceRanges, analytics_topics.SALES, analytics_topics.SALES, topics.LOG, upserts=(topics.PRICES,)),
        lambda rules: PriceRanges(),
    ),
    "AdRequests": AuctionStage(
        _kind(AdRequests, topics.HISTORY, analytics_topics.REQUESTS), lambda rules: AdRequests()
    ),
    "Ads": AuctionStage(_kind(AdPlacer, analytics_topics.REQUESTS, topics.ADS), lambda rules: AdPlacer()),
    "Traces": AuctionStage(
        _kind(FraudTraces, topics.HISTORY, analytics_topics.TRACES, topics.ALERTS), lambda rules: FraudTraces()
    ),
    "People": AuctionStage(_kind(FraudPeople, analytics_topics.TRACES, topics.ALERTS), lambda rules: FraudPeople()),
}
"""By the name of their live root; their order is that of the flow."""

BIDDING = ("Items", "Bids", "House", "Funds")
ANALYTICS = ("Spreads", "Sales", "Prices", "AdRequests", "Ads")
FRAUD = ("Traces", "People")
NAMES = tuple(STAGES)

ALL = tuple(dict.fromkeys((*topics.ALL, *analytics_topics.ALL)))
SETTINGS: tuple[TopicSettings, ...] = (*topics.SETTINGS, *analytics_topics.SETTINGS)
CLIENT_TOPICS = (topics.ITEMS, topics.BIDS)
TICKED = (*BIDDING_TICKED, topics.HISTORY)
"""Quiet periods end by the clock of the history."""


def loop_stages(rules: Rules, names: Sequence[str] = NAMES) -> list[Stage]:
    """The stages as the in-memory loop runs them."""
    return [Stage(STAGES[name].make(rules), STAGES[name].kind.topic) for name in names]


def auction_engine(name: str, rules: Rules, topic_id: str = "") -> Engine:
    """One stage for a driver; `topic_id` is for replays, live lanes find it themselves."""
    stage = STAGES[name]
    topic = Topic(stage.kind.topic.name, stage.kind.topic.partitions, topic_id)
    return Engine(Stage(stage.make(rules), topic), REGISTRY)


def engine_maker(name: str, rules: Rules, topic_id: str = "") -> Callable[[], Engine]:
    return partial(auction_engine, name, rules, topic_id)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The flags of `Rules`."""
    default = Rules()
    parser.add_argument(
        "--geo", default=default.geo, help="CSV of networks and places (network, latitude, longitude …)"
    )
    parser.add_argument(
        "--refuse_mismatch", action="store_true", help="refuse bids from another country than their bidder says"
    )
    parser.add_argument("--soon_ms", type=int, default=default.soon_ms, help="'ending soon' comes so long before, ms")
    parser.add_argument(
        "--answer_ms", type=int, default=default.answer_ms, help="bids may wait so long for their money at the end, ms"
    )
    parser.add_argument("--quiet_ms", type=int, default=default.quiet_ms, help="quiet after a notice 'outbid', ms")
    add_backing_key(parser)


def add_backing_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backing_key",
        default="",
        help="key of the payment ids behind bids, which can be guessed without one: env:NAME or file:/PATH",
    )


def check_backing_key(options: Any) -> str:
    """The flag of `add_backing_key`; SecretError unless it is a reference, or empty."""
    reference: str = options.backing_key
    if reference:
        check_reference("--backing_key", reference)
    return reference


def rules_of(options: Any) -> Rules:
    """UsageError for a flag of `add_rules` that is out of range, or a file that is missing; SecretError for a key that is no reference."""
    check_range(options, soon_ms=(1, 400 * DAY_MS), answer_ms=(1, DAY_MS), quiet_ms=(0, 30 * DAY_MS))
    geo = options.geo and str(Path(check_inputs(options.geo, "--geo")[0]).absolute())
    key = check_backing_key(options)
    return Rules(geo, options.refuse_mismatch, options.soon_ms, options.answer_ms, options.quiet_ms, key)
