"""The same processor class over Beam's state, by key, with TestStream."""

import apache_beam as beam
import pytest
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to

from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.transforms import toys
from tests.transforms.test_snapshots import Shared
from tests.transforms.toys import A, B, do, make_engine
from transforms.fold_bounded import Engine
from transforms.fold_in_state import FoldInBeamState
from transforms.loop import Stage

Said = toys.Said
Element = tuple[bytes, bytes]


def at(ms: int, key: str, what: str, n: int = 0) -> beam.window.TimestampedValue:
    raw, value = do(key, what, n)
    return beam.window.TimestampedValue((raw, value), ms / 1000)


def decoded(written: tuple[str, bytes, bytes]) -> tuple[str, bytes, object]:
    topic, key, value = written
    return topic, key, toys.EVENTS.decode(value)


def run(make_pipeline: MakePipeline, stream: TestStream, expected: list[object]) -> None:
    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        written = p | stream.with_output_types(Element) | FoldInBeamState(make_engine)
        assert_that(written | beam.Map(decoded), equal_to(expected))


def stream() -> TestStream:
    return TestStream(coder=beam.coders.TupleCoder((beam.coders.BytesCoder(), beam.coders.BytesCoder())))


def test_each_key_has_its_state(make_pipeline: MakePipeline) -> None:
    source = stream().advance_watermark_to(0)
    source = source.add_elements([at(1000, A, "add", 1), at(1000, B, "add", 5)])
    source = source.add_elements([at(2000, A, "add", 2)]).advance_watermark_to_infinity()
    sums = [(A, 1), (B, 5), (A, 3)]
    expected = [("toy.out", key.encode(), Said(key, "v1", n)) for key, n in sums]
    upserts = [("toy.states", key.encode(), Said(key, "is", n)) for key, n in sums]
    run(make_pipeline, source, [*expected, *upserts])


def test_a_timer_stands_in_for_the_ticker(make_pipeline: MakePipeline) -> None:
    source = stream().advance_watermark_to(0)
    source = source.add_elements([at(1000, A, "say"), at(1000, A, "add", 1), at(1000, A, "alarm", 500)])
    source = source.advance_watermark_to(1.4).advance_watermark_to(1.6)
    source = source.add_elements([at(1700, A, "end", 100), at(1700, A, "alarm", 900)])
    source = source.advance_watermark_to(5).advance_watermark_to_infinity()
    expected = [Said(A, "v1", 1), Said(A, "alarm", 1500), Said(A, "end", 1800)]
    run(
        make_pipeline,
        source,
        [*[("toy.out", A.encode(), event) for event in expected], ("toy.states", A.encode(), Said(A, "is", 1))],
    )


def test_dead_letters_are_among_the_outputs(make_pipeline: MakePipeline) -> None:
    source = (
        stream().add_elements([beam.window.TimestampedValue((A.encode(), b"junk"), 1)]).advance_watermark_to_infinity()
    )
    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        written = p | source.with_output_types(Element) | FoldInBeamState(make_engine)
        codes = written | beam.Map(lambda w: (w[0], w[1], toys.EVENTS.decode(w[2]).code))
        assert_that(codes, equal_to([("rails.deadletters", A.encode(), "BAD_MAGIC")]))


def test_state_of_the_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="toy: needs an entity_codec and no shared state"):
        FoldInBeamState(lambda: Engine(Stage(Shared(), toys.IN), toys.EVENTS))


def test_no_element_is_pickled() -> None:
    p = beam.Pipeline()
    _ = p | beam.Create([(b"", b"")]).with_output_types(Element) | FoldInBeamState(make_engine)
    assert_no_pickled_coders(p)
