"""Outputs encoded together: byte for byte what the record's codec writes."""

import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rails import Position, Record
from tests.transforms import toys
from transforms.avro import compile_codec
from transforms.chunks import decode_records, encode_record
from transforms.event_types import EventTypes
from transforms.fold import Emitted, Shard
from transforms.output_batches import OutputEncoder


class Plain(NamedTuple):
    name: str
    n: int
    raw: bytes


class Optional(NamedTuple):
    n: int | None


class Small(NamedTuple):
    """Its field is an int of 32 bits."""

    n: int


EVENTS = EventTypes({100: Plain, 101: Optional})
SMALL_INT = {"type": "record", "name": "Small", "fields": [{"name": "n", "type": "int"}]}
EVENTS._add(Small, 102, compile_codec(SMALL_INT, {"Small": Small}))
LONGS = st.integers(-70, 70) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([63, 64, 8191, 8192, 2**41])
TEXTS = st.text(alphabet="ab\0", max_size=5) | st.text(max_size=3) | st.just("x" * 70)
PLAIN = st.builds(Plain, TEXTS, LONGS, st.binary(max_size=5) | st.just(b"\0" * 70))
SMALL = st.builds(Plain, st.just("abc"), st.integers(100, 1000), st.just(b""))


def new_shard() -> Shard:
    return Shard(toys.TOY, "topic", 3, 4, EVENTS.decode)


def plainly(shard: Shard, first: int, times: list[int], emitted: list[Emitted]) -> bytes:
    outputs = shard.identify(emitted)
    return b"".join(
        encode_record(Record(first + n, at, o.key, EVENTS.encode(o.event), o.origin, ()))
        for n, (at, o) in enumerate(zip(times, outputs, strict=True))
    )


def emitted_of(events: list[Any], key: bytes | None = b"key", version: int | None = None) -> list[Emitted]:
    return [("out", 1, key, event, 8000 + n // 2 * 5, n % 2, version) for n, event in enumerate(events)]


def check(emitted: list[Emitted], first: int = 0, prev: Position | None = Position(8, 0)) -> None:
    one, other = new_shard(), new_shard()
    if prev is not None:
        one.prevs["out", 1] = other.prevs["out", 1] = prev
    times = [1_760_000_000_000 + n for n in range(len(emitted))]
    expected = plainly(one, first, times, emitted)
    assert OutputEncoder(EVENTS, other).encode(first, times, emitted) == expected
    assert other.prevs == one.prevs
    assert all(type(position) is Position for position in other.prevs.values())
    assert len(decode_records(expected, len(emitted))) == len(emitted)


@settings(max_examples=60)
@given(
    st.lists(PLAIN, min_size=33, max_size=60) | st.lists(SMALL, min_size=33, max_size=60),
    st.sampled_from([0, 50, 8170, 2**30]),
    st.none() | st.builds(Position, st.integers(0, 7999), st.integers(0, 200)),
)
def test_as_one_by_one(events: list[Plain], first: int, prev: Position | None) -> None:
    check(emitted_of(events), first, prev)


def test_keys_of_any_length_and_their_nulls() -> None:
    rng = random.Random(3)
    keys = [bytes(rng.choice((0, 97, 200)) for _ in range(rng.choice((0, 1, 5, 63, 64, 100)))) for _ in range(80)]
    events = [Plain("a", 1, b"")] * 80
    check([(topic, to, key, *rest) for (topic, to, _, *rest), key in zip(emitted_of(events), keys, strict=True)])
    check(emitted_of(events, key=b""))
    check(emitted_of(events, key=b"x" * (5000)))
    check([*emitted_of(events)[:-1], *emitted_of(events, key=None)[-1:]])


def test_events_of_any_form() -> None:
    plain, optional = Plain("a", 1, b"b"), Optional(5)
    check(emitted_of([optional] * 40))
    check(emitted_of([Small(n) for n in (-(2**31), 2**31 - 1)] * 20))
    check(emitted_of([optional, plain] * 40))
    check(emitted_of([plain] * 40 + [Plain("x" * (5000), 1, b"")]))
    check(emitted_of([Plain("", 1, b"")] * 40))
    check(emitted_of([plain] * 40 + [Plain("é", 1, b"")]))


def test_upserts_have_no_origin() -> None:
    check(emitted_of([Plain("a", 1, b"")] * 40, version=4))
    check([*emitted_of([Plain("a", 1, b"")] * 40), *emitted_of([Plain("a", 1, b"")], version=0)])


def test_a_few_and_the_first_of_all() -> None:
    for count in (1, 2, 31, 32, 33, 34):
        check(emitted_of([Plain("a", 1, b"")] * count), prev=None)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Plain("a", True, b""), TypeError),
        (Plain("a", 1.0, b""), TypeError),  # type: ignore[arg-type]
        (Plain("a", 2**63, b""), ValueError),
        (Small(2**31), ValueError),
        (Plain(b"a", 1, b""), TypeError),  # type: ignore[arg-type]
        (Plain("a", 1, "b"), TypeError),  # type: ignore[arg-type]
        (Plain("\ud800", 1, b""), ValueError),
    ],
)
def test_a_value_that_the_schema_does_not_allow_is_refused(event: Any, error: type[Exception]) -> None:
    good = Small(1) if isinstance(event, Small) else Plain("a", 1, b"")
    shard = new_shard()
    shard.prevs["out", 1] = Position(8, 0)
    with pytest.raises(error):
        OutputEncoder(EVENTS, shard).encode(0, [1] * 41, emitted_of([good] * 40 + [event]))


def test_a_type_without_an_id_is_refused() -> None:
    with pytest.raises(KeyError):
        OutputEncoder(EVENTS, new_shard()).encode(0, [1], emitted_of([Position(1, 2)]))


def test_one_after_another_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.output_batches.write_outputs", None)
    check(emitted_of([Plain("a", n, b"b") for n in range(40)]))
