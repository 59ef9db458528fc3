"""Chunks read as runs: what a run holds is what the strict reader reads, or there is no run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from schemas.rails import Header, Origin, Position, Record, Source
from transforms.chunks import Chunk, pack_chunk
from transforms.event_runs import RunReader, read_run
from transforms.event_types import EventTypes
from transforms.fold import Run


class Flat(NamedTuple):
    name: str
    n: int
    yes: bool
    x: float
    raw: bytes


class Other(NamedTuple):
    n: int


class Nested(NamedTuple):
    flat: Flat


class Empty(NamedTuple):
    pass


EVENTS = EventTypes({100: Flat, 101: Other, 102: Nested, 103: Empty})


compiled = pytest.mark.skipif(read_run is None, reason="nothing is compiled: all is read record by record")


def log_of(make: Callable[[int], Any], count: int = 50, first: int = 7) -> list[Record]:
    return [Record(first + i, 10**12 + i * i, b"k%d" % i, EVENTS.encode(make(i)), None, ()) for i in range(count)]


def flat(i: int) -> Flat:
    return Flat("é" * i, i - 25, i % 2 == 1, i / 3, bytes((i,)) * i)


def read(log: list[Record], *kinds: type) -> Run | None:
    return RunReader(EVENTS, kinds or (Nested, Other, Flat)).read(pack_chunk("t", 3, log))


@compiled
@pytest.mark.parametrize("make", [flat, Other, lambda i: Nested(flat(i)), lambda i: Empty()])
def test_a_run_holds_the_records(make: Callable[[int], Any]) -> None:
    log = log_of(make)
    run = read(log, Nested, Other, Flat, Empty)
    assert run is not None
    assert [run.record(record.offset) for record in log] == log
    assert run.events == [make(i) for i in range(50)]
    assert {type(event) for event in run.events} == {type(make(0))}
    assert [list(map(type, event)) for event in run.events] == [list(map(type, make(0)))] * 50


@compiled
@pytest.mark.parametrize("place", [0, 20, 49])
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\0\0",
        EVENTS.encode(flat(3))[:-1],
        EVENTS.encode(flat(3)) + b"\0",
        EVENTS.encode(Nested(flat(3))),
        b"\0\0\0\0\7abc",
        EVENTS.encode(flat(3))[:5] + b"\2" * (1 << 20),
    ],
)
def test_what_is_no_event_of_the_kinds_has_none(value: bytes, place: int) -> None:
    """`fold_run` has such a record folded by itself, which makes a dead letter of it."""
    log = log_of(flat)
    log[place] = log[place]._replace(value=value)
    run = read(log, Flat, Other)
    assert run is not None
    assert run.events == [None if i == place else flat(i) for i in range(50)]
    assert run.record(log[place].offset) == log[place]


@compiled
@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"headers": (Header("a", b"b"),)},
        {"offset": 1},
    ],
)
@pytest.mark.parametrize("place", [0, 20, 49])
def test_one_record_of_another_form_and_there_is_no_run(change: dict[str, Any], place: int) -> None:
    log = log_of(flat)
    log[place] = log[place]._replace(**change)
    assert read(log) is None


@compiled
def test_keys_may_be_missing_and_origins_are_read() -> None:
    """Ticks have no key; where the source is that of the record before it is the same object."""
    sources = [Source("s", "t", 0), Source("s", "t", 1), Source("stage", "topic", 1)]
    log = [
        record._replace(
            key=None if i % 7 == 3 else record.key,
            origin=None
            if i % 11 == 5
            else Origin(sources[i // 4 % 3], i, i % 2, Position(i - 1, 0) if i % 3 else None),
        )
        for i, record in enumerate(log_of(flat))
    ]
    run = read(log)
    assert run is not None and [run.record(record.offset) for record in log] == log
    first, second = run.origins[:2]
    assert first is not None and second is not None and first.source is second.source
    assert all(type(o) is Origin and type(o.source) is Source for o in run.origins if o is not None)


@compiled
def test_events_of_several_kinds_come_mixed() -> None:
    log = log_of(lambda i: flat(i) if i % 3 else Other(i))
    run = read(log)
    assert run is not None and run.events == [flat(i) if i % 3 else Other(i) for i in range(50)]


@compiled
def test_a_damaged_chunk_is_no_run() -> None:
    chunk = pack_chunk("t", 0, log_of(Other))
    for payload in (chunk.payload[:-1], chunk.payload + b"\0", chunk.payload[1:], b""):
        assert RunReader(EVENTS, (Other,)).read(chunk._replace(payload=payload)) is None
    assert RunReader(EVENTS, (Other,)).read(Chunk("t", 0, 0, -1, 0, b"")) is None


@compiled
def test_it_gives_up_after_three_chunks_in_vain() -> None:
    good = pack_chunk("t", 0, log_of(Other))
    bad = pack_chunk("t", 0, [record._replace(value=None) for record in log_of(Other)])
    for before, found in ((1, True), (2, True), (3, False)):
        reader = RunReader(EVENTS, (Other,))
        assert [reader.read(bad) for _ in range(before)] == [None] * before
        assert (reader.read(good) is not None) is found
        assert reader.read(bad) is None  # found: counted anew
        assert (reader.read(good) is not None) is found


def test_without_the_compiled_modules_there_are_no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.event_runs.read_run", None)
    assert read(log_of(Other)) is None
