"""What an administrator's command becomes on the log: events with an id and the settings version that the sender saw (contract line 11).

Accounts hear of a change on their own partition of payments.inflight; what every account or stage must hear, a rule or a version, is
written to every partition. A command that is sent twice takes effect once: the same bytes are a duplicate, others are refused because
the settings have moved on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from payments import topics
from payments.live_stages import StageKind
from payments.settings import VELOCITY
from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened
from schemas.rails import Rule, Version

AccountEvent = AccountOpened | AccountLimited | AccountFrozen | AccountClosed

Written = tuple[str, int, bytes | None, bytes]
"""topic, partition, key, value."""


def account_lines(event: AccountEvent, encode: Callable[[Any], bytes]) -> list[Written]:
    """A change of one account."""
    key = event.account_id.encode()
    return [(topics.INFLIGHT.name, topics.INFLIGHT.partition_of(key), key, encode(event))]


def rule_lines(
    admin_id: str, name: str, version: int, active: bool, parameters: Mapping[str, int], encode: Callable[[Any], bytes]
) -> list[Written]:
    """A velocity rule, on every partition. `name` tells it from other velocity rules; empty is the one without a name."""
    value = encode(Rule(admin_id, f"{VELOCITY}:{name}" if name else VELOCITY, version, active, dict(parameters)))
    return [(topics.INFLIGHT.name, number, None, value) for number in range(topics.INFLIGHT.partitions)]


def version_lines(
    admin_id: str, kinds: Iterable[StageKind], stage: str, number: int, encode: Callable[[Any], bytes]
) -> list[Written]:
    """Pins the rules of a stage from where it stands on each partition of its topic; ValueError if it is not one of `kinds`."""
    found = {kind.stage: kind for kind in kinds}
    if stage not in found:
        raise ValueError(f"must be one of {', '.join(sorted(found))}, got {stage!r}")
    topic, value = found[stage].topic, encode(Version(stage, number, admin_id))
    return [(topic.name, partition, None, value) for partition in range(topic.partitions)]
