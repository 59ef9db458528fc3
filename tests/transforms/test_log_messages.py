"""Messages to payloads: byte for byte what the records' own encoder writes."""

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message
from hypothesis import given
from hypothesis import strategies as st

from schemas.rails import Header, Origin, Position, Record, Source
from transforms import kafka_headers
from transforms.chunks import decode_records, encode_record
from transforms.kafka_headers import ORIGIN, BadHeaders, encode_origin, read_headers
from transforms.log_messages import WrongTimestamps, encode_run

AT = 1_760_000_000_000
SOURCE = Source("accounts", "wkJQb_HWR0ylDVcMHeIahQ", 3)


def message(
    offset: int, at: int = AT, key: bytes | None = b"k", value: bytes | None = b"v", headers: Any = None, kind: int = 2
) -> Message:
    assert (TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME) == (1, 2)
    return Message("log", 3, offset, key=key, value=value, headers=headers, timestamp=(kind, at))


def origin(offset: int, index: int, prev: tuple[int, int] | None = None, source: Source = SOURCE) -> tuple[str, bytes]:
    return ORIGIN, encode_origin(Origin(source, offset, index, None if prev is None else Position(*prev)))


def expected(messages: list[Message], from_clients: bool = False) -> list[Record]:
    records = []
    for each in messages:
        found, users, _ = read_headers(each.headers(), from_clients)
        records.append(Record(each.offset(), each.timestamp()[1], each.key(), each.value(), found, users))
    return records


def check(messages: list[Message], from_clients: bool = False) -> None:
    run, records = encode_run(messages, from_clients), expected(messages, from_clients)
    assert decode_records(run.payload, run.count) == records
    assert run.payload == b"".join(map(encode_record, records))
    assert (run.count, run.last) == (len(records), encode_record(records[-1]))
    assert (run.least, run.most) == (min(r.at for r in records), max(r.at for r in records))


def test_a_record():
    run = encode_run([message(5)])
    assert decode_records(run.payload, 1) == [Record(5, AT, b"k", b"v", None, ())]


@pytest.mark.parametrize("first", [0, 1, 8190, 8191, 8192, 16_383, (1 << 27) - 3, (1 << 34) - 3, (1 << 48) - 1])
def test_offsets_around_the_ends_of_their_upper_part(first: int):
    check([message(first + i) for i in range(6)])


def test_many_offsets():
    check([message(8000 + i) for i in range(20_000)])


def test_offsets_with_holes():
    check([message(n) for n in (3, 4, 9, 8200, 1 << 40)])


def test_keys_and_values_of_all_lengths():
    sizes = [None, 0, 1, 63, 64, 8191, 8192, 100_000]
    check([message(i, key=None if n is None else bytes(n), value=None) for i, n in enumerate(sizes)])
    check([message(i, value=None if n is None else bytes(n), key=None) for i, n in enumerate(sizes)])
    check([message(i) for i in range(3)])


def test_times_that_differ_and_go_back():
    run = encode_run([message(1, 50), message(2, -7), message(3, 60)])
    assert (run.least, run.most) == (-7, 60)
    check([message(1, 50), message(2, -7), message(3, 60), message(4, AT)])


def test_origins():
    places = [(0, 0), (0, 8191), (0, 8192), (8191, 1), (8192, 0), (1 << 27, 0), (1 << 28, 5), (1 << 50, 70_000)]
    prevs: list[tuple[int, int] | None] = [None, *places[:-1]]
    headers = [[origin(*place, prev)] for place, prev in zip(places, prevs, strict=True)]
    check([message(i, headers=each) for i, each in enumerate(headers)])


@pytest.mark.parametrize("largest", [63, 1 << 13, 1 << 20, 1 << 27, 1 << 33, (1 << 34) - 1, 1 << 34, 1 << 50])
def test_many_origins_of_all_lengths(largest: int):
    places = sorted(
        {(min(largest, (1 << n) + m), m % 64) for n in range(largest.bit_length()) for m in (-1, 0, 5, 63) if n}
    )
    headers = [[origin(*place, prev)] for place, prev in zip(places[1:], places, strict=False)] + [[origin(*places[0])]]
    check([message(i, headers=each) for i, each in enumerate(headers * 3)])


def test_many_origins_among_others():
    mixed = [[origin(5, n)] if n % 3 else None for n in range(60)]
    mixed[30] = [("note", b"x")]
    check([message(i, headers=each) for i, each in enumerate(mixed)])
    check([message(i, headers=[origin(5, n), ("traceparent", b"x")]) for i, n in enumerate(range(60))])
    check([message(i, headers=[origin(5, n, (5, n - 1) if n else None)]) for i, n in enumerate(range(100))])


def test_origins_beside_other_headers():
    trace = ("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")
    check(
        [
            message(0, headers=[origin(1, 0), trace]),
            message(1, headers=[trace, origin(1, 0)]),
            message(2, headers=[origin(1, 0), trace, ("content-type", b"x")]),
            message(3, headers=[("rails-version", bytes(8))]),
            message(4, headers=[("note", b"x"), ("empty", None)]),
            message(5, headers=[]),
            message(6),
        ]
    )


def test_on_a_topic_of_clients_origins_prove_nothing():
    messages = [message(0, headers=[origin(1, 0)]), message(1)]
    check(messages, from_clients=True)
    assert decode_records(encode_run(messages, from_clients=True).payload, 2)[0] == Record(
        0, AT, b"k", b"v", None, (Header(*origin(1, 0)),)
    )


@pytest.mark.parametrize("many", [0, 20])
@pytest.mark.parametrize(
    "headers",
    [
        [(ORIGIN, b"")],
        [(ORIGIN, None)],
        [(ORIGIN, b"accounts/t/3/" + bytes(23))],
        [(ORIGIN, b"accounts/t/3" + bytes(24))],
        [origin(1, 0), origin(1, 1)],
        [(ORIGIN, origin(1, 1)[1][:-12] + origin(5, 0, (1, 1))[1][-12:])],  # prev is itself
        [(ORIGIN, origin(1, 1)[1][:-4] + (0).to_bytes(4, "big"))],
        [(ORIGIN, origin(1, 1)[1][:-16] + (-1).to_bytes(4, "big", signed=True) + origin(1, 1)[1][-12:])],
    ],
)
def test_origins_that_no_stage_writes(headers: Any, many: int):
    good = [message(n, headers=[origin(n, 0)]) for n in range(many)]
    with pytest.raises(BadHeaders):
        encode_run([*good, message(many), message(many + 1, headers=headers)])


def test_times_must_be_the_logs():
    messages = [message(0, kind=TIMESTAMP_CREATE_TIME), message(1)]
    for wrong in (messages, messages[:1], messages[::-1]):
        with pytest.raises(WrongTimestamps, match=r"^log: message.timestamp.type is not LogAppendTime$"):
            encode_run(wrong)
    assert encode_run(messages, append_time=False).count == 2


def test_sources_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka_headers, "_MAX_SOURCES", 2)
    kafka_headers._sources.clear()
    check([message(i, headers=[origin(1, 0, source=SOURCE._replace(partition=i))]) for i in range(5)])
    assert len(kafka_headers._sources) <= 2


OPTIONAL = st.none() | st.binary(max_size=80)
PLACES = st.tuples(st.integers(0, 1 << 40), st.integers(0, 20_000))
HEADERS = st.none() | st.lists(st.tuples(st.sampled_from(["a", "ü", "traceparent"]), OPTIONAL), max_size=3)
ORIGINS = st.tuples(PLACES, st.none() | PLACES).map(
    lambda two: [origin(*max(two[0], (two[1] or (0, 0))[:1] + (20_001,)), two[1])] if two[1] else [origin(*two[0])]
)


@given(
    first=st.integers(0, 1 << 50),
    parts=st.lists(
        st.tuples(st.sampled_from([AT, AT + 1, 0, -5]), OPTIONAL, OPTIONAL, HEADERS | ORIGINS), min_size=1, max_size=20
    ),
    from_clients=st.booleans(),
)
def test_any_messages(first: int, parts: list[Any], from_clients: bool):
    check(
        [message(first + i, at, key, value, headers) for i, (at, key, value, headers) in enumerate(parts)], from_clients
    )
