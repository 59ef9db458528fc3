"""Clients of a live system: when records are sent, where they go, and what times they claim."""

from pathlib import Path

import pytest

from payments import topics
from pipelines.live_payments import Sent, from_files, generated, moved, send
from pipelines.registry import REGISTRY
from schemas.payments import AccountOpened, Money, PaymentInitiated
from schemas.rails import Header, Record, Rule
from transforms.record_files import write_record_file

PAID = PaymentInitiated("p", "DEPOSIT", None, "a", Money(5, "EUR"), None, None, None, None, "app", 3)
OPENED = AccountOpened("o", "a", 0, "EUR", 0, None, False, 3)
RULE = Rule("r", "velocity", 1, False, {})


def record(at: int, event: object) -> Record:
    key = None if event is RULE else b"p" if event is PAID else b"a"
    return Record(0, at, key, REGISTRY.encode(event), None, (Header("h", b""),))


class Clock:
    """Time passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 10.0
        self.log: list[object] = []
        self.stop_at = float("inf")

    def write(self, lines: list[object]) -> None:
        self.log += [(self.now, *line) for line in lines]  # type: ignore[misc]

    def flush(self) -> None:
        self.log.append("flush")

    def stopped(self, seconds: float) -> bool:
        assert 0 <= seconds <= 0.02
        self.now += seconds
        return self.now >= self.stop_at


def test_each_record_is_sent_when_its_time_has_come() -> None:
    clock = Clock()
    records = [record(10_000, PAID), record(10_000, PAID), record(10_500, PAID)]
    assert send(records, clock, clock.stopped, now=lambda: clock.now) == Sent(3, 0)  # type: ignore[arg-type]
    times = [entry[0] for entry in clock.log if entry != "flush"]
    assert times == pytest.approx([10.0, 10.0, 10.5]) and clock.log[-1] == "flush"


def test_a_payment_does_not_overtake_the_opening_of_its_account() -> None:
    clock = Clock()
    records = [record(1, OPENED), record(1, RULE), record(1, PAID), record(1, PAID)]
    assert send(records, clock, clock.stopped, now=lambda: clock.now) == Sent(2, 2)  # type: ignore[arg-type]
    sent = [entry if entry == "flush" else entry[1] for entry in clock.log]
    assert sent == [topics.INFLIGHT.name] * 17 + ["flush"] + [topics.INCOMING.name] * 2 + ["flush"]


def test_it_stops_when_told_to_between_records_and_when_it_cannot_keep_up() -> None:
    clock = Clock()
    clock.stop_at = 10.05
    assert send([record(99_000, PAID)], clock, clock.stopped, now=lambda: clock.now) == Sent(0, 0)  # type: ignore[arg-type]
    assert clock.now == pytest.approx(10.06, abs=0.02)
    late = (record(1, PAID) for _ in range(10_000))
    assert send(late, clock, clock.stopped, now=lambda: clock.now) == Sent(0, 0)  # type: ignore[arg-type]
    clock.stop_at = float("inf")
    told: list[Sent] = []
    late = (record(1, PAID) for _ in range(1_200))
    send(late, clock, clock.stopped, told.append, lambda: clock.now)  # type: ignore[arg-type]
    assert told == [Sent(0, 0), Sent(500, 0), Sent(1_000, 0), Sent(1_200, 0)]


def test_records_are_moved_to_now_with_the_times_that_they_claim() -> None:
    assert REGISTRY.decode(moved(record(1, PAID), 99).value or b"") == PAID._replace(requested_at=99)
    assert moved(record(1, RULE), 99) == record(99, RULE)._replace(headers=())
    garbage = Record(0, 1, b"k", b"\xff", None, ())
    assert moved(garbage, 99) == garbage._replace(at=99)
    assert moved(garbage._replace(value=None), 99).value is None


def test_files_are_played_at_a_rate_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "raw.avro"
    write_record_file(path, [record(5, OPENED), record(7, PAID), record(10**12, PAID)])
    played = list(from_files([str(path)], 4, lambda: 100.0))
    assert [each.at for each in played] == [100_000, 100_250, 100_500]
    assert REGISTRY.decode(played[1].value or b"").requested_at == 100_250


def test_the_generator_begins_now() -> None:
    records = list(generated(1_000, 45, 3, 1_800_000_000_000, 100))
    assert records[0].at == 1_800_000_000_000 and records[-1].at < 1_800_000_003_000
    assert records == list(generated(1_000, 45, 3, 1_800_000_000_000, 100))
