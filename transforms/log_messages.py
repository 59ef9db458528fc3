"""From Kafka's messages to the payload of chunks, without a Python object per record.

The payload is the Avro encoding of `rails.Record`, byte for byte what `chunks.encode_record` writes for the record that the message is
(a test holds the two against each other). Fields are taken from all messages of a run at once, because calls and objects are the cost.
"""

import struct
from collections.abc import Sequence
from itertools import repeat
from typing import Any, NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from schemas.rails import Origin, Record
from transforms.avro_runtime import LAST, LONGS, PAIRS, SMALL, enc_long
from transforms.chunks import encode_record
from transforms.errors import InputError
from transforms.kafka_headers import ORIGIN, decode_origin, read_headers

# An origin ends with its place and that of the one before it (kafka_headers); compared as bytes, none of them is negative.
_PLACE, _PLACE_SIZE = struct.Struct(">qi").unpack, 12
_FIRST = bytes(_PLACE_SIZE) + b"\xff" * _PLACE_SIZE
_NULL, _PRESENT, _NO_HEADERS = b"\0", b"\2", b"\0\0"
_LENGTHS = [_PRESENT + encoded for encoded in LONGS]  # of keys and values that are there
_MASK = len(PAIRS) - 1


class WrongTimestamps(InputError):
    """A topic whose records have the time that the writer claims, not that of the log (contract line 2)."""


class Run(NamedTuple):
    """Records of one partition: their number, payload, smallest and largest time (ms), and the last record's encoding."""

    count: int  # type: ignore[assignment] # hides tuple.count, which has no use here
    payload: bytes
    least: int
    most: int
    last: bytes


def encode_run(messages: Sequence[Message], from_clients: bool = False, append_time: bool = True) -> Run:
    """Messages of one partition, in offset order. WrongTimestamps unless they have append times, if those are wanted.

    from_clients: whether origins prove nothing (see `kafka_headers`).
    """
    count = len(messages)
    stamps = list(map(Message.timestamp, messages))
    kind, least = stamps[0]
    if stamps.count(stamps[0]) == count:  # most often: the records of a batch were appended at once
        wrong, most = kind != TIMESTAMP_LOG_APPEND_TIME, least
        times: Any = repeat(enc_long(least), count)
    else:
        wrong = any(kind != TIMESTAMP_LOG_APPEND_TIME for kind, _ in stamps)
        values = [at for _, at in stamps]
        least, most = min(values), max(values)
        times = map(enc_long, values)
    if wrong and append_time:
        first = messages[0]
        raise WrongTimestamps(f"{first.topic()}: message.timestamp.type is not LogAppendTime")
    whole = messages[-1].offset() - messages[0].offset() == count - 1  # else the log is a compacted one
    keys, bodies = list(map(Message.key, messages)), list(map(Message.value, messages))
    parts = zip(
        _offsets(messages[0].offset(), count) if whole else map(enc_long, map(Message.offset, messages)),
        times,
        _lengths(keys),
        _bytes(keys),
        _lengths(bodies),
        _bytes(bodies),
        _tails(list(map(Message.headers, messages)), from_clients),
        strict=True,
    )
    encoded = list(map(b"".join, parts))
    return Run(count, b"".join(encoded), least, most, encoded[-1])


def _offsets(first: int, count: int) -> list[bytes]:
    """The encodings of consecutive offsets: their upper parts are the same for 8,192 of them."""
    made: list[bytes] = []
    offset, end = first, first + count
    while offset < end:
        z = offset << 1
        stop = min(end, ((z >> 14) + 1) << 13)
        if z >> 14:
            high = enc_long(_unzigzag(z >> 14))
            made += [low + high for low in PAIRS[z & _MASK : (z & _MASK) + 2 * (stop - offset) : 2]]
        else:
            made += LAST[z : 2 * stop : 2]
        offset = stop
    return made


def _unzigzag(z: int) -> int:
    return (z >> 1) ^ -(z & 1)


def _lengths(values: list[bytes | None]) -> Any:
    """What stands before each: that it is there, and its length; or that it is not there."""
    try:
        return list(map(_LENGTHS.__getitem__, map(len, values)))  # type: ignore[arg-type]
    except (TypeError, IndexError):
        return [
            _NULL if v is None else _LENGTHS[len(v)] if len(v) < SMALL else _PRESENT + enc_long(len(v)) for v in values
        ]


def _bytes(values: list[bytes | None]) -> list[bytes]:
    return values if None not in values else [value or b"" for value in values]  # type: ignore[return-value]


def _tails(headers: list[Any], from_clients: bool) -> Any:
    """Origin and headers of each record."""
    if headers.count(None) == len(headers):
        return repeat(_NO_HEADERS, len(headers))
    if from_clients:
        return [_tail(each, True) for each in headers]
    return _log_tails(headers)


class _Writer:
    """What is known of a shard that writes to a log: its encoding, and its last place as Kafka has it and as Avro has it."""

    __slots__ = ("encoded", "last", "source")

    def __init__(self, head: bytes) -> None:
        source = decode_origin(head + _FIRST).source
        # Of the record: offset, time, key and value of one byte each stand before it; place, no prev and no headers behind it.
        self.source = encode_record(Record(0, 0, None, None, Origin(source, 0, 0), ()))[4:-4]
        self.last = self.encoded = b""


_writers: dict[bytes, _Writer] = {}
_MOST_WRITERS = 10_000


def _log_tails(headers: list[Any]) -> list[bytes]:
    """As `_tail` for a topic of the log. Most records there have an origin that follows the last one of its shard, in which case half of
    it is known.
    """
    tails: list[bytes] = []
    add, known = tails.append, _writers.get
    for each in headers:
        if (
            each
            and (len(each) == 1 or (len(each) == 2 and each[1][0] != ORIGIN))
            and each[0][0] == ORIGIN
            and each[0][1]
        ):
            value: bytes = each[0][1]
            middle = len(value) - _PLACE_SIZE
            start = middle - _PLACE_SIZE
            writer = known(value[:start])
            place, prev = value[start:middle], value[middle:]
            if writer is None or prev != writer.last or prev >= place:
                _read_origin(value)
            else:
                offset, index = _PLACE(place)
                z = offset << 1
                if z < 1 << 28 and index < SMALL:
                    encoded = PAIRS[z & _MASK] + LAST[z >> 14] + LONGS[index] if z >> 14 else LAST[z] + LONGS[index]
                else:
                    encoded = enc_long(offset) + enc_long(index)
                add(writer.source + encoded + _PRESENT + writer.encoded + _NULL)
                writer.last, writer.encoded = place, encoded
                continue
        add(_tail(each, False))
    return tails


def _read_origin(value: bytes) -> None:
    """Remembers the shard of an origin and its place, for what follows; BadHeaders if no stage writes such a one."""
    origin = decode_origin(value)
    head = value[: -2 * _PLACE_SIZE]
    writer = _writers.get(head)
    if writer is None:
        if len(_writers) >= _MOST_WRITERS:
            _writers.clear()
        writer = _writers[head] = _Writer(head)
    writer.last = value[-2 * _PLACE_SIZE : -_PLACE_SIZE]
    writer.encoded = enc_long(origin.offset) + enc_long(origin.index)


def _tail(headers: Any, from_clients: bool) -> bytes:
    origin, users, _ = read_headers(headers, from_clients)
    return encode_record(Record(0, 0, None, None, origin, users))[4:]
