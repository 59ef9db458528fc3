"""CheckLogs: whole partitions in order for a pure check, damage that is named, and lines that stay lines."""

from collections.abc import Sequence

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import Record
from tests.proto import assert_no_pickled_coders
from transforms.check_logs import CheckLogs, Partitions
from transforms.chunks import Chunk, DamagedChunk, pack_chunk
from transforms.errors import find_error


def chunk(topic: str, partition: int, offset: int, values: Sequence[bytes]) -> Chunk:
    records = [Record(offset + number, 7, b"k", value, None, ()) for number, value in enumerate(values)]
    return pack_chunk(topic, partition, records)


def describe(partitions: Partitions) -> list[str]:
    return [f"{topic}/{number}: {[r.value for r in records]}" for topic, number, records in partitions]


def test_partitions_come_whole_and_in_order(make_pipeline) -> None:
    chunks = [
        chunk("b", 1, 0, [b"x"]),
        chunk("a", 10, 2, [b"3"]),
        chunk("a", 2, 0, [b"y"]),
        chunk("a", 10, 0, [b"1", b"2"]),
    ]
    with make_pipeline() as p:
        found = (
            p
            | beam.Create(chunks, reshuffle=False).with_output_types(Chunk)
            | CheckLogs(lambda logs: ["\n".join(describe(logs))])
        )
        wanted = "a/2: [b'y']\\na/10: [b'1', b'2', b'3']\\nb/1: [b'x']"
        assert_no_pickled_coders(p)
        assert_that(found, equal_to([wanted]))


def test_nothing_wrong(make_pipeline) -> None:
    with make_pipeline() as p:
        found = p | beam.Create([chunk("a", 0, 0, [b"x"])]).with_output_types(Chunk) | CheckLogs(lambda logs: [])
        assert_that(found, equal_to([]))


def test_lines_hold_no_line_breaks(make_pipeline) -> None:
    ids = ["a\nb", "a\r\u2028b", "\x1b[2J", "\ud800", "žluť €"]
    with make_pipeline() as p:
        found = p | beam.Create([chunk("a", 0, 0, [b"x"])]).with_output_types(Chunk) | CheckLogs(lambda logs: ids)
        assert_that(found, equal_to([r"a\nb", r"a\r\u2028b", r"\x1b[2J", r"\ud800", "žluť €"]))


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: b"\xff" * len(raw)], ids=["cut", "garbage"])
def test_damage_is_one_line_that_says_where(damage, make_pipeline) -> None:
    whole, other = chunk("a", 3, 0, [b"1"]), chunk("a", 3, 1, [b"2", b"3"])
    with pytest.raises(Exception) as caught, make_pipeline() as p:
        chunks = [whole, other._replace(payload=damage(other.payload))]
        _ = p | beam.Create(chunks, reshuffle=False).with_output_types(Chunk) | CheckLogs(describe)
    assert (find_error(caught.value, DamagedChunk) or "").startswith("a/3: damaged in offsets 1 to 2 (")
