import json
import random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.rails import Record, Tick
from tests.proto import assert_no_pickled_coders
from transforms.breaker import (
    BadCounts,
    BreakOnRatio,
    CountShards,
    TooManyDeadLetters,
    add_counts,
    check_ratio,
    shard_counts,
)
from transforms.chunks import Chunk, pack_chunks
from transforms.dead_letters import CountDeadLetterCodes
from transforms.errors import BadRecord, InputError, find_error
from transforms.fold import Context, Processor, Topic
from transforms.fold_bounded import Engine, Fold
from transforms.loop import Stage
from transforms.partition_files import TopicFileError
from transforms.registry import Registry
from transforms.routing import MergeAll


def counts(stage: str, records: int, bad: int, clock: int = 0, **codes: int) -> BadCounts:
    return BadCounts(stage, records, bad, tuple(sorted(codes.items())), clock)


PARTS = [
    counts("a", 1000, 0, 50),
    counts("a", 500, 150, 10, X=100, Y=50),
    counts("b", 10, 10, 5, Z=10),
    counts("a", 500, 50, 70, Y=30, W=20),
]
SUM = counts("a", 2000, 200, 70, W=20, X=100, Y=80)


def message(given: BadCounts, max_ratio: float, min_records: int = 1) -> str | None:
    try:
        assert check_ratio(given, max_ratio, min_records) is given
    except TooManyDeadLetters as error:
        return str(error)
    return None


# --- the pure part ---


def test_sums_are_exact_in_any_order() -> None:
    for seed in range(5):
        mine = [part for part in random.Random(seed).sample(PARTS, len(PARTS)) if part.stage == "a"]
        assert add_counts("a", mine) == SUM
    assert add_counts("a", []) == counts("a", 0, 0, -1)


def test_the_limit_is_what_is_still_allowed() -> None:
    assert message(SUM, 0.1) is None
    assert message(SUM._replace(bad=201), 0.1) is not None
    assert message(counts("a", 10, 10), 1.0) is None
    assert message(counts("a", 10, 1), 0.0) is not None
    assert message(counts("a", 0, 0), 0.0) is None


def test_a_few_records_say_nothing() -> None:
    assert message(counts("a", 99, 99), 0.5, 100) is None
    assert message(counts("a", 100, 99), 0.5, 100) is not None


def test_the_message_is_one_line_with_stage_ratio_and_top_codes() -> None:
    assert message(counts("a", 2000, 269, A=3, B=100, C=100, D=66), 0.05) == (
        "a: 269 of 2,000 records are dead letters (13.45 %, at most 5 % allowed): B 100, C 100, D 66"
    )
    assert message(counts("a", 3, 1), 0.333) == "a: 1 of 3 records are dead letters (33.33 %, at most 33.3 % allowed)"


def test_bad_arguments_are_named() -> None:
    for ratio in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"max_ratio must lie between 0 and 1, got {ratio}"):
            BreakOnRatio(ratio)
    with pytest.raises(ValueError, match="min_records must be at least 1, got 0"):
        BreakOnRatio(0.1, 0)
    with pytest.raises(ValueError, match="window_ms must be at least 1, got 0"):
        BreakOnRatio(0.1, window_ms=0)


def test_the_error_is_found_in_whatever_a_runner_makes_of_it() -> None:
    text = (
        "Traceback (most recent call last):\n  ...\n"
        "transforms.breaker.TooManyDeadLetters: a: 3 of 4 records [while running 'Break/Judge']\n\nDuring ...\n"
    )
    kinds = (TopicFileError, TooManyDeadLetters)
    assert find_error(RuntimeError(text), *kinds) == "a: 3 of 4 records"
    assert find_error(TooManyDeadLetters("a: 3 of 4 records [while running 'Judge']"), *kinds) == "a: 3 of 4 records"
    assert find_error(TopicFileError("x\n  y"), *kinds) == "x y"
    assert find_error(RuntimeError(text), TopicFileError) is None
    assert find_error(RuntimeError("NotTooManyDeadLetters: x"), *kinds) is None
    assert find_error(RuntimeError(text), InputError) == "a: 3 of 4 records", "derived kinds are found too"


# --- pipelines ---


def given(p: beam.Pipeline, parts: list[BadCounts]) -> beam.PCollection:
    return p | beam.Create(parts, reshuffle=False).with_output_types(BadCounts)


def test_a_bounded_job_goes_on_below_the_limit_and_gives_the_sums(make_pipeline) -> None:
    with make_pipeline() as p:
        sums = given(p, PARTS) | BreakOnRatio(0.1)
        assert_no_pickled_coders(p)
        assert_that(sums, equal_to([SUM, PARTS[2]]))


def test_a_bounded_job_stops_above_the_limit(make_pipeline) -> None:
    with pytest.raises(TooManyDeadLetters) as caught, make_pipeline() as p:
        given(p, PARTS) | BreakOnRatio(0.0999)
    assert find_error(caught.value, TooManyDeadLetters) == (
        "a: 200 of 2,000 records are dead letters (10 %, at most 9.99 % allowed): X 100, Y 80, W 20"
    )


def stream(parts: list[BadCounts]) -> test_stream.TestStream:
    events = test_stream.TestStream(coder=beam.coders.registry.get_coder(BadCounts))
    for part in parts:
        # A chunk is stamped with the smallest time in it, which may be long before its clock.
        events = events.add_elements([TimestampedValue(part, Timestamp(micros=(part.clock - 5000) * 1000))])
        events = events.advance_watermark_to(Timestamp(micros=(part.clock - 4000) * 1000))
    return events.advance_watermark_to_infinity()


def test_a_stream_is_judged_by_window_of_the_clock(make_pipeline) -> None:
    minute = 60_000
    parts = [counts("a", 100, 9, minute + 1), counts("a", 100, 9, 2 * minute - 1), counts("a", 100, 0, 2 * minute)]
    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        sums = p | stream(parts) | beam.Map(lambda c: c).with_output_types(BadCounts) | BreakOnRatio(0.1, 100, minute)
        assert_that(sums, equal_to([counts("a", 200, 18, 2 * minute - 1), parts[2]]))


def test_a_stream_stops_in_the_window_that_is_bad_whatever_came_before(make_pipeline) -> None:
    minute = 60_000
    good = [counts("a", 10_000, 0, minute * n + 5) for n in range(1, 9)]
    bad = [counts("a", 60, 3, minute * 9 + 1, X=3), counts("a", 60, 12, minute * 9 + 2, X=12)]
    p = make_pipeline(engine="BundleBasedDirectRunner")
    p | stream(good + bad) | beam.Map(lambda c: c).with_output_types(BadCounts) | BreakOnRatio(0.1, 100, minute)
    with pytest.raises(Exception, match="a: 15 of 120 records are dead letters"):
        p.run().wait_until_finish()


def test_counts_without_a_clock_belong_to_the_first_window(make_pipeline) -> None:
    with make_pipeline() as p:
        sums = given(p, [counts("a", 5, 0, -1), counts("a", 5, 0, 10)]) | BreakOnRatio(0.1, 1, 1000)
        assert_that(sums, equal_to([counts("a", 10, 0, 10)]))


# --- around a fold ---


class Even(Processor):
    """Refuses ticks at odd times; they are events here."""

    stage = "even"
    reads = (Tick,)

    def key(self, event: Any) -> str:
        return "k"

    def on_event(self, key: str, entity: Any, event: Any, context: Context) -> Any:
        if event.at % 2:
            raise BadRecord("ODD")
        return event


TOPIC = Topic("even.in", 1)


def make_engine() -> Engine:
    return Engine(Stage(Even(), TOPIC), Registry.of("rails"))


def break_around_fold(p: beam.Pipeline, count: int, max_ratio: float) -> Any:
    encode = Registry.of("rails").encode
    records = [Record(i, i, b"k", encode(Tick(int(i % 5 == 0))), None, ()) for i in range(count)]
    chunks = p | beam.Create(list(pack_chunks("even.in", 0, records, 30)), reshuffle=False).with_output_types(Chunk)
    folded = chunks | Fold(make_engine)
    counted = (folded.summaries | "CountShards" >> CountShards(), folded.outputs | CountDeadLetterCodes()) | MergeAll()
    return counted | BreakOnRatio(max_ratio)


def test_the_breaker_around_a_fold(make_pipeline) -> None:
    with make_pipeline() as p:
        sums = break_around_fold(p, 100, 0.2)
        assert_no_pickled_coders(p)
        assert_that(sums, equal_to([counts("even", 100, 20, 99, ODD=20)]))
    with pytest.raises(TooManyDeadLetters, match=r"even: 21 of 101 records .*: ODD 21"), make_pipeline() as p:
        break_around_fold(p, 101, 0.2)


def test_ticks_are_no_records_of_a_shard() -> None:
    facts = {"stage": "s", "offset": 100, "ticks": 40, "dead_lettered": 6, "clock": 9}
    assert shard_counts(json.dumps(facts).encode()) == counts("s", 60, 6, 9)
