import random
from typing import NamedTuple

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import DeadLetter, Header, Origin, Position, Record, Source, Tick
from tests.proto import assert_no_pickled_coders
from transforms.breaker import BadCounts
from transforms.chunks import CHUNK_RECORDS, Chunk, pack_chunk, pack_chunks, unpack_chunk
from transforms.dead_letters import (
    ATTEMPT_HEADER,
    CollectDeadLetters,
    CountDeadLetterCodes,
    DeadLetterCoder,
    WithDeadLetters,
    attempt_of,
    code_counts,
    letter_records,
)
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS, Processor, Shard, Topic
from transforms.plain import PlainTupleCoder
from transforms.registry import Registry

RAILS = Registry.of("rails")


class Number(NamedTuple):
    n: int


class NumberCoder(PlainTupleCoder):
    kind = Number


coders.registry.register_coder(Number, NumberCoder)

RECORDS = [Record(i, 1000 + i * 10, b"k%d" % i if i % 3 else None, b"%d" % i, None, ()) for i in range(25)]


def number(record: Record) -> Number | None:
    n = int(record.value or b"")
    if n == 99:
        raise ZeroDivisionError("a bug")
    if n % 5 == 4:
        raise BadRecord("FOUR", "n")
    if n % 10 == 3:
        raise BadRecord("THREE")
    return Number(n) if n % 2 else None


def doubled(record: Record) -> Record | None:
    found = number(record)
    return found and record._replace(value=b"%d" % (found.n * 2))


def chunks(p: beam.Pipeline, size: int, records: list[Record] = RECORDS) -> beam.PCollection:
    found = list(pack_chunks("t", 3, records, size))
    return p | beam.Create(found, reshuffle=False).with_output_types(Chunk)


def letter(i: int, code: str, detail: str = "", stage: str = "numbers", attempt: int = 0) -> DeadLetter:
    record = RECORDS[i]
    identity = f"{stage}/t/3/{i}"
    return DeadLetter(identity, stage, "t", 3, i, record.at, code, detail, attempt, record.key, record.value, ())


LETTERS = [letter(i, "FOUR", "n") if i % 5 == 4 else letter(i, "THREE") for i in (3, 4, 9, 13, 14, 19, 23, 24)]


@pytest.mark.parametrize("size", [1000, 1])
def test_elements_and_dead_letters_do_not_depend_on_chunks(make_pipeline, size: int) -> None:
    with make_pipeline() as p:
        judged = chunks(p, size) | WithDeadLetters("numbers", number, Number)
        assert_no_pickled_coders(p)
        assert judged._fields == ("oks", "dead_letters", "counts")
        assert_that(judged.oks, equal_to([Number(n) for n in (1, 5, 7, 11, 15, 17, 21)]), "oks")
        assert_that(judged.dead_letters, equal_to(LETTERS), "letters")
        sums = judged.counts | beam.Map(lambda c: (c.records, c.bad)) | beam.combiners.ToList()
        assert_that(
            sums | beam.Map(lambda found: tuple(map(sum, zip(*found, strict=True)))), equal_to([(25, 8)]), "sum"
        )


def test_records_stay_in_chunks_at_their_places(make_pipeline) -> None:
    with make_pipeline() as p:
        judged = chunks(p, 10) | WithDeadLetters("numbers", doubled)
        more = judged.oks | "Again" >> WithDeadLetters("again", lambda record: record)
        assert_no_pickled_coders(p)
        expected = [RECORDS[n]._replace(value=b"%d" % (n * 2)) for n in (1, 5, 7, 11, 15, 17, 21)]
        assert_that(more.oks | beam.FlatMap(unpack_chunk), equal_to(expected), "oks")
        heads = judged.oks | beam.Map(lambda chunk: tuple(chunk[:5]))
        assert_that(heads, equal_to([("t", 3, 1, -1, 3), ("t", 3, 11, 1090, 3), ("t", 3, 21, 1190, 1)]), "heads")
        assert_that(
            judged.counts,
            equal_to(
                [
                    BadCounts("numbers", 10, 3, (("FOUR", 2), ("THREE", 1)), 1090),
                    BadCounts("numbers", 10, 3, (("FOUR", 2), ("THREE", 1)), 1190),
                    BadCounts("numbers", 5, 2, (("FOUR", 1), ("THREE", 1)), 1240),
                ]
            ),
            "counts",
        )


def test_a_chunk_of_which_nothing_is_left_disappears(make_pipeline) -> None:
    with make_pipeline() as p:
        judged = chunks(p, 1, RECORDS[:3]) | WithDeadLetters("numbers", doubled)
        assert_that(judged.oks | beam.FlatMap(unpack_chunk), equal_to([RECORDS[1]._replace(value=b"2")]))


def test_another_error_stops_the_job_and_names_the_place(make_pipeline) -> None:
    bug = Record(25, 2000, None, b"99", None, ())
    with pytest.raises(ZeroDivisionError) as caught, make_pipeline() as p:
        chunks(p, 1000, [*RECORDS, bug]) | WithDeadLetters("numbers", number, Number)
    notes = [note for error in _chain(caught.value) for note in getattr(error, "__notes__", ())]
    assert "numbers: t/3/25" in notes


def _chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_chain(error.__cause__ or error.__context__)]


def test_original_bytes_headers_place_and_attempt(make_pipeline) -> None:
    headers = (Header("traceparent", b"00-1"), Header(ATTEMPT_HEADER, b"2"))
    record = Record(7, 5, b"\xff", b"\x00" * 3_000_000, None, headers)  # larger than a message may be
    chunk = pack_chunk("t", 3, [record])

    def refuse(_: Record) -> None:
        raise BadRecord("NEVER", "no")

    with make_pipeline() as p:
        given = p | beam.Create([chunk], reshuffle=False).with_output_types(Chunk)
        judged = given | WithDeadLetters("s", refuse)
        collected = judged.dead_letters | CollectDeadLetters()
        wanted = DeadLetter("s/t/3/7", "s", "t", 3, 7, 5, "NEVER", "no", 2, b"\xff", record.value, headers)
        assert_that(judged.dead_letters, equal_to([wanted]), "letter")
        values = collected | beam.FlatMap(unpack_chunk) | beam.Map(lambda r: RAILS.decode(r.value))
        assert_that(values, equal_to([wanted]), "record")


@pytest.mark.parametrize(
    ("value", "attempt"), [(b"0", 0), (b"12", 12), (b"-1", 0), (b"", 0), (b"9" * 10, 0), (b"x", 0)]
)
def test_attempts_are_counted_by_a_header(value: bytes, attempt: int) -> None:
    assert attempt_of(RECORDS[0]._replace(headers=(Header("x", b"7"), Header(ATTEMPT_HEADER, value)))) == attempt
    assert attempt_of(RECORDS[0]) == 0


def test_a_stage_needs_a_name_fit_for_an_identity() -> None:
    for stage in ("", "a/b"):
        with pytest.raises(ValueError, match=f"not fit for a stage: {stage!r}"):
            WithDeadLetters(stage, number, Number)


def test_the_coder_gives_the_letter_again() -> None:
    coder = DeadLetterCoder()
    assert all(coder.decode(coder.encode(one)) == one for one in LETTERS)
    assert coder.is_deterministic()


# --- the topic ---


def test_letters_of_several_steps_become_one_topic_for_any_bundling(make_pipeline) -> None:
    topic = Topic("dead", 4)
    other = [letter(i, "LATER", stage="after") for i in (3, 7)]
    shuffled = random.Random(1).sample(LETTERS, len(LETTERS))
    with make_pipeline() as p:
        first = p | "First" >> beam.Create(shuffled, reshuffle=False).with_output_types(DeadLetter)
        second = p | "Second" >> beam.Create(other, reshuffle=False).with_output_types(DeadLetter)
        together = {"numbers": first, "after": second} | CollectDeadLetters(topic)
        assert_no_pickled_coders(p)
        expected = []
        for partition in range(4):
            mine = [one for one in [*LETTERS, *other] if _partition(one, topic) == partition]
            expected += pack_chunks("dead", partition, letter_records(mine))
        assert len({chunk.partition for chunk in expected}) > 1
        assert_that(together, equal_to(expected))


def _partition(one: DeadLetter, topic: Topic) -> int:
    return one.partition % topic.partitions if one.key is None else topic.partition_of(one.key)


def test_records_of_letters_are_in_order_of_the_clock_and_have_origins() -> None:
    letters = [*LETTERS, letter(3, "LATER", stage="after")]
    for seed in range(5):
        records = list(letter_records(random.Random(seed).sample(letters, len(letters))))
        assert [RAILS.decode(record.value or b"") for record in records] == [letters[-1], *LETTERS]
        assert [record.offset for record in records] == list(range(9))
        assert records[0].origin == Origin(Source("after", "t", 3), 3, 0, None)
        assert [record.origin.prev for record in records[1:]] == [None, *(Position(i.offset, 0) for i in LETTERS[:-1])]  # type: ignore[union-attr]


def test_append_times_that_fall_do_not_bring_letters_out_of_order() -> None:
    letters = [letter(3, "A"), letter(4, "B")._replace(at=5), letter(3, "C", stage="x")._replace(at=1010)]
    records = list(letter_records(letters))
    assert [RAILS.decode(record.value or b"").code for record in records] == ["C", "A", "B"]
    assert [record.at for record in records] == [1010, 1030, 1030]


def test_a_letter_that_is_there_twice_is_written_once_but_must_be_the_same() -> None:
    assert len(list(letter_records([LETTERS[0], LETTERS[1], LETTERS[0]]))) == 2
    with pytest.raises(ValueError, match="two dead letters that differ are both numbers/t/3/3"):
        list(letter_records([LETTERS[0], LETTERS[0]._replace(code="OTHER")]))


class Refuses(Processor):
    stage = "numbers"
    reads = (Tick,)

    def key(self, event: object) -> str | None:
        raise BadRecord("FOUR", "n")


def test_a_letter_is_the_record_that_a_fold_would_write_and_a_reader_takes_each_once() -> None:
    at, value = 1000, RAILS.encode(Tick(1))
    records = [Record(i, at, b"k", value, None, ()) for i in range(2)]
    shard = Shard(Refuses(), "t", 3, 16, RAILS.decode)
    folded = [output for record in records for output in shard.step(record)]
    letters = [output.event for output in folded]
    written = list(letter_records(letters))
    assert [record.origin for record in written] == [output.origin for output in folded]
    assert [record.key for record in written] == [output.key for output in folded]
    assert {DEAD_LETTERS.partition_of(b"k")} == {output.partition for output in folded}
    reader = Shard(Refuses(), "rails.deadletters", 0, 16, RAILS.decode)
    for offset, record in enumerate([*written, *written]):
        reader.step(record._replace(offset=offset))
    assert reader.counts.as_dict() | {"dead_lettered": 2, "duplicate": 2} == reader.counts.as_dict()


# --- codes ---


def test_codes_are_counted_by_stage() -> None:
    chunk = pack_chunk("rails.deadletters", 0, list(letter_records([*LETTERS, letter(3, "LATER", stage="after")])))
    assert list(code_counts(chunk)) == [
        BadCounts("after", 0, 0, (("LATER", 1),), -1),
        BadCounts("numbers", 0, 0, (("FOUR", 5), ("THREE", 3)), -1),
    ]


def test_what_is_no_dead_letter_is_not_counted_silently(make_pipeline) -> None:
    with pytest.raises(BadRecord, match="EMPTY_VALUE"):
        list(code_counts(pack_chunk("t", 0, [RECORDS[0]._replace(value=None)])))
    letters = list(pack_chunks("rails.deadletters", 0, letter_records(LETTERS), CHUNK_RECORDS))
    with make_pipeline() as p:
        counts = p | beam.Create(letters, reshuffle=False).with_output_types(Chunk) | CountDeadLetterCodes()
        assert_no_pickled_coders(p)
        assert_that(counts, equal_to([BadCounts("numbers", 0, 0, (("FOUR", 5), ("THREE", 3)), -1)]))
