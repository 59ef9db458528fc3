"""`CompareReplay`: what a run left is compared with a fold of its log; whatever was changed is found."""

import random
import re
from collections.abc import Callable, Sequence

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import Record
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.transforms import toys
from tests.transforms.toys import do, key_of, make_engine, records, written
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.fold import DEAD_LETTERS
from transforms.fold_bounded import Engine
from transforms.loop import Loop, Stage
from transforms.replay import CompareReplay

COMPARED, UPSERTS = (toys.OUT.name, DEAD_LETTERS.name), (toys.STATES.name,)
Logs = dict[tuple[str, int], list[Record]]


def recorded() -> Logs:
    """The topics that a run in memory leaves."""
    whats = ("add", "add", "say", "refuse")
    inputs = records(*[do(key_of(i % 2, n=i % 3), whats[i % 4], 3) for i in range(80)])
    loop = Loop([Stage(toys.TOY, toys.IN)], toys.EVENTS, lambda r: [(toys.IN.name, toys.IN.partition_of(r.key))])
    logs: Logs = {}
    for chunk in loop.run(inputs):
        logs.setdefault((chunk.topic, chunk.partition), []).extend(unpack_chunk(chunk))
    return logs


def replay(
    make_pipeline: MakePipeline, logs: Logs, check: Callable[[Sequence[str]], None], agree: int | None = None
) -> None:
    made = [
        chunk
        for (topic, number), log in logs.items()
        for chunk in pack_chunks(topic, number, [r._replace(offset=i) for i, r in enumerate(log)], 9)
    ]
    random.Random(1).shuffle(made)
    with make_pipeline() as p:
        chunks = p | beam.Create(made, reshuffle=False).with_output_types(Chunk)
        replayed = chunks | CompareReplay(make_engine, toys.IN.name, COMPARED, UPSERTS)
        assert_that(replayed.differences, check)
        if agree is not None:
            total = replayed.compared | beam.CombineGlobally(sum)
            assert_that(total, equal_to([agree]), label="compared")


def test_a_replay_of_what_was_recorded_differs_in_nothing(make_pipeline: MakePipeline) -> None:
    logs = recorded()
    count = sum(len(log) for (topic, _), log in logs.items() if topic != toys.IN.name)
    replay(make_pipeline, logs, equal_to([]), agree=count)


def test_repeats_on_the_recorded_log_are_dropped(make_pipeline: MakePipeline) -> None:
    logs = recorded()
    for place, log in logs.items():
        if place[0] in COMPARED:
            logs[place] = [*log[:4], *log[1:3], *log[2:], *log[-2:]]
    replay(make_pipeline, logs, equal_to([]))


def test_records_of_other_writers_are_not_looked_at(make_pipeline: MakePipeline) -> None:
    logs = recorded()
    place = next(place for place in logs if place[0] == toys.OUT.name)
    logs[place] = [written(logs[place][0], 0), logs[place][0]._replace(origin=None), *logs[place]]
    replay(make_pipeline, logs, equal_to([]))


def _lose(log: list[Record]) -> list[Record]:
    return log[:-1]


def _change(log: list[Record]) -> list[Record]:
    return [log[0]._replace(value=(log[0].value or b"") + b"x"), *log[1:]]


def _rename(log: list[Record]) -> list[Record]:
    return [*log[:-1], log[-1]._replace(key=b"other")]


def _swap(log: list[Record]) -> list[Record]:
    """Two records have each other's values."""
    return [log[0]._replace(value=log[-1].value), *log[1:-1], log[-1]._replace(value=log[0].value)]


@pytest.mark.parametrize(
    ("topic", "plant", "what"),
    [
        (toys.OUT.name, _lose, "recorded, .* regenerated"),
        (toys.OUT.name, _change, "the bytes differ"),
        (toys.OUT.name, _rename, "the bytes differ"),
        (toys.OUT.name, _swap, "the bytes differ"),
        (toys.OUT.name, lambda log: [], "regenerated, but not recorded"),
        (DEAD_LETTERS.name, _change, "the bytes differ"),
        (toys.STATES.name, _change, "the bytes differ|newest version"),
        (toys.STATES.name, _lose, "regenerated, but not recorded"),
    ],
)
def test_a_planted_difference_is_found(
    make_pipeline: MakePipeline, topic: str, plant: Callable[[list[Record]], list[Record]], what: str
) -> None:
    logs = recorded()
    place = max((place for place in logs if place[0] == topic), key=lambda place: len(logs[place]))
    logs[place] = plant(logs[place])

    def check(lines: Sequence[str]) -> None:
        assert lines
        for line in lines:
            assert line.startswith(f"{topic}/{place[1]}"), line
            assert re.search(what, line), line

    replay(make_pipeline, logs, check)


def test_what_was_recorded_too_much_is_found(make_pipeline: MakePipeline) -> None:
    logs = recorded()
    place = next(place for place in logs if place[0] == toys.OUT.name)
    last = logs[place][-1]
    assert last.origin is not None
    logs[place].append(last._replace(origin=last.origin._replace(offset=10**6)))

    def check(lines: Sequence[str]) -> None:
        (line,) = lines
        assert re.search(r"\d+ recorded, \d+ regenerated|recorded, but not regenerated", line), line

    replay(make_pipeline, logs, check)


class NewVersionFirst(toys.Toy):
    def on_event(self, key, entity, event, context):  # type: ignore[no-untyped-def]
        for version in (2, 1):
            context.upsert(toys.STATES, key, toys.Said(key, "is", version), version)
        return entity


def test_of_upserts_the_newest_version_counts(make_pipeline: MakePipeline) -> None:
    key = key_of(0)
    log = records(do(key, "x"))
    state = Record(0, 1, key.encode(), toys.EVENTS.encode(toys.Said(key, "is", 2)), None, ())
    number = toys.STATES.partition_of(key.encode())
    made = [*pack_chunks(toys.IN.name, 0, log), *pack_chunks(toys.STATES.name, number, [state])]
    with make_pipeline() as p:
        chunks = p | beam.Create(made, reshuffle=False).with_output_types(Chunk)
        engine = Engine(Stage(NewVersionFirst(), toys.IN), toys.EVENTS)
        replayed = chunks | CompareReplay(lambda: engine, toys.IN.name, COMPARED, UPSERTS)
        assert_that(replayed.differences, equal_to([]))


def test_no_element_is_pickled() -> None:
    p = beam.Pipeline()
    chunks = p | beam.Create([Chunk("t", 0, 0, -1, 0, b"")])
    _ = chunks | CompareReplay(make_engine, toys.IN.name, COMPARED, UPSERTS)
    assert_no_pickled_coders(p)
