"""From Kafka's messages to the payload of chunks: the records that they are, in the encoding of `chunks`."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from schemas.rails import Record
from transforms.chunks import encode_record
from transforms.errors import InputError
from transforms.kafka_headers import read_headers

_new = tuple.__new__  # builds records without a call of their own constructor
_BARE = None, (), None  # what `read_headers` gives where there are none


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
    # All fields of one kind together: calls from Python are the cost.
    kinds, times = zip(*map(Message.timestamp, messages), strict=True)
    if append_time and kinds.count(TIMESTAMP_LOG_APPEND_TIME) < count:
        raise WrongTimestamps(f"{messages[0].topic()}: message.timestamp.type is not LogAppendTime")
    headers = list(map(Message.headers, messages))
    tails: Iterable[tuple[Any, ...]] = repeat(_BARE, count)
    if headers.count(None) < count:
        tails = (read_headers(each, from_clients) for each in headers)
    offsets, keys, values = (map(field, messages) for field in (Message.offset, Message.key, Message.value))
    encoded = [
        encode_record(_new(Record, (offset, at, key, value, origin, users)))
        for offset, at, key, value, (origin, users, _) in zip(offsets, times, keys, values, tails, strict=True)
    ]
    return Run(count, b"".join(encoded), min(times), max(times), encoded[-1])
