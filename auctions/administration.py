"""What an administrator's command becomes on the topics of auctions: thresholds of fraud, and an auction that is taken off.

Thresholds are a Rule on every partition of the topics whose stages have them, so each shard changes at its own place in its log, and a
replay changes there too. An auction is taken off as its seller would do it: by an event of its own on auction.items.
"""

from collections.abc import Callable, Mapping
from typing import Any

from auctions import analytics_topics, topics
from auctions.backing import is_id
from auctions.fraud_rules import BUILT_IN, rule_error
from auctions.items import MAX_REASON_CHARS
from payments.administration import Written
from schemas.auctions import ItemCancelled
from schemas.rails import Rule

RULED = (topics.HISTORY, analytics_topics.TRACES)
"""Topics whose stages have thresholds of fraud."""


def threshold_lines(
    admin_id: str, name: str, version: int, active: bool, parameters: Mapping[str, int], encode: Callable[[Any], bytes]
) -> list[Written]:
    """A Rule for a signal of fraud; ValueError for what its stage would refuse."""
    if name not in BUILT_IN:
        raise ValueError(f"must be one of {', '.join(BUILT_IN)}, got {name!r}")
    wrong = rule_error(name, parameters)
    if wrong is not None:
        raise ValueError(wrong)
    value = encode(Rule(admin_id, name, version, active, dict(parameters)))
    return [(topic.name, number, None, value) for topic in RULED for number in range(topic.partitions)]


def cancel_lines(auction_id: str, reason: str, encode: Callable[[Any], bytes]) -> list[Written]:
    """Takes an auction off that is not over; ValueError for what validation would refuse."""
    if not is_id(auction_id):
        raise ValueError(f"no id of an auction: {auction_id!r}")
    if len(reason) > MAX_REASON_CHARS:
        raise ValueError(f"at most {MAX_REASON_CHARS} characters of reason, got {len(reason)}")
    key = auction_id.encode()
    return [(topics.ITEMS.name, topics.ITEMS.partition_of(key), key, encode(ItemCancelled(auction_id, reason)))]
