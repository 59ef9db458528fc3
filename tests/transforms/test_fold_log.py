"""`FoldLog`: restrictions and their coders, arguments, the pipeline over a broker in memory."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakePipeline
from tests.proto import PICKLING, assert_no_pickled_coders
from tests.transforms import hops
from tests.transforms.brokers import Broker, FakeReader, FakeTopic, FakeWriter
from tests.transforms.hops import IN, TOPICS
from transforms import fold_log
from transforms.fold_log import FoldLog, FoldLogKnobs, LaneTracker, Work, WorkCoder, lane_number
from transforms.lane_types import Claim, LaneKnobs, Place, Summary
from transforms.manual_watermarks import ManualWatermarks, TimestampCoder
from transforms.snapshots import SnapshotStore

EMPTY = Work(Claim("", ()), False)
REACHED = Claim("id", (Place(0, 5, 77), Place(1, 7, 88)))
NOW = FoldLogKnobs(lane=LaneKnobs(stay_ms=0, step_records=9))


class Nowhere:
    def resolved(self) -> dict[str, str]:
        return {"bootstrap.servers": "127.0.0.1:1"}


def make(store: SnapshotStore | None = None, **more: Any) -> FoldLog:
    return FoldLog(hops.debit_engine, Nowhere(), store or SnapshotStore("/nowhere"), **more)


class TestTracker:
    def test_claims_and_the_rest(self) -> None:
        tracker = LaneTracker(EMPTY, None)
        assert tracker.try_claim(REACHED)
        with pytest.raises(ValueError, match="its rest was not deferred"):
            tracker.check_done()
        assert tracker.try_split(0) == (Work(REACHED, True), Work(REACHED, False))
        assert tracker.check_done() and tracker.current_restriction() == Work(REACHED, True)
        assert tracker.current_progress().remaining_work == 0

    def test_a_split_before_anything_is_claimed(self) -> None:
        """What is reached then is not claimed: the rest begins where this one did."""
        tracker = LaneTracker(Work(REACHED, False), None)
        assert tracker.current_progress().remaining_work == 1
        assert tracker.try_split(0.5) == (Work(REACHED, True), Work(REACHED, False))
        assert not tracker.try_claim(Claim("id", (Place(0, 9, 1), Place(1, 9, 1))))
        assert tracker.current_restriction() == Work(REACHED, True)
        assert tracker.try_split(0) is None

    def test_an_end(self) -> None:
        tracker = LaneTracker(EMPTY, {0: 5, 1: 7})
        assert tracker.is_bounded() and not LaneTracker(EMPTY, None).is_bounded()
        with pytest.raises(ValueError, match="goes on"):
            tracker.check_done()
        assert tracker.try_split(0) is not None
        tracker = LaneTracker(EMPTY, {0: 5, 1: 7})
        tracker.try_claim(REACHED)
        assert tracker.try_split(0) is None and tracker.check_done()

    def test_deferred_as_beam_does_it(self) -> None:
        threadsafe = ThreadsafeRestrictionTracker(LaneTracker(EMPTY, None))
        view = RestrictionTrackerView(threadsafe)
        assert view.try_claim(REACHED)
        view.defer_remainder()
        rest, delay = threadsafe.deferred_status() or (None, None)
        assert rest == Work(REACHED, False) and delay is not None and delay.micros <= 0
        assert threadsafe.check_done()


offsets = st.integers(0, 2**62)
works = st.builds(
    Work,
    st.builds(
        Claim, st.text(max_size=22), st.lists(st.builds(Place, offsets, offsets, offsets), max_size=4).map(tuple)
    ),
    st.booleans(),
)


class TestCoders:
    @given(works)
    def test_of_restrictions(self, work: Work) -> None:
        coder = WorkCoder()
        assert coder.decode(coder.encode(work)) == work

    def test_they_are_small_and_strict(self) -> None:
        coder = WorkCoder()
        encoded = coder.encode(Work(REACHED, False))
        assert len(encoded) < 20
        with pytest.raises(ValueError, match="Work: TRAILING_BYTES"):
            coder.decode(encoded + b"\0")

    @given(st.integers(MIN_TIMESTAMP.micros, MAX_TIMESTAMP.micros))
    def test_of_watermarks(self, micros: int) -> None:
        coder = TimestampCoder()
        assert coder.decode(coder.encode(Timestamp(micros=micros))) == Timestamp(micros=micros)
        assert coder.is_deterministic()

    def test_nothing_is_pickled(self) -> None:
        do_fn = fold_log._FoldLane(make()._plan)
        state = ManualWatermarks()
        assert not isinstance(do_fn.restriction_coder(), PICKLING)
        assert not isinstance(state.estimator_state_coder(), PICKLING)
        assert state.initial_estimator_state(b"", EMPTY) == MIN_TIMESTAMP
        assert isinstance(state.create_watermark_estimator(MIN_TIMESTAMP), ManualWatermarkEstimator)
        pipeline = beam.Pipeline()
        _ = pipeline | make(lanes=2)
        assert_no_pickled_coders(pipeline)


class TestArguments:
    @pytest.mark.parametrize("lanes", [0, 5])
    def test_lanes(self, lanes: int) -> None:
        with pytest.raises(
            ValueError, match=rf"debit: lanes must be from 1 to the 4 partitions of hop\.in, got {lanes}"
        ):
            make(lanes=lanes)

    @pytest.mark.parametrize("until", [{}, {0: 1, 1: 1, 2: 1}, {0: 1, 1: 1, 2: 1, 3: -1}])
    def test_until(self, until: dict[int, int]) -> None:
        with pytest.raises(ValueError, match="until must have an end offset for each partition"):
            make(until=until)

    def test_stages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hops.Debit, "stage", "de/bit")
        with pytest.raises(ValueError, match="without '/'"):
            make()

    def test_lanes_have_numbers_and_partitions(self) -> None:
        transform = make(lanes=3)
        assert [lane_number(element) for element in transform._elements] == [0, 1, 2]
        assert [transform._plan.lane(n).partitions for n in range(3)] == [(0, 3), (1,), (2,)]
        assert transform._plan.lane(0) is transform._plan.lane(0)
        assert make()._plan.lane(0) is not make()._plan.lane(0), "another launch, other lanes"


def test_times_are_within_what_beam_can_represent() -> None:
    assert fold_log._timestamp(-1) == MIN_TIMESTAMP
    assert fold_log._timestamp(1_760_000_000_123) == Timestamp(1_760_000_000.123)
    assert fold_log._timestamp(2**62) == MAX_TIMESTAMP


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker in memory in the place of Kafka's clients."""
    made = Broker(TOPICS)
    monkeypatch.setattr(fold_log, "LogReader", lambda settings, topic, *_: FakeReader(made, topic))
    monkeypatch.setattr(fold_log, "LogWriter", lambda settings, *_: FakeWriter(made))
    monkeypatch.setattr(fold_log, "TopicLookup", lambda settings, topic, *_: FakeTopic(made, topic))
    for partition, key, value in hops.payments(100):
        made.append(IN.name, partition, key, value)
    return made


SUMMARIES: list[tuple[Summary, Timestamp]] = []


def _keep(summary: Summary, timestamp: Any = beam.DoFn.TimestampParam) -> bytes:
    SUMMARIES.append((summary, timestamp))
    return b""


def test_a_bounded_pipeline(broker: Broker, tmp_path: Path, make_pipeline: MakePipeline) -> None:
    SUMMARIES.clear()
    until = {number: len(log) for number, log in broker.records(IN.name).items()}
    with make_pipeline() as pipeline:
        folded = pipeline | make(SnapshotStore(str(tmp_path)), lanes=2, knobs=NOW, until=until)
        _ = folded | beam.Map(_keep).with_output_types(bytes)
    assert sum(summary.records for summary, _ in SUMMARIES) == 100
    assert {summary.lane for summary, _ in SUMMARIES} == {0, 1} and len(SUMMARIES) > 4
    assert all(timestamp == fold_log._timestamp(summary.clock) for summary, timestamp in SUMMARIES)
    outputs = hops.plain_fold(hops.debit_engine(), broker.ids[IN.name], broker.records(IN.name))
    written = hops.streams_on(hops.LEGS.name, broker.records(hops.LEGS.name))
    letters = hops.streams_on(hops.LETTERS.name, broker.records(hops.LETTERS.name))
    assert written | letters == hops.streams(outputs)


class TestProcess:
    """What one call does, without a runner."""

    def call(self, transform: FoldLog, work: Work, tracker: LaneTracker | None = None) -> tuple[list[Any], Any, Any]:
        tracker = tracker or LaneTracker(work, None)
        threadsafe, watermark = ThreadsafeRestrictionTracker(tracker), ManualWatermarkEstimator(MIN_TIMESTAMP)
        do_fn = fold_log._FoldLaneForEver(transform._plan)
        do_fn.setup()
        element = transform._elements[0]
        assert do_fn.restriction_size(element, work) > 0 and not do_fn.create_tracker(work).is_bounded()
        given = list(do_fn.process(element, RestrictionTrackerView(threadsafe), watermark))
        return given, threadsafe.deferred_status(), watermark.current_watermark()

    def test_one_turn_one_summary_and_the_rest(self, broker: Broker, tmp_path: Path) -> None:
        transform = make(SnapshotStore(str(tmp_path)), knobs=NOW)
        (summary,), (rest, _), watermark = self.call(transform, EMPTY)
        assert summary.value.records > 0 and summary.timestamp == watermark == fold_log._timestamp(summary.value.clock)
        assert not rest.ended and [place.offset for place in rest.claim.places] == list(summary.value.offsets)
        (again,), (rest, _), later = self.call(transform, rest)
        assert again.value.refolded == 0 and later > watermark

    def test_nothing_is_given_when_the_rest_is_gone(self, broker: Broker, tmp_path: Path) -> None:
        transform = make(SnapshotStore(str(tmp_path)), knobs=NOW)
        tracker = LaneTracker(EMPTY, None)
        tracker.try_split(0)
        given, rest, _ = self.call(transform, EMPTY, tracker)
        assert given == [] and rest is None
        (summary,), _, _ = self.call(transform, EMPTY)  # whoever has the rest goes on from memory
        assert summary.value.refolded == 0 and summary.value.counts["applied"] > summary.value.records

    def test_it_has_no_end(self) -> None:
        assert fold_log._FoldLaneForEver.process.unbounded_per_element  # type: ignore[attr-defined]
        assert not hasattr(fold_log._FoldLane.process, "unbounded_per_element")
