"""Schemas derived from NamedTuples."""

import io
import pickle
from typing import Any, NamedTuple, Optional

import fastavro
import pytest

from schemas.rails import Tick
from transforms.chunks import Chunk
from transforms.errors import BadRecord
from transforms.event_types import EventTypes, codec_of, pack_events, unpack_events
from transforms.fold import Topic


class Inner(NamedTuple):
    n: int


class Everything(NamedTuple):
    text: str
    number: int
    raw: bytes
    flag: bool
    real: float
    inner: Inner
    maybe: str | None
    perhaps: Optional[Inner]  # noqa: UP045 - the old way must work too
    many: tuple[Inner, ...]
    named: dict[str, int]


FULL = Everything("é", -5, b"\0", True, 0.5, Inner(1), None, Inner(2), (Inner(3), Inner(4)), {"a": 1})


def test_every_type_goes_round_and_is_plain_avro() -> None:
    codec = codec_of(Everything)
    data = codec.encode(FULL)
    assert codec.decode(data) == FULL
    read: Any = fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(codec.schema), None)
    assert (read["text"], read["perhaps"], read["many"]) == ("é", {"n": 2}, [{"n": 3}, {"n": 4}])


@pytest.mark.parametrize(
    ("kind", "value"), [(int, 5), (str, "x"), (dict[str, int], {"a": 2}), (tuple[int, ...], (1, 2))]
)
def test_plain_types_have_codecs_too(kind: Any, value: Any) -> None:
    codec = codec_of(kind)
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("kind", [set[int], list, tuple[int, str], dict[int, str], object])
def test_other_types_are_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="no Avro type for"):
        codec_of(kind)


def test_two_types_of_one_name_are_refused() -> None:
    other = type("Inner", (Inner,), {})
    outer = type("Outer", (Everything,), {"__annotations__": Everything.__annotations__ | {"perhaps": other}})
    with pytest.raises(TypeError, match="two types have the name Inner"):
        codec_of(outer)


def test_a_registry_of_ones_own_types_and_the_rails() -> None:
    events = EventTypes({100: Inner})
    assert events.encode(Inner(1)) == b"\0\0\0\0\x64\x02"
    assert events.decode(events.encode(Inner(1))) == Inner(1)
    assert events.decode(events.encode(Tick(5))) == Tick(5)
    with pytest.raises(BadRecord, match="UNKNOWN_SCHEMA"):
        events.decode(b"\0\0\0\0\x65\x02")


def test_it_travels_to_workers() -> None:
    events = pickle.loads(pickle.dumps(EventTypes({100: Inner})))
    assert events.encode(Inner(1)) == b"\0\0\0\0\x64\x02"


@pytest.mark.parametrize("number", [99, 1 << 31])
def test_the_ids_of_the_project_are_not_ones_own(number: int) -> None:
    with pytest.raises(ValueError, match=f"Inner: schema ids of your own begin at 100, got {number}"):
        EventTypes({number: Inner})


def test_events_as_chunks_and_back() -> None:
    events, topic = EventTypes({100: Inner}), Topic("t", 4)
    chunks = pack_events(topic, events, [(i, f"k{i % 9}", Inner(i)) for i in range(50)])
    assert all(isinstance(chunk, Chunk) and chunk.offset == 0 for chunk in chunks)
    assert sorted(event.n for chunk in chunks for event in unpack_events(chunk, events)) == list(range(50))
    assert [chunk.partition for chunk in chunks] == sorted({topic.partition_of(f"k{i}".encode()) for i in range(9)})
