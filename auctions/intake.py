"""How events of clients come in when there is no broker yet: topic and key that an event has, and the time that stands in it."""

from collections.abc import Iterable
from typing import Any

from auctions import topics
from schemas.auctions import BidPlaced, BidRetracted, ItemCancelled, ItemListed
from schemas.rails import Tick
from transforms.fold import Topic

CLIENT_EVENTS = (ItemListed, ItemCancelled, BidPlaced, BidRetracted)


def client_topic(event: Any) -> Topic | None:
    """The topic that clients write the event to; a Tick is the ticker's, on every partition of auction.bids. None for any other event."""
    if isinstance(event, ItemListed | ItemCancelled):
        return topics.ITEMS
    return topics.BIDS if isinstance(event, BidPlaced | BidRetracted | Tick) else None


def client_key(event: Any) -> str | None:
    """The key that the event has on its topic; None for what stands on every partition."""
    return event.auction_id if isinstance(event, CLIENT_EVENTS) else None


def client_places(event: Any, key: bytes | None) -> Iterable[tuple[str, int]]:
    """(topic name, partition) of everywhere that the event is appended, under this key; what no client writes goes where bids without a key
    go, and is a dead letter there.
    """
    topic = client_topic(event) or topics.BIDS
    if isinstance(event, Tick):
        return [(topic.name, number) for number in range(topic.partitions)]
    return [(topic.name, topic.partition_of(key))]
