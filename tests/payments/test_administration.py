"""Commands of an administrator as records: where they stand, and that a repeat changes nothing."""

import pytest

from payments import topics
from payments.accounts import AccountProcessor
from payments.administration import account_lines, rule_lines, version_lines
from payments.live_stages import ACCOUNTS, WATCHDOG
from schemas.payments import AccountOpened
from schemas.rails import Record, Rule, Version
from transforms.fold import Shard, UnknownVersion
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments")
OPENED = AccountOpened("o1", "alice", 0, "EUR", 0, None, False, 5)


def shard(partition: int) -> Shard:
    return Shard(AccountProcessor(), "t", partition, topics.INFLIGHT.partitions, REGISTRY.decode)


def fold(into: Shard, lines: list[tuple[str, int, bytes | None, bytes]]) -> None:
    for _, partition, key, value in lines:
        if partition == into.source.partition:
            into.step(Record(into.offset, 1, key, value, None, ()))


def test_a_change_of_an_account_stands_on_its_own_partition_and_counts_once() -> None:
    lines = account_lines(OPENED, REGISTRY.encode)
    assert [(topic, key) for topic, _, key, _ in lines] == [("payments.inflight", b"alice")]
    accounts = shard(lines[0][1])
    fold(accounts, [*lines, *lines])
    assert accounts.entities["alice"].settings == 1
    assert accounts.counts.as_dict() | {"ticks": 0} == {
        "applied": 1, "dead_lettered": 0, "duplicate": 1, "late": 0, "ticks": 0
    }  # fmt: skip


def test_a_rule_stands_on_every_partition_and_counts_once() -> None:
    lines = rule_lines("r1", "night", 3, True, {"interval_ms": 1000, "max_count": 2}, REGISTRY.encode)
    assert [partition for _, partition, _, _ in lines] == list(range(16)) and {key for *_, key, _ in lines} == {None}
    assert REGISTRY.decode(lines[0][3]) == Rule("r1", "velocity:night", 3, True, {"interval_ms": 1000, "max_count": 2})
    accounts = shard(3)
    fold(accounts, [*lines, *lines])
    assert accounts.shared.rules["velocity:night"].max_count == 2 and accounts.counts.duplicate == 1
    assert REGISTRY.decode(rule_lines("r2", "", 1, False, {}, REGISTRY.encode)[0][3]).name == "velocity"


@pytest.mark.parametrize("stage", ["payments.accounts", "payments.watchdog"])
def test_a_version_stands_on_every_partition_of_what_the_stage_reads(stage: str) -> None:
    lines = version_lines("v1", (ACCOUNTS, WATCHDOG), stage, 2, REGISTRY.encode)
    assert {topic for topic, *_ in lines} == {
        "payments.inflight" if stage == "payments.accounts" else "payments.status"
    }
    assert REGISTRY.decode(lines[15][3]) == Version(stage, 2, "v1")
    if stage == "payments.accounts":
        with pytest.raises(UnknownVersion):
            fold(shard(0), lines)


@pytest.mark.parametrize("stage", ["payments.admission", "nobody"])
def test_a_version_of_a_stage_that_takes_none(stage: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of payments\.accounts, payments\.watchdog, got"):
        version_lines("v1", (ACCOUNTS, WATCHDOG), stage, 2, REGISTRY.encode)
