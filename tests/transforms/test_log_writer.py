"""What the writer keeps back and when it leaves; against a producer that notes. All else: tests/stack/test_fold_log_clients.py."""

import math
from typing import Any

import pytest

from transforms import log_writer
from transforms.log_writer import LogWriter, OutputTooLarge, WriteKnobs, Written

KNOBS = WriteKnobs(hold_ms=100, held=frozenset({"slow", "slower"}))


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now


class FakeProducer:
    """Notes what it is given, and when it is flushed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.given: list[tuple[str, int, bytes]] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, *_: Any) -> None:
        self.given.append((topic, partition, value))

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        self.given.append(("flush", -1, b""))
        return 0

    def purge(self) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(log_writer, "Producer", FakeProducer)
    monkeypatch.setattr(log_writer, "time", made)
    return made


def output(topic: str, number: int) -> Written:
    return topic, number % 2, b"k", b"%d" % number, []


def given(writer: LogWriter) -> list[tuple[str, int, bytes]]:
    found, writer._producer.given = writer._producer.given, []
    return found


def test_topics_that_are_held_leave_together_after_a_moment(clock: Clock) -> None:
    writer = LogWriter({}, KNOBS)
    writer.write([output("slow", 1), output("soon", 2), output("slower", 3)])
    assert given(writer) == [("soon", 0, b"2")]
    clock.now += 0.06
    writer.write([output("slow", 4)])
    writer.poll()
    assert given(writer) == [], "what came first waits for at most hold_ms, and what came later goes with it"
    clock.now += 0.05
    writer.poll()
    assert given(writer) == [("slow", 1, b"1"), ("slower", 1, b"3"), ("slow", 0, b"4")]
    clock.now += 1
    writer.poll()
    assert given(writer) == []


def test_a_flush_sends_what_is_held_first(clock: Clock) -> None:
    writer = LogWriter({}, KNOBS)
    writer.write([output("slow", 1), output("slow", 3)])
    writer.flush()
    assert given(writer) == [("slow", 1, b"1"), ("slow", 1, b"3"), ("flush", -1, b"")]


def test_a_second_moment_begins_with_the_next_record(clock: Clock) -> None:
    writer = LogWriter({}, KNOBS)
    writer.write([output("slow", 1)])
    writer.flush()
    clock.now += 1
    writer.write([output("slow", 2)])
    writer.poll()
    assert given(writer)[2:] == []
    clock.now += 0.1
    writer.poll()
    assert given(writer) == [("slow", 0, b"2")]


def test_it_says_when_what_is_held_is_due(clock: Clock) -> None:
    writer = LogWriter({}, KNOBS)
    writer.write([output("soon", 1)])
    assert writer.due_s == math.inf
    writer.write([output("slow", 2)])
    clock.now += 0.06
    writer.write([output("slow", 4)])
    assert writer.due_s == pytest.approx(0.04)
    clock.now += 1
    assert writer.due_s == 0
    writer.release()
    assert writer.due_s == math.inf and given(writer)[1:] == [("slow", 0, b"2"), ("slow", 0, b"4")]


def test_nothing_is_held_without_a_time(clock: Clock) -> None:
    writer = LogWriter({}, WriteKnobs(held=frozenset({"slow"})))
    writer.write([output("slow", 1)])
    assert given(writer) == [("slow", 1, b"1")]


def test_what_is_held_is_measured_too(clock: Clock) -> None:
    writer = LogWriter({}, WriteKnobs(hold_ms=100, held=KNOBS.held, max_bytes=10_000))
    writer.write([("slow", 0, b"k", bytes(10_000), [])])
    with pytest.raises(OutputTooLarge, match="slow/0: a value of 10000 bytes"):
        writer.flush()


def test_a_hold_below_nothing() -> None:
    with pytest.raises(ValueError, match="hold_ms"):
        WriteKnobs(hold_ms=-1)
