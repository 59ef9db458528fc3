"""A small endless job: a splittable DoFn that polls, as a Kafka source does, without Kafka.

It checkpoints itself after each poll, which is what made state grow; `launches` and `soak` run it.

    ./run_local.sh stack poll --job_endpoint=127.0.0.1:19099 --environment_type=LOOPBACK --checkpointing_interval=2000
"""

import argparse
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.sdf_utils import RestrictionTrackerView
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration, Timestamp

LIVE = ["--runner=PortableRunner", "--streaming"]

WHOLE_BUNDLES = "--finish_bundle_before_checkpointing"
"""Why a live job starts at all (docs/beam-on-flink.md, start-up)."""


SPLIT = 2**40
"""Positions of one split; the split of a position is what it is divided by this."""


class EndlessRange(OffsetRestrictionTracker):
    """Positions from the start of the range, without end."""

    def is_bounded(self) -> bool:
        return False


class Polls(RestrictionProvider):
    """One endless range per split of a lane. All splits of a lane share its key on Flink, and so the names of slots.

    A lane is "number/splits".
    """

    def initial_restriction(self, element: bytes) -> OffsetRange:
        return OffsetRange(0, int(element.split(b"/")[1]) * SPLIT)

    def split(self, element: bytes, restriction: OffsetRange) -> Iterable[OffsetRange]:
        return [OffsetRange(start, start + SPLIT) for start in range(restriction.start, restriction.stop, SPLIT)]

    def create_tracker(self, restriction: OffsetRange) -> EndlessRange:
        return EndlessRange(restriction)

    def restriction_size(self, element: bytes, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: bytes, restriction: OffsetRange) -> OffsetRange:
        return OffsetRange(restriction.start, restriction.start)


class Poll(beam.DoFn):
    """Emits `rate`/s positions per split in pieces, one piece a poll, and then gives the rest back.

    Elements in: lanes. Out: 12 bytes, number of the lane and position, big-endian.
    """

    def __init__(self, rate: float, every: float) -> None:
        self._every = every
        self._piece = max(1, round(rate * every))  # at least one: a launch that hangs is seen

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        tracker: RestrictionTrackerView = beam.DoFn.RestrictionParam(Polls()),
        estimator=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterable[bytes]:
        lane = int(element.split(b"/")[0])
        start = tracker.current_restriction().start
        for position in range(start, start + self._piece):
            if not tracker.try_claim(position):
                return
            yield POSITION.pack(lane, position)
        estimator.set_watermark(Timestamp.now())
        tracker.defer_remainder(Duration(seconds=self._every))


POSITION = struct.Struct(">iq")


class Mark(beam.DoFn):
    """Appends a line to a file at the end of each bundle: the time (s), and the range of positions seen of each split.

    Before the bundle is finished, so before a checkpoint counts it: what is missing between two ranges was lost.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: dict[str, list[int]] = {}

    def process(self, element: bytes) -> Iterable[bytes]:
        lane, position = POSITION.unpack(element)
        track = f"{lane}.{position // SPLIT}"
        seen = self._seen.setdefault(track, [position, position])
        seen[0], seen[1] = min(seen[0], position), max(seen[1], position)
        return []

    def finish_bundle(self) -> None:
        if self._path and self._seen:
            ranges = " ".join(f"{track}:{low % SPLIT}-{high % SPLIT}" for track, (low, high) in self._seen.items())
            with Path(self._path).open("a", encoding="utf-8") as file:
                file.write(f"{time.time():.3f} {ranges}\n")
        self._seen.clear()


class PollOptions(PipelineOptions):
    """The flags of this job."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--lanes", type=int, default=2, help="splittable elements, each with a key of its own")
        parser.add_argument("--rate", type=float, default=0.0, help="positions per second and split; 0: one per poll")
        parser.add_argument("--splits", type=int, default=1, help="of each lane; they share its key")
        parser.add_argument("--every_ms", type=int, default=100, help="between two polls of a split")
        parser.add_argument("--checkpoint_during_bundle", action="store_true", help=f"without {WHOLE_BUNDLES}")
        parser.add_argument("--mark", default="", help="a file that gets a line per bundle of elements that arrive")


def build_pipeline(pipeline: beam.Pipeline, options: PollOptions) -> None:
    """Lanes, polls, marks."""
    lanes = [f"{number}/{options.splits}".encode() for number in range(options.lanes)]
    _ = (
        pipeline
        | "Lanes" >> beam.Create(lanes, reshuffle=False).with_output_types(bytes)
        | "Spread" >> beam.Reshuffle()
        | "Poll" >> beam.ParDo(Poll(options.rate, options.every_ms / 1000)).with_output_types(bytes)
        | "Key" >> beam.Map(lambda position: (position[-1:], position)).with_output_types(tuple[bytes, bytes])
        | "Exchange" >> beam.Reshuffle()
        | "Values" >> beam.Values().with_output_types(bytes)
        | "Mark" >> beam.ParDo(Mark(options.mark)).with_output_types(bytes)
    )


def run(argv: Sequence[str]) -> None:
    """Launches the job and stays: with a LOOPBACK environment the workers are threads of this process."""
    options = PipelineOptions([*LIVE, *argv])
    own = options.view_as(PollOptions)
    if not own.checkpoint_during_bundle:
        options = PipelineOptions([*LIVE, WHOLE_BUNDLES, *argv])
    pipeline = beam.Pipeline(options=options)
    build_pipeline(pipeline, own)
    pipeline.run().wait_until_finish()
