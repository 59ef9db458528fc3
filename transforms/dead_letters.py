"""Dead letters: what pure code refuses goes to a topic with its bytes and its place, and a breaker stops a job that refuses too much.

Only `BadRecord` makes a dead letter (contract line 10); any other exception stops the job, so that trying again decides the same. A step
with dead letters gives `Judged`; so can any composite of the user's own, and `CollectDeadLetters` merges those of several into one topic.
The breaker (`transforms.breaker`) reads their counts, and stands outside of all folds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders
from apache_beam.pvalue import TaggedOutput

from schemas.rails import DeadLetter, Origin, Position, Record, Source
from transforms.breaker import BadCounts
from transforms.chunks import CHUNK_RECORDS, Chunk, encode_record, pack_chunks, unpack_chunk
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS, Topic, dead_letter
from transforms.registry import Registry
from transforms.routing import MergeAll

ATTEMPT_HEADER = "rails.attempt"
"""Header of a record that was sent again: how many redrives it has behind it, in decimal digits."""

_RAILS = Registry.of("rails")


class DeadLetterCoder(coders.Coder):
    """A dead letter as the value of its record."""

    def encode(self, value: DeadLetter) -> bytes:
        return _RAILS.encode(value)

    def decode(self, encoded: bytes) -> DeadLetter:
        letter: DeadLetter = _RAILS.decode(encoded)
        return letter

    def is_deterministic(self) -> bool:
        return True


coders.registry.register_coder(DeadLetter, DeadLetterCoder)


class Judged(NamedTuple):
    """What a step with dead letters gives. (A NamedTuple: Beam records its fields as the named outputs of the step.)

    oks: what it made of the records it could accept; dead_letters: PCollection[DeadLetter]; counts: PCollection[BadCounts] for the breaker,
    one per chunk.
    """

    oks: Any
    dead_letters: Any
    counts: Any


class WithDeadLetters(beam.PTransform):
    """PCollection[Chunk] → Judged: `function(record)` for every record; one that it refuses with BadRecord becomes a dead letter.

    stage: who refuses, a constant for ever: with the record's place it is the identity of the dead letter. function: pure; gives one
    `result_type` (with a registered coder), or None for nothing. With `Record`, the default, the oks are chunks of the results, at the
    place of the records that they are made of, so that steps can follow one another; else they are elements, stamped as their chunk.
    """

    def __init__(self, stage: str, function: Callable[[Record], Any], result_type: type = Record) -> None:
        super().__init__()
        if not stage or "/" in stage:
            raise ValueError(f"WithDeadLetters: not fit for a stage: {stage!r}")
        self.stage, self.function, self.result_type = stage, function, result_type

    def expand(self, chunks: Any) -> Any:
        judge = _Judge(self.stage, self.function, self.result_type is Record)
        ok = Chunk if self.result_type is Record else self.result_type
        step = beam.ParDo(judge).with_output_types(ok, dead_letters=DeadLetter, counts=BadCounts)
        judged = chunks | "Judge" >> step.with_outputs("dead_letters", "counts", main="oks")
        return Judged(judged.oks, judged.dead_letters, judged.counts)


class _Judge(beam.DoFn):
    def __init__(self, stage: str, function: Callable[[Record], Any], chunks: bool) -> None:
        self.stage, self.function, self.chunks = stage, function, chunks

    def process(self, element: Chunk) -> Iterator[Any]:
        oks, codes, clock = [], Counter[str](), element.clock
        for record in unpack_chunk(element):
            clock = max(clock, record.at)
            try:
                result = self.function(record)
            except BadRecord as error:
                codes[error.code] += 1
                source = Source(self.stage, element.topic, element.partition)
                yield TaggedOutput("dead_letters", dead_letter(source, record, error, attempt_of(record)))
                continue
            except Exception as error:
                error.add_note(f"{self.stage}: {element.topic}/{element.partition}/{record.offset}")
                raise
            if result is not None:
                oks.append(result)
        if not self.chunks:
            yield from oks
        elif oks:
            yield element._replace(offset=oks[0].offset, count=len(oks), payload=b"".join(map(encode_record, oks)))
        yield TaggedOutput(
            "counts", BadCounts(self.stage, element.count, codes.total(), tuple(sorted(codes.items())), clock)
        )


def attempt_of(record: Record) -> int:
    """How many redrives the record has behind it, by its header; 0 where there is none, or none that is a number."""
    for name, value in record.headers:
        if name == ATTEMPT_HEADER and value.isdigit() and len(value) < 10:
            return int(value)
    return 0


class CollectDeadLetters(beam.PTransform):
    """PCollection[DeadLetter] of one step, or a tuple or mapping of those of several, bounded → PCollection[Chunk] of the topic.

    A letter goes where its record's key puts it, without key to the record's own partition number, as the letters of a fold do. Its
    identity is (stage, topic, partition, offset) of the record; a letter that is there twice is written once. Records stand in the
    order of (clock of the partition they come from, identity), so the topic is the same for any bundling, and have origins with `prev`
    for its readers. Two letters of one identity that differ stop the job (ValueError).
    """

    def __init__(self, topic: Topic = DEAD_LETTERS) -> None:
        super().__init__()
        self.topic = topic

    def expand(self, letters: Any) -> Any:
        topic = self.topic

        def by_partition(letter: DeadLetter) -> tuple[int, DeadLetter]:
            partition = letter.partition % topic.partitions if letter.key is None else topic.partition_of(letter.key)
            return partition, letter

        def append(group: tuple[int, Iterable[DeadLetter]]) -> Iterator[Chunk]:
            return pack_chunks(topic.name, group[0], letter_records(group[1]), CHUNK_RECORDS)

        if not isinstance(letters, beam.PCollection):
            letters = letters | "Merge" >> MergeAll()
        return (
            letters
            | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[int, DeadLetter])
            | "Group" >> beam.GroupByKey()
            | "Append" >> beam.FlatMap(append).with_output_types(Chunk)
        )


def letter_records(letters: Iterable[DeadLetter]) -> Iterator[Record]:
    """The records of one partition of the dead letter topic from its letters, in any order."""
    clocks: dict[Source, int] = {}
    timed: list[tuple[int, Source, DeadLetter]] = []
    before = None
    for letter in sorted(letters, key=_identity):
        if before is not None and _identity(before) == _identity(letter):
            if before != letter:
                raise ValueError(f"two dead letters that differ are both {letter.id}")
            continue
        before = letter
        source = Source(letter.stage, letter.topic, letter.partition)
        # Append times may fall within a partition. By its clock its letters stay in the order of their offsets, which readers rely on (6).
        clocks[source] = max(letter.at, clocks.get(source, letter.at))
        timed.append((clocks[source], source, letter))
    timed.sort(key=itemgetter(0))  # stable: of equal times in the order of the identities
    prevs: dict[Source, Position] = {}
    for offset, (clock, source, letter) in enumerate(timed):
        position = Position(letter.offset, 0)
        yield Record(
            offset,
            clock,
            letter.key or b"",
            _RAILS.encode(letter),
            Origin(source, *position, prevs.get(source)),
            (),
        )
        prevs[source] = position


def _identity(letter: DeadLetter) -> tuple[str, str, int, int]:
    return letter.stage, letter.topic, letter.partition, letter.offset


class CountDeadLetterCodes(beam.PTransform):
    """PCollection[Chunk] of the dead letter topic → PCollection[BadCounts] with codes alone, to be merged with those of
    `CountShards`, which know none."""

    def expand(self, chunks: Any) -> Any:
        return chunks | "Count" >> beam.FlatMap(code_counts).with_output_types(BadCounts)


def code_counts(chunk: Chunk) -> Iterator[BadCounts]:
    """The codes of the dead letters in a chunk, by stage; the letters themselves were counted by their stages."""
    codes: dict[str, Counter[str]] = {}
    for record in unpack_chunk(chunk):
        letter = _RAILS.decode(record.value or b"")
        codes.setdefault(letter.stage, Counter())[letter.code] += 1
    for stage, found in sorted(codes.items()):
        yield BadCounts(stage, 0, 0, tuple(sorted(found.items())), -1)
