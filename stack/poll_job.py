"""A small endless job: a splittable DoFn that polls, as a Kafka source does, without Kafka.

It checkpoints itself after each poll, which is what made state grow; `launches` and `soak` run it.

    python -m stack.poll_job --job_endpoint=127.0.0.1:19099 --job_name=poll --mark=/tmp/mark
"""

import argparse
import struct
import sys
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


class EndlessRange(OffsetRestrictionTracker):
    """Positions from the start of the range, without end."""

    def is_bounded(self) -> bool:
        return False


class Polls(RestrictionProvider):
    """One endless range per lane."""

    def initial_restriction(self, element: bytes) -> OffsetRange:
        return OffsetRange(0, 2**62)

    def create_tracker(self, restriction: OffsetRange) -> EndlessRange:
        return EndlessRange(restriction)

    def restriction_size(self, element: bytes, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: bytes, restriction: OffsetRange) -> OffsetRange:
        return OffsetRange(restriction.start, restriction.start)


class Poll(beam.DoFn):
    """Emits `rate`/s numbers (8 bytes, big-endian) for its lane in pieces, one piece a poll, and gives the rest back."""

    def __init__(self, rate: float, every: float) -> None:
        self._rate = rate
        self._every = every

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        tracker: RestrictionTrackerView = beam.DoFn.RestrictionParam(Polls()),
        estimator=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterable[bytes]:
        position = tracker.current_restriction().start
        # At least one, so that something is always in the output: a launch that hangs is seen.
        for number in range(position, position + max(1, round(self._rate * self._every))):
            if not tracker.try_claim(number):
                return
            yield struct.pack(">q", number)
        estimator.set_watermark(Timestamp.now())
        tracker.defer_remainder(Duration(seconds=self._every))


class Mark(beam.DoFn):
    """Appends the time (s, a line) to a file, at most once a second: proof that elements come through."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._next = 0.0

    def process(self, element: bytes) -> Iterable[bytes]:
        if self._path and time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            with Path(self._path).open("a", encoding="utf-8") as file:
                file.write(f"{time.time():.3f}\n")
        return []


class PollOptions(PipelineOptions):
    """The flags of this job."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--lanes", type=int, default=2, help="splittable elements, each polls on its own")
        parser.add_argument("--rate", type=float, default=0.0, help="elements per second and lane; 0: one per poll")
        parser.add_argument("--every_ms", type=int, default=100, help="between two polls of a lane")
        parser.add_argument("--checkpoint_during_bundle", action="store_true", help=f"without {WHOLE_BUNDLES}")
        parser.add_argument("--mark", default="", help="a file that gets a line per second while elements arrive")


def build_pipeline(pipeline: beam.Pipeline, options: PollOptions) -> None:
    """Lanes, polls, marks."""
    lanes = [f"lane-{number}".encode() for number in range(options.lanes)]
    _ = (
        pipeline
        | "Lanes" >> beam.Create(lanes, reshuffle=False).with_output_types(bytes)
        | "Spread" >> beam.Reshuffle()
        | "Poll" >> beam.ParDo(Poll(options.rate, options.every_ms / 1000)).with_output_types(bytes)
        | "Key" >> beam.Map(lambda number: (number[-1:], number)).with_output_types(tuple[bytes, bytes])
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


if __name__ == "__main__":
    run(sys.argv[1:])
