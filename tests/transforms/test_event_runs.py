"""Chunks read as runs: what a run holds is what the strict reader reads, or there is no run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from schemas.rails import Header, Origin, Record, Source
from transforms.chunks import Chunk, pack_chunk, pack_chunks, unpack_chunk
from transforms.event_runs import RunReader, join_chunks
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


class Swapped(NamedTuple):
    b: int
    a: int


EVENTS = EventTypes({100: Flat, 101: Other, 102: Nested, 103: Empty})


def log_of(make: Callable[[int], Any], count: int = 50, first: int = 7) -> list[Record]:
    return [Record(first + i, 10**12 + i * i, b"k%d" % i, EVENTS.encode(make(i)), None, ()) for i in range(count)]


def flat(i: int) -> Flat:
    return Flat("é" * i, i - 25, i % 2 == 1, i / 3, bytes((i,)) * i)


def read(log: list[Record], *kinds: type) -> Run | None:
    return RunReader(EVENTS, kinds or (Nested, Other, Flat)).read(pack_chunk("t", 3, log))


@pytest.mark.parametrize("make", [flat, Other])
def test_a_run_holds_the_records(make: Callable[[int], Any]) -> None:
    log = log_of(make)
    run = read(log)
    assert run is not None
    assert [run.record(record.offset) for record in log] == log
    assert run.events == [make(i) for i in range(50)]
    assert {type(event) for event in run.events} == {type(make(0))}
    assert [list(map(type, event)) for event in run.events] == [list(map(type, make(0)))] * 50


@pytest.mark.parametrize(
    "change",
    [
        {"key": None},
        {"value": None},
        {"value": b""},
        {"value": EVENTS.encode(flat(3))[:-1]},
        {"value": EVENTS.encode(flat(3)) + b"\0"},
        {"value": EVENTS.encode(Other(3))},
        {"origin": Origin(Source("s", "t", 0), 1, 0, None)},
        {"headers": (Header("a", b"b"),)},
        {"offset": 1},
    ],
)
@pytest.mark.parametrize("place", [0, 20, 49])
def test_one_record_of_another_form_and_there_is_no_run(change: dict[str, Any], place: int) -> None:
    log = log_of(flat)
    log[place] = log[place]._replace(**change)
    assert read(log) is None


def test_kinds_that_have_no_columns_are_read_record_by_record() -> None:
    assert read(log_of(lambda i: Nested(flat(i)))) is None
    assert read(log_of(lambda i: Empty()), Empty) is None
    assert read(log_of(flat), Other) is None
    assert read(log_of(flat, count=5)) is None  # a few are decoded sooner one by one


def test_a_type_whose_fields_stand_otherwise_is_not_built_by_column() -> None:
    events = EventTypes({100: Other})
    events._writers[Swapped] = events._writers[Other]  # as a generated type that is no longer like its schema
    assert RunReader(events, (Swapped,))._scans == []


def test_it_gives_up_after_three_chunks_in_vain() -> None:
    good, bad = (pack_chunk("t", 0, log_of(make)) for make in (Other, lambda i: Nested(flat(i))))
    for before, found in ((1, True), (2, True), (3, False)):
        reader = RunReader(EVENTS, (Other,))
        assert [reader.read(bad) for _ in range(before)] == [None] * before
        assert (reader.read(good) is not None) is found
        assert reader.read(bad) is None  # found: counted anew
        assert (reader.read(good) is not None) is found


def test_chunks_are_joined_up_to_a_size_and_none_is_cut() -> None:
    log = log_of(Other, count=25, first=0)
    chunks = list(pack_chunks("t", 3, log, size=4))
    joined = list(join_chunks(chunks, size=10))
    assert [chunk.count for chunk in joined] == [8, 8, 9]
    assert [record for chunk in joined for record in unpack_chunk(chunk)] == log
    assert [chunk.clock for chunk in joined] == [chunk.clock for chunk in chunks[:5:2]]
    assert [chunk.count for chunk in join_chunks(chunks, size=1)] == [4, 4, 4, 4, 4, 4, 1]
    assert list(join_chunks([])) == []


def test_chunks_that_do_not_follow_one_another_stay_apart() -> None:
    first, _, third = pack_chunks("t", 3, log_of(Other, count=12, first=0), size=4)
    assert list(join_chunks([first, third])) == [first, third]
    empty = Chunk("t", 3, 4, -1, 0, b"")
    assert list(join_chunks([first, empty])) == [first]
